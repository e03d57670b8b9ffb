"""Fitted members → one model with one signature: features once, a head a member, calibrated, averaged."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import keras

from shared.artifact import ATTENTION_NAME, DISTANCE_NAME, INPUT_NAME, OUTPUT_NAME
from trainer.errors import TrainerError
from trainer.networks.attention import NotSeparable, attention, mean_of
from trainer.networks.chest_distance import ChestDistance
from trainer.training.members import Member

View = Literal["as-is", "mirrored"]


class NoMembers(TrainerError):
    """There is nothing to make a model of."""

    def __init__(self) -> None:
        super().__init__("No member was fitted: a model needs at least one.")


def assemble(
    folds: Sequence[Member],
    temperature: float,
    views: Sequence[View] = ("as-is",),
    name: str = "ensemble",
    distances: Sequence[ChestDistance] = (),
) -> keras.Model:
    """One model of all members: image uint8 [B, H, W, 1] → dictionary of named outputs.

    "probabilities" float32 [B, C] are the mean, over members and views, of softmax(logits / temperature). A network
    that several members share is computed once a view. "mirrored" shows the slice left to right as well: twice the
    time. "chest_distance" float32 [B] is there where distances are given, one a member: their mean on the slice as is.
    "attention" float32 [B, h, w, C] is there where all members' logits can be split into what each place adds: the mean
    over places is the mean of the members' logits / temperature.
    """
    if not folds:
        raise NoMembers
    image = keras.Input(folds[0].network.input_shape[1:], dtype="uint8", name=INPUT_NAME)
    networks = {id(fold.network): _with_places(folds, fold.network) for fold in folds}
    answers, far, places = [], [], []
    for view in views:
        shown = keras.ops.flip(image, axis=2) if view == "mirrored" else image
        features = {}
        for key, network in networks.items():
            features[key], *grids = network(shown)
            places += [keras.ops.flip(grid, axis=2) if view == "mirrored" else grid for grid in grids]
        for fold in folds:
            logits = fold.lay(features[id(fold.network)])
            answers.append(keras.ops.softmax(logits / temperature))
        if view == "as-is":
            far = [distance.lay(features[id(fold.network)]) for fold, distance in zip(folds, distances, strict=False)]
    outputs = {OUTPUT_NAME: _named_mean(answers, OUTPUT_NAME)}
    if far:
        outputs[DISTANCE_NAME] = _named_mean(far, DISTANCE_NAME)
    if len(places) == len(networks) * len(views):
        outputs[ATTENTION_NAME] = _named_mean([grid / temperature for grid in places], ATTENTION_NAME)
    return keras.Model(image, outputs, name=name)


def _with_places(folds: Sequence[Member], network: keras.Model) -> keras.Model:
    """The network, image → [features], or → [features, logits by place of the members that share it]."""
    features = network.outputs[0]
    sharing = [fold for fold in folds if fold.network is network]
    heads = [head for fold in sharing if (head := fold.affine(features)) is not None]
    outputs = [features]
    if len(heads) == len(sharing):
        with suppress(NotSeparable):
            outputs.append(attention(network, mean_of(heads)))
    return keras.Model(network.inputs, outputs, name=network.name)


def _named_mean(answers: Sequence[Any], name: str) -> Any:
    mean = answers[0] if len(answers) == 1 else keras.ops.mean(keras.ops.stack(answers), axis=0)
    return keras.layers.Identity(name=name, dtype="float32")(mean)
