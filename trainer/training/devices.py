"""What a run computes on: the processor, or all graphics cards of the machine."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf


@contextmanager
def all_devices() -> Iterator[None]:
    """Build and fit networks in here: with graphics cards in half precision, and on several of them side by side.

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
