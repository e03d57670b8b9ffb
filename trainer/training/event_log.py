"""Curves of a training run as TensorBoard reads them, written without TensorBoard.

An event file is a TFRecord file of protocol buffers, which TensorFlow brings along; TensorBoard itself would be twenty
more packages in the trainer.
"""

import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

_Event, _Summary = tf.compat.v1.Event, tf.compat.v1.Summary


class EventLog(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """Writes every metric of every epoch to one new event file in the folder, which may not exist yet."""

    def __init__(self, folder: Path, first_epoch: int = 0) -> None:
        super().__init__()
        self._folder, self._first_epoch = folder, first_epoch
        self._writer: Any = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Open a new event file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        self._writer = tf.io.TFRecordWriter(str(self._folder / f"events.out.tfevents.{now:.6f}.lungct"))
        self._write(_Event(wall_time=now, file_version="brain.Event:2"))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Append the metrics of an epoch."""
        values = [_Summary.Value(tag=tag, simple_value=float(value)) for tag, value in (logs or {}).items()]
        self._write(_Event(wall_time=time.time(), step=self._first_epoch + epoch, summary=_Summary(value=values)))

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Close the file."""
        self._writer.close()

    def _write(self, event: tf.compat.v1.Event) -> None:
        self._writer.write(event.SerializeToString())
        self._writer.flush()
