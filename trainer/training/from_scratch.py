"""A network without pretrained weights as a member of a model."""

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.data.balance import Indices, undersample
from trainer.data.dataset import Dataset
from trainer.data.splits import Split
from trainer.networks.registry import build_network
from trainer.settings import TrainerSettings
from trainer.training.fine_tuning import TunedFold
from trainer.training.fit import fit


class FromScratch:
    """Each fit begins at random weights, which the seed decides."""

    def __init__(self, dataset: Dataset, settings: TrainerSettings) -> None:
        self._dataset, self._settings = dataset, settings

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> TunedFold:
        """Train a network; validation rows decide which epoch is kept, without them it is the last one."""
        if self._settings.balance_of_network == "undersample":
            training = training[undersample(self._dataset.labels[training], np.random.default_rng(seed))]
        held_out = np.empty(0, np.int64) if validation is None else validation
        settings = self._settings.model_copy(update={"seed": seed})
        return taken_apart(fit(self._dataset, Split(training, held_out, {}, ()), settings).model, self._dataset.images)

    def load(self, file: Path) -> TunedFold:
        """A member that save() wrote. Raises OSError or ValueError where the file is no such member."""
        settings = self._settings
        model = build_network(settings.network, settings.preprocessing, len(self._dataset.classes.names))
        member = taken_apart(model, self._dataset.images)
        return TunedFold.load(file, member.network, member.images)


def taken_apart(model: keras.Model, images: NDArray[np.uint8]) -> TunedFold:
    """All layers but the last as the network; the last, a softmax of a linear map, as the map alone."""
    last = model.layers[-1]
    weights, bias = (np.asarray(value, np.float32) for value in last.get_weights())
    return TunedFold(keras.Model(model.input, last.input), weights, bias, images)
