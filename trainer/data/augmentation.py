"""Changing training slices so that no two epochs show the same pixels. Held-out slices are never changed."""

import math
from typing import Any

import tensorflow as tf

from trainer.settings import AugmentationName

_GAIN = 0.1
_OFFSET = 12.0
_MIXUP_ALPHA = 0.2
_TINY = 1e-30  # keeps 0 / 0 out of the share where both draws of a Gamma are too small for float32

# "strong": what differs between scans of one patient, and a little more
_ROTATION = math.radians(10)
_ZOOM = 0.1
_SHIFT = 0.05  # of the side
_NOISE = 8.0  # grey values, the largest standard deviation
_HOLE = 0.25  # of the side, the longest side of what is cut out
_HOLE_SHARE = 0.5  # of the slices have a hole


def augment(name: AugmentationName, images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
    """Change a batch: uint8 [b, H, W, 1] and labels float32 [b, classes], rows summing to 1, as do those returned.

    seed: int64 [2]; equal seeds change a batch equally. "none" changes nothing. "light": contrast varies by 10 % and
    brightness by 12 grey values, as between exports of one scan, and slices are mixed (MixUp, Zhang et al. 2018, arXiv
    1710.09412; alpha 0.2 leaves most nearly whole). "strong" also flips, turns, zooms, shifts, adds noise, cuts holes.
    """
    if name == "none":
        return images, labels
    if name == "light":
        return _mix_up(_jitter_window(images, seed), labels, seed)
    moved = _jitter_window(_move(images, seed), seed)
    return _mix_up(_cut_out(_add_noise(moved, seed), seed), labels, seed)


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


def _move(images: Any, seed: Any) -> Any:
    """Mirror half of the slices; turn, zoom and shift all of them at once, by one bilinear look-up; black comes in."""
    count, height, width = (tf.shape(images)[axis] for axis in range(3))
    angle = tf.random.stateless_uniform([count], seed + 5, -_ROTATION, _ROTATION)
    zoom = tf.random.stateless_uniform([count], seed + 6, 1 - _ZOOM, 1 + _ZOOM)
    mirror = tf.where(tf.random.stateless_uniform([count], seed + 7) < 0.5, 1.0, -1.0)  # noqa: PLR2004 # half of them
    shift = tf.random.stateless_uniform([count, 2], seed + 8, -_SHIFT, _SHIFT)
    middle_x, middle_y = tf.cast(width - 1, tf.float32) / 2, tf.cast(height - 1, tf.float32) / 2
    a, b = mirror * tf.cos(angle) / zoom, -tf.sin(angle) / zoom
    c, d = mirror * tf.sin(angle) / zoom, tf.cos(angle) / zoom
    to_x = middle_x * (1 + 2 * shift[:, 0]) - a * middle_x - b * middle_y
    to_y = middle_y * (1 + 2 * shift[:, 1]) - c * middle_x - d * middle_y
    zero = tf.zeros_like(angle)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack([a, b, to_x, c, d, to_y, zero, zero], axis=1),
        output_shape=tf.stack([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _add_noise(grey: Any, seed: Any) -> Any:
    strength = tf.random.stateless_uniform([tf.shape(grey)[0], 1, 1, 1], seed + 9, 0, _NOISE)
    return tf.clip_by_value(grey + strength * tf.random.stateless_normal(tf.shape(grey), seed + 10), 0, 255)


def _cut_out(grey: Any, seed: Any) -> Any:
    """A black rectangle in half of the slices (DeVries & Taylor 2017, arXiv 1708.04552): no single spot may decide."""
    count, height, width = (tf.shape(grey)[axis] for axis in range(3))
    middle = tf.random.stateless_uniform([count, 2], seed + 11)
    size = tf.random.stateless_uniform([count, 2], seed + 12, 0, _HOLE)
    chosen = tf.random.stateless_uniform([count, 1, 1], seed + 13) < _HOLE_SHARE
    rows = tf.linspace(0.0, 1.0, height)[tf.newaxis, :, tf.newaxis]
    columns = tf.linspace(0.0, 1.0, width)[tf.newaxis, tf.newaxis, :]
    middle, size = middle[:, :, tf.newaxis, tf.newaxis], size[:, :, tf.newaxis, tf.newaxis]
    in_rows = tf.abs(rows - middle[:, 0]) < size[:, 0] / 2
    in_columns = tf.abs(columns - middle[:, 1]) < size[:, 1] / 2
    return tf.where((chosen & in_rows & in_columns)[:, :, :, tf.newaxis], 0.0, grey)
