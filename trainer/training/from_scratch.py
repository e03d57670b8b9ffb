"""A network without pretrained weights as a member of a model."""

from pathlib import Path

import keras
import numpy as np

from trainer.data.balance import Indices, balanced
from trainer.data.dataset import Dataset
from trainer.networks.heads import LinearMap
from trainer.networks.registry import build_network
from trainer.settings import TrainerSettings
from trainer.training.fit import History, fit, seed_everything
from trainer.training.members import Member, Seen


class FromScratch:
    """Each fit begins at random weights, which the seed decides."""

    def __init__(self, dataset: Dataset, settings: TrainerSettings) -> None:
        self._dataset, self._settings = dataset, settings

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> Member:
        """Train a network; validation rows decide which epoch is kept, without them it is the last one."""
        rows = balanced(self._dataset.labels, training, self._settings.balance_of_network, seed)
        model, _ = fit_network(self._dataset, rows, validation, self._settings, seed)
        return taken_apart(model, self._dataset.seen)

    def load(self, file: Path) -> Member:
        """A member that save() wrote. Raises OSError or ValueError where the file is no such member."""
        settings = self._settings
        model = build_network(settings.network, settings.preprocessing, len(self._dataset.classes.names))
        member = taken_apart(model, self._dataset.seen)
        return Member.load(file, member.network, member.seen)


def fit_network(
    dataset: Dataset, rows: Indices, held_out: Indices | None, settings: TrainerSettings, seed: int
) -> tuple[keras.Model, History]:
    """A network, image uint8 [B, H, W, 1] → probabilities float32 [B, C], trained on rows that are balanced already."""
    seed_everything(seed)
    model = build_network(settings.network, settings.preprocessing, len(dataset.classes.names))
    history = fit(
        model, dataset, rows, held_out, settings,
        loss="categorical_crossentropy", learning_rate=settings.adam_learning_rate, epochs=range(settings.epochs),
        seed=seed,
    )  # fmt: skip
    return model, history


def taken_apart(model: keras.Model, seen: Seen) -> Member:
    """All layers but the last as the network; the last, a softmax of a linear map, as the map alone."""
    last = model.layers[-1]
    weights, bias = (np.asarray(value, np.float32) for value in last.get_weights())
    return Member(keras.Model(model.input, last.input), LinearMap(weights, bias), seen)
