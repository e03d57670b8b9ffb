"""Fitted members → one model with one signature: features once, a head a member, calibrated, averaged."""

from collections.abc import Sequence
from typing import Literal

import keras

from shared.artifact import INPUT_NAME, OUTPUT_NAME
from trainer.errors import TrainerError
from trainer.fold import Fold

View = Literal["as-is", "mirrored"]


class NoMembers(TrainerError):
    """There is nothing to make a model of."""

    def __init__(self) -> None:
        super().__init__("No member was fitted: a model needs at least one.")


def assemble(
    folds: Sequence[Fold], temperature: float, views: Sequence[View] = ("as-is",), name: str = "ensemble"
) -> keras.Model:
    """One model of all members: image uint8 [B, H, W, 1] → probabilities float32 [B, C].

    They are the mean, over members and views, of softmax(logits / temperature). A network that several members share is
    computed once a view. "mirrored" shows the slice left to right as well: twice the time.
    """
    if not folds:
        raise NoMembers
    image = keras.Input(folds[0].network.input_shape[1:], dtype="uint8", name=INPUT_NAME)
    answers = []
    for view in views:
        shown = keras.ops.flip(image, axis=2) if view == "mirrored" else image
        features = {}
        for fold in folds:
            if id(fold.network) not in features:
                features[id(fold.network)] = fold.network(shown)
            logits = fold.lay(features[id(fold.network)])
            answers.append(keras.ops.softmax(logits / temperature))
    mean = answers[0] if len(answers) == 1 else keras.ops.mean(keras.ops.stack(answers), axis=0)
    return keras.Model(image, keras.layers.Identity(name=OUTPUT_NAME, dtype="float32")(mean), name=name)
