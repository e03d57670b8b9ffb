"""Fitting one network to one split, the same way each time."""

import logging
import time
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.balance import Indices, class_weights, oversample
from trainer.data.batches import balanced_batches, training_batches, validation_batches
from trainer.data.dataset import Dataset
from trainer.data.splits import Split
from trainer.networks.registry import build_network
from trainer.settings import TrainerSettings
from trainer.training.event_log import EventLog

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class History:
    """One value per epoch that ran; best_epoch counts from 1 and is the one whose weights were kept.

    Without held-out slices there are no validation values, and the last epoch is kept.
    """

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    best_epoch: int


@dataclass(frozen=True)
class Trained:
    """A fitted network, image uint8 [B, H, W, 1] → probabilities float32 [B, classes], and how it came to be."""

    model: keras.Model
    history: History


def seed_everything(seed: int) -> None:
    """Make weights, dropout, order and every TensorFlow operation repeat; costs nothing measurable on a CPU."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit(dataset: Dataset, split: Split, settings: TrainerSettings) -> Trained:
    """Train until the epochs are used up or `patience` epochs brought no better one, and restore the best epoch.

    A split that holds nothing out trains for all epochs and keeps the last one.
    """
    seed_everything(settings.seed)
    model = build_network(settings.network, settings.preprocessing, len(dataset.classes.names))
    model.compile(
        optimizer=keras.optimizers.Adam(settings.adam_learning_rate),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # on a CPU, XLA compiles for 15 s and then runs slower than oneDNN's kernels
    )
    rows, weights = _balanced(dataset, split, settings)
    best = BestEpoch(settings.epochs, settings.patience)
    is_judged = len(split.validation) > 0
    batches = balanced_batches if settings.balance_of_network == "batches" else training_batches
    callbacks: list[keras.callbacks.Callback] = [best if is_judged else EpochLog(settings.epochs)]
    if settings.log_dir is not None:
        callbacks.append(EventLog(settings.log_dir / f"seed-{settings.seed}"))
    fitted = model.fit(
        batches(dataset, rows, settings.batch_size, settings.seed, settings.augmentation_of_network),
        validation_data=validation_batches(dataset, split.validation, settings.batch_size) if is_judged else None,
        epochs=settings.epochs,
        class_weight=weights,
        callbacks=callbacks,
        shuffle=False,  # the batches come shuffled
        verbose=0,
    ).history
    history = History(
        loss=tuple(fitted["loss"]),
        accuracy=tuple(fitted["accuracy"]),
        validation_loss=tuple(fitted.get("val_loss", ())),
        validation_accuracy=tuple(fitted.get("val_accuracy", ())),
        best_epoch=best.epoch if is_judged else settings.epochs,
    )
    return Trained(model, history)


def _balanced(dataset: Dataset, split: Split, settings: TrainerSettings) -> tuple[Indices, dict[int, float] | None]:
    """The rows to train on, and the loss weights. Undersampling was part of the split: held-out slices follow it."""
    labels = dataset.labels[split.training]
    if settings.balance_of_network == "oversample":
        return split.training[oversample(labels, np.random.default_rng(settings.seed))], None
    if settings.balance_of_network == "class-weight":
        return split.training, class_weights(labels, len(dataset.classes.names))
    return split.training, None


class EpochLog(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """One line an epoch, where nothing is held out to judge it by."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Say how far training is."""
        logs = logs or {}
        logger.info("Epoch %d/%d  loss %.4f  accuracy %.4f", epoch + 1, self._epochs, logs["loss"], logs["accuracy"])


class BestEpoch(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """Early stopping on the highest validation accuracy, and among equals the lowest validation loss.

    Accuracy alone moves in steps of one slice and ties often; loss alone can prefer an epoch that is less accurate.
    """

    def __init__(self, epochs: int, patience: int) -> None:
        super().__init__()
        self.epoch = 0
        self._epochs, self._patience = epochs, patience
        self._score = (-1.0, 0.0)
        self._weights: list[NDArray[np.float32]] = []
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Start the epoch's clock."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keep the weights if the epoch was the best one; stop where the last best one is too long ago."""
        logs = logs or {}
        score = (logs["val_accuracy"], -logs["val_loss"])
        if score > self._score:
            self._score, self.epoch, self._weights = score, epoch + 1, self.model.get_weights()
        logger.info(
            "Epoch %d/%d  loss %.4f  accuracy %.4f  validation loss %.4f  accuracy %.4f%s  (%.1f s)",
            epoch + 1, self._epochs, logs["loss"], logs["accuracy"], logs["val_loss"], logs["val_accuracy"],
            "  best so far" if self.epoch == epoch + 1 else "", time.monotonic() - self._began,
        )  # fmt: skip
        if epoch + 1 - self.epoch >= self._patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Give the model the weights of its best epoch."""
        self.model.set_weights(self._weights)
