"""Fitted members → one model with one signature: features once, a head a member, calibrated, averaged."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import keras

from shared.artifact import ATTENTION_NAME, INPUT_NAME, OUTPUT_NAME
from trainer.errors import TrainerError
from trainer.networks.attention import NotSeparable, attention, mean_of
from trainer.networks.feature_distance import FeatureDistance
from trainer.training.members import Member


class NoMembers(TrainerError):
    """There is nothing to make a model of."""

    def __init__(self) -> None:
        super().__init__("No member was fitted: a model needs at least one.")


def assemble(
    members: Sequence[Member],
    temperature: float,
    name: str = "ensemble",
    distances: Mapping[str, Sequence[FeatureDistance]] | None = None,
) -> keras.Model:
    """One model of all members: image uint8 [B, H, W, 1] → dictionary of named outputs.

    "probabilities" float32 [B, C] are the mean, over members, of softmax(logits / temperature). A network that several
    members share is computed once. distances: by the name of an output float32 [B], one a member: their mean.
    "attention" float32 [B, h, w, C] is there where all members' logits can be split into what each place adds:
    the mean over places is the mean of the members' logits / temperature. Members on given features make a model of
    float32 [B, D] instead. Raises NoMembers.
    """
    if not members:
        raise NoMembers
    given = members[0].network.inputs[0]
    image = keras.Input(given.shape[1:], dtype=given.dtype, name=INPUT_NAME)
    networks = {id(member.network): _with_places(members, member.network) for member in members}
    features, places = {}, []
    for key, network in networks.items():
        features[key], *grids = network(image)
        places += grids
    seen = [features[id(member.network)] for member in members]
    answers = [
        keras.ops.softmax(member.head.in_graph(one) / temperature) for member, one in zip(members, seen, strict=True)
    ]
    outputs = {OUTPUT_NAME: _named_mean(answers, OUTPUT_NAME)}
    for output, of_members in (distances or {}).items():
        far = [distance.in_graph(one) for one, distance in zip(seen, of_members, strict=True)]
        outputs[output] = _named_mean(far, output)
    if len(places) == len(networks):
        outputs[ATTENTION_NAME] = _named_mean([grid / temperature for grid in places], ATTENTION_NAME)
    return keras.Model(image, outputs, name=name)


def _with_places(members: Sequence[Member], network: keras.Model) -> keras.Model:
    """The network, image → [features], or → [features, logits by place of the members that share it]."""
    features = network.outputs[0]
    sharing = [member for member in members if member.network is network]
    heads = [head for member in sharing if (head := member.head.affine(features)) is not None]
    outputs = [features]
    if len(heads) == len(sharing):
        with suppress(NotSeparable):
            outputs.append(attention(network, mean_of(heads)))
    return keras.Model(network.inputs, outputs, name=network.name)


def _named_mean(answers: Sequence[Any], name: str) -> Any:
    mean = answers[0] if len(answers) == 1 else keras.ops.mean(keras.ops.stack(answers), axis=0)
    return keras.layers.Identity(name=name, dtype="float32")(mean)
