"""Changing training slices so that no two epochs show the same pixels. Held-out slices are never changed."""

from typing import Any

import tensorflow as tf

_GAIN = 0.1
_OFFSET = 12.0
_MIXUP_ALPHA = 0.2
_TINY = 1e-30  # keeps 0 / 0 out of the share where both draws of a Gamma are too small for float32


def augment_lightly(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
    """Jitter the window of each slice, then mix it with another one of its batch.

    images: uint8 [b, H, W, 1]; labels: float32 [b, classes], rows summing to 1, as do those returned; seed: int64 [2],
    equal seeds change a batch equally. Contrast varies by 10 % and brightness by 12 grey values, as between exports of
    one scan. MixUp (Zhang et al. 2018, arXiv 1710.09412; alpha 0.2) leaves most slices nearly whole.
    """
    return _mix_up(_jitter_window(images, seed), labels, seed)


def _jitter_window(images: Any, seed: Any) -> Any:
    per_slice = [tf.shape(images)[0], 1, 1, 1]
    gain = tf.random.stateless_uniform(per_slice, seed + 1, 1 - _GAIN, 1 + _GAIN)
    offset = tf.random.stateless_uniform(per_slice, seed + 2, -_OFFSET, _OFFSET)
    return tf.clip_by_value(tf.cast(images, tf.float32) * gain + offset, 0, 255)


def _mix_up(grey: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
    """The share of a slice is Beta(alpha, alpha), the ratio of two Gammas; its partner is its mirror in the batch."""
    count = tf.shape(grey)[0]
    first = tf.random.stateless_gamma([count, 1], seed + 3, _MIXUP_ALPHA) + _TINY
    second = tf.random.stateless_gamma([count, 1], seed + 4, _MIXUP_ALPHA) + _TINY
    share = first / (first + second)
    mixed_labels = share * labels + (1 - share) * labels[::-1]
    share = share[:, :, tf.newaxis, tf.newaxis]
    return tf.cast(tf.round(share * grey + (1 - share) * grey[::-1]), tf.uint8), mixed_labels
