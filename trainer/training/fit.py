"""Training by gradient steps, the same way each time: a network, its rows, and what tells when to stop."""

import logging
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.data.balance import Indices, class_weights
from trainer.data.batches import balanced_batches, training_batches, validation_batches
from trainer.data.dataset import Dataset
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


def seed_everything(seed: int) -> None:
    """Make weights, dropout, order and every TensorFlow operation repeat; costs nothing measurable on a CPU."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit(
    model: keras.Model,
    dataset: Dataset,
    rows: Indices,
    held_out: Indices | None,
    settings: TrainerSettings,
    *,
    loss: Any,
    learning_rate: float,
    epochs: range,
    seed: int,
    phase: int = 0,
) -> History:
    """Train until the epochs are used up or `patience` epochs brought no better one, and restore the best epoch.

    model: image uint8 [B, H, W, 1] → what the loss takes, [B, C]. rows: int64 [m], those that train, any of them more
    than once. held_out: rows that decide which epoch is best; without them the last one is kept. epochs: their numbers,
    for the curves. seed: the member's, which names the folder of its curves; each phase has orders of its own.
    """
    balance = settings.balance_of_network
    n_classes = len(dataset.classes.names)
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=loss,
        metrics=["accuracy"],
        jit_compile=False,  # on a CPU, XLA compiles for 15 s and then runs slower than oneDNN's kernels
    )
    best = BestEpoch(len(epochs), settings.patience)
    callbacks: list[keras.callbacks.Callback] = [best]
    if settings.log_dir is not None:
        callbacks.append(EventLog(settings.log_dir / f"seed-{seed}", epochs.start))
    batches = balanced_batches if balance == "batches" else training_batches
    fitted = model.fit(
        batches(dataset, rows, settings.batch_size, seed + phase, settings.augmentation_of_network),
        validation_data=None if held_out is None else validation_batches(dataset, held_out, settings.batch_size),
        epochs=len(epochs),
        class_weight=class_weights(dataset.labels[rows], n_classes) if balance == "class-weight" else None,
        callbacks=callbacks,
        shuffle=False,  # the batches come shuffled
        verbose=0,
    ).history
    return History(
        loss=tuple(fitted["loss"]),
        accuracy=tuple(fitted["accuracy"]),
        validation_loss=tuple(fitted.get("val_loss", ())),
        validation_accuracy=tuple(fitted.get("val_accuracy", ())),
        best_epoch=best.epoch,
    )


class BestEpoch(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """Early stopping on the highest validation accuracy, and among equals the lowest validation loss; a line an epoch.

    Accuracy alone moves in steps of one slice and ties often; loss alone can prefer an epoch that is less accurate.
    Where nothing is held out, the last epoch is kept.
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
        line = f"Epoch {epoch + 1}/{self._epochs}  loss {logs['loss']:.4f}  accuracy {logs['accuracy']:.4f}"
        if "val_loss" not in logs:
            self.epoch = epoch + 1
            logger.info("%s", line)
            return
        score = (logs["val_accuracy"], -logs["val_loss"])
        if score > self._score:
            self._score, self.epoch, self._weights = score, epoch + 1, self.model.get_weights()
        logger.info(
            "%s  validation loss %.4f  accuracy %.4f%s  (%.1f s)", line, logs["val_loss"], logs["val_accuracy"],
            "  best so far" if self.epoch == epoch + 1 else "", time.monotonic() - self._began,
        )  # fmt: skip
        if epoch + 1 - self.epoch >= self._patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Give the model the weights of its best epoch."""
        if self._weights:
            self.model.set_weights(self._weights)
