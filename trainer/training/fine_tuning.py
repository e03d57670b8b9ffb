"""Fine-tuning: a pretrained network learns a head, and then its last layers learn along.

Batch normalization stays in inference mode throughout: batches of eight slices, many of one case, have statistics that
say more about the case than about the class.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.data.balance import Indices, balanced
from trainer.data.dataset import Dataset
from trainer.networks.heads import LinearMap
from trainer.networks.pretrained import build_backbone
from trainer.settings import TrainerSettings
from trainer.training.fit import fit, seed_everything
from trainer.training.members import Member

logger = logging.getLogger(__name__)

_layers = keras.layers

_HEAD_SHARE = 0.25  # of the epochs train the head alone
_SLOWER = 0.1  # the step size of pretrained layers, against the head's own
_DROPOUT = 0.2


class FineTuning:
    """Each fit begins at the pretrained weights and takes minutes to hours."""

    def __init__(self, dataset: Dataset, settings: TrainerSettings) -> None:
        self._dataset, self._settings = dataset, settings

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> Member:
        """Train the head for a quarter of the epochs, then the last layers too, ten times slower.

        With validation rows, the best epoch of the second phase is kept, and it ends when none was better for
        `patience` epochs; without, the last epoch is. Raises WeightsError.
        """
        settings, dataset = self._settings, self._dataset
        seed_everything(seed)
        with _all_devices():
            network = self._network()
            logits = _layers.Dense(len(dataset.classes.names), dtype="float32", name="logits")
            classifier = keras.Model(network.inputs, logits(_layers.Dropout(_DROPOUT)(network.output)))
        rows = balanced(dataset.labels, training, settings.balance_of_network, seed)
        heads = max(1, round(_HEAD_SHARE * settings.epochs))
        phases = [(range(heads), 0.0, settings.adam_learning_rate)]
        if settings.epochs > heads:
            slower = settings.adam_learning_rate * _SLOWER
            phases.append((range(heads, settings.epochs), settings.unfrozen, slower))
        for phase, (epochs, share, learning_rate) in enumerate(phases):
            unfreeze(network, share)
            history = fit(
                classifier, dataset, rows, validation, settings,
                loss=keras.losses.CategoricalCrossentropy(from_logits=True), learning_rate=learning_rate,
                epochs=epochs, seed=seed, phase=phase,
            )  # fmt: skip
            logger.info("Phase %d: %d epochs, loss %.4f", phase + 1, len(history.loss), history.loss[-1])
        # whatever it was trained on and in, a member is a float32 model on one device
        plain = self._network("none")
        plain.set_weights(network.get_weights())
        weights, bias = (np.asarray(value, np.float32) for value in logits.get_weights())
        return Member(plain, LinearMap(weights, bias), dataset.seen)

    def load(self, file: Path) -> Member:
        """A member that save() wrote. Raises OSError or ValueError where the file is no such member."""
        return Member.load(file, self._network("none"), self._dataset.seen)

    def _network(self, weights: str | None = None) -> keras.Model:
        """A model, image → features: the backbone's last feature map, weighed by where attention lies."""
        settings = self._settings
        backbone = build_backbone(settings.network, settings.preprocessing, weights or settings.weights)
        return keras.Model(backbone.inputs, attended(backbone.outputs[-1]))  # names must differ


@contextmanager
def _all_devices() -> Iterator[None]:
    """Build networks in here: with graphics cards in half precision, and on several of them side by side.

    Half precision is for the layers that are built within; the policy is as before afterwards. On a processor nothing
    changes: float32 is faster there.
    """
    cards = tf.config.list_logical_devices("GPU")
    before = keras.mixed_precision.dtype_policy()
    strategy = tf.distribute.MirroredStrategy() if len(cards) > 1 else tf.distribute.get_strategy()
    try:
        if cards:
            keras.mixed_precision.set_dtype_policy("mixed_float16")
        with strategy.scope():
            yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def attended(feature_map: Any) -> Any:
    """Feature map [B, h, w, D] → [B, D]: its mean, weighed by attention that is learned, and equal at first.

    Attention pooling of Ilse et al. 2018 (arXiv 1802.04712), one linear score a place; the layer "attention" gives the
    weights, [B, h * w], which sum to 1.
    """
    places, channels = feature_map.shape[1] * feature_map.shape[2], feature_map.shape[3]
    flat = _layers.Reshape((places, channels))(feature_map)
    scores = _layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="attention_score")(flat)
    attention = _layers.Softmax(axis=1, dtype="float32", name="attention")(scores)
    pooled = _layers.Dot(axes=(1, 1), dtype="float32")([attention, flat])
    return _layers.Reshape((channels,), dtype="float32")(pooled)


def unfreeze(network: keras.Model, share: float) -> None:
    """Let the last share of a network's layers learn, its attention always, and its batch normalization never."""
    layers = [layer for layer in _flat(network) if layer.weights]
    first = round((1 - share) * len(layers))
    for number, layer in enumerate(layers):
        normalizes = isinstance(layer, _layers.BatchNormalization)
        layer.trainable = layer.name == "attention_score" or (number >= first and not normalizes)


def _flat(model: keras.Model) -> list[Any]:
    """Layers in order, those of nested models in their place; the models themselves stay trainable."""
    found = []
    for layer in model.layers:
        found.extend(_flat(layer) if isinstance(layer, keras.Model) else [layer])
    return found
