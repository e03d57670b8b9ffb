"""Fine-tuning: a pretrained network learns a head, and then its last layers learn along.

Batch normalization stays in inference mode throughout: batches of eight slices, many of one case, have statistics that
say more about the case than about the class.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.data.balance import Indices, class_weights, oversample, undersample
from trainer.data.batches import balanced_batches, training_batches, validation_batches
from trainer.data.dataset import Dataset
from trainer.networks.attention import Affine
from trainer.networks.heads import Features, Logits
from trainer.networks.pretrained import build_backbone
from trainer.settings import TrainerSettings
from trainer.training.devices import all_devices
from trainer.training.event_log import EventLog
from trainer.training.fit import BestEpoch, EpochLog, seed_everything

logger = logging.getLogger(__name__)

_layers = keras.layers

_HEAD_SHARE = 0.25  # of the epochs train the head alone
_SLOWER = 0.1  # the step size of pretrained layers, against the head's own
_DROPOUT = 0.2
_BATCH = 8  # slices, where features are asked for


@dataclass(frozen=True)
class TunedFold:
    """A network of its own, and the linear map behind it."""

    network: keras.Model
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    images: NDArray[np.uint8]
    _known: dict[int, NDArray[np.float32]] = field(default_factory=dict, compare=False, repr=False)

    def features_of(self, rows: Indices) -> Features:
        """What the network gives for rows of the dataset, float32 [m, D]; each is computed once."""
        new = [row for row in dict.fromkeys(rows.tolist()) if row not in self._known]
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            self._known.update(zip(batch, self.network.predict_on_batch(self.images[batch]), strict=True))
        known = [self._known[row] for row in rows.tolist()]
        return np.asarray(known, np.float32).reshape(len(rows), len(self.weights))

    def logits(self, rows: Indices) -> Logits:
        """Uncalibrated logits float64 [m, C] for rows of the dataset."""
        return self.features_of(rows).astype(np.float64) @ self.weights + self.bias

    def lay(self, features: Any) -> Any:
        """Features [B, D] of the network in a Keras graph → logits [B, C]."""
        layer = _layers.Dense(len(self.bias))
        laid = layer(features)
        layer.set_weights([self.weights, self.bias])
        return laid

    def affine(self, features: Any) -> Affine:  # noqa: ARG002 - the same for all features
        """The same logits as an affine map of the features."""
        return Affine(keras.ops.convert_to_tensor(self.weights[None]), keras.ops.convert_to_tensor(self.bias[None]))

    def save(self, file: Path) -> None:
        """Write the weights of the network and of the map behind it to an .npz file."""
        layers = {f"network_{number}": value for number, value in enumerate(self.network.get_weights())}
        with file.open("wb") as opened:
            np.savez(opened, weights=self.weights, bias=self.bias, **layers)

    @classmethod
    def load(cls, file: Path, network: keras.Model, images: NDArray[np.uint8]) -> Self:
        """A member that save() wrote, for a network of the same layers. Raises OSError or ValueError."""
        try:
            with np.load(file, allow_pickle=False) as stored:
                fields = dict(stored)
            weights, bias = fields.pop("weights"), fields.pop("bias")
            network.set_weights([fields[f"network_{number}"] for number in range(len(fields))])
        except (ValueError, KeyError) as error:
            raise ValueError(f"{file.name} holds no fitted network of this kind") from error
        return cls(network, weights, bias, images)


class FineTuning:
    """Each fit begins at the pretrained weights and takes minutes to hours."""

    def __init__(self, dataset: Dataset, settings: TrainerSettings) -> None:
        self._dataset, self._settings = dataset, settings

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> TunedFold:
        """Train the head for a quarter of the epochs, then the last layers too, ten times slower.

        With validation rows, the best epoch of the second phase is kept, and it ends when none was better for
        `patience` epochs; without, the last epoch is. Raises WeightsError.
        """
        settings, dataset = self._settings, self._dataset
        seed_everything(seed)
        with all_devices():
            network = self._network()
            logits = _layers.Dense(len(dataset.classes.names), dtype="float32", name="logits")
            classifier = keras.Model(network.inputs, logits(_layers.Dropout(_DROPOUT)(network.output)))
        rows, weights = self._balanced(training, seed)
        held_out = None if validation is None else validation_batches(dataset, validation, settings.batch_size)
        heads = max(1, round(_HEAD_SHARE * settings.epochs))
        phases = [(0, heads, settings.adam_learning_rate)]
        if settings.epochs > heads:
            phases.append((heads, settings.epochs, settings.adam_learning_rate * _SLOWER))
        for number, (first, last, learning_rate) in enumerate(phases):
            unfreeze(network, settings.unfrozen if number else 0.0)
            classifier.compile(
                optimizer=keras.optimizers.Adam(learning_rate),
                loss=self._loss(),
                metrics=["accuracy"],
                jit_compile=False,  # on a CPU, XLA compiles long and then runs slower than oneDNN's kernels
            )
            best = EpochLog(last - first) if held_out is None else BestEpoch(last - first, settings.patience)
            callbacks: list[keras.callbacks.Callback] = [best]
            if settings.log_dir is not None:
                callbacks.append(EventLog(settings.log_dir / f"seed-{seed}", first))
            batches = balanced_batches if settings.balance_of_network == "batches" else training_batches
            fitted = classifier.fit(
                batches(dataset, rows, settings.batch_size, seed + number, settings.augmentation_of_network),
                validation_data=held_out,
                epochs=last - first,
                class_weight=weights,
                callbacks=callbacks,
                shuffle=False,  # the batches come shuffled
                verbose=0,
            ).history
            logger.info("Phase %d: %d epochs, loss %.4f", number + 1, len(fitted["loss"]), fitted["loss"][-1])
        return self._as_float32(network, logits)

    def load(self, file: Path) -> TunedFold:
        """A member that save() wrote. Raises OSError or ValueError where the file is no such member."""
        return TunedFold.load(file, self._network("none"), self._dataset.images)

    def _network(self, weights: str | None = None) -> keras.Model:
        """A model, image → features: the backbone's last feature map, weighed by where attention lies."""
        settings = self._settings
        backbone = build_backbone(settings.network, settings.preprocessing, weights or settings.weights)
        return keras.Model(backbone.inputs, attended(backbone.outputs[-1]))  # names must differ

    def _as_float32(self, network: keras.Model, logits: Any) -> TunedFold:
        """Whatever it was trained on and in, a member is a float32 model on one device."""
        plain = self._network("none")
        plain.set_weights(network.get_weights())
        weights, bias = (np.asarray(value, np.float32) for value in logits.get_weights())
        return TunedFold(plain, weights, bias, self._dataset.images)

    def _loss(self) -> Any:
        smoothing = self._settings.label_smoothing
        if self._settings.loss == "focal":  # Lin et al. 2017, arXiv 1708.02002; gamma 2
            return keras.losses.CategoricalFocalCrossentropy(from_logits=True, label_smoothing=smoothing)
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)

    def _balanced(self, training: Indices, seed: int) -> tuple[Indices, dict[int, float] | None]:
        labels, generator = self._dataset.labels[training], np.random.default_rng(seed)
        match self._settings.balance_of_network:
            case "undersample":
                return training[undersample(labels, generator)], None
            case "oversample":
                return training[oversample(labels, generator)], None
            case "class-weight":
                return training, class_weights(labels, len(self._dataset.classes.names))
            case _:
                return training, None


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
