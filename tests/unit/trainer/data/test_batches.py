"""Batches: order, repetition, and augmentation that the seed decides."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from shared.classes import LUNG_CT_CLASSES
from trainer.data.augmentation import _cut_out, _move, augment
from trainer.data.batches import balanced_batches, training_batches, validation_batches
from trainer.data.dataset import Dataset


@pytest.fixture(scope="module")
def ten() -> Dataset:
    """Ten slices of which every pixel of slice i is i, with label i % 3."""
    images = np.arange(10, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 4, 4, 1), np.uint8)
    digests = tuple(f"{index:064x}" for index in range(10))
    thumbnails = np.zeros((10, 64, 64), np.uint8)
    return Dataset(
        images=images, labels=np.arange(10) % 3, digests=digests, files=digests, classes=LUNG_CT_CLASSES,
        kind="slices", thumbnails=thumbnails,
    )  # fmt: skip


def drained(batches: Any) -> list[tuple[list[int], list[int]]]:
    """(slice numbers, labels) of each batch."""
    return [(images.numpy()[:, 0, 0, 0].tolist(), labels.numpy().argmax(axis=1).tolist()) for images, labels in batches]


def test_validation_batches_keep_the_order_of_the_rows(ten: Dataset) -> None:
    """Rows come as given, with their own labels, the last batch being smaller."""
    assert drained(validation_batches(ten, np.array([7, 2, 5]), 2)) == [([7, 2], [1, 2]), ([5], [2])]


def test_training_batches_shuffle_by_the_seed(ten: Dataset) -> None:
    """Each epoch has every row once, in another order than the epoch before; the same seed gives the same orders."""
    rows = np.arange(10)
    epochs = training_batches(ten, rows, 4, seed=3)
    first, second = drained(epochs), drained(epochs)
    assert first != second
    assert sorted(image for images, _ in first for image in images) == rows.tolist()
    assert all(label == image % 3 for images, labels in first for image, label in zip(images, labels, strict=True))
    again = training_batches(ten, rows, 4, seed=3)
    assert [drained(again), drained(again)] == [first, second]
    assert drained(training_batches(ten, rows, 4, seed=4)) != first


def test_a_row_may_come_several_times(ten: Dataset) -> None:
    """Oversampling repeats row numbers; each repetition is a slice of the epoch."""
    ((images, _),) = drained(training_batches(ten, np.array([1, 1, 1, 6]), 8, seed=0))
    assert sorted(images) == [1, 1, 1, 6]


def test_light_augmentation_repeats_with_the_seed_and_changes_with_the_epoch(ten: Dataset) -> None:
    """Two pipelines of one seed give the same pixels epoch by epoch; the epochs differ; dtypes are the network's."""

    def epochs(seed: int) -> list[np.ndarray]:
        batches = training_batches(ten, np.arange(10), 4, seed, "light")
        return [np.concatenate([images.numpy() for images, _ in batches]) for _ in range(2)]

    first, second = epochs(3)
    again = epochs(3)
    np.testing.assert_array_equal(first, again[0])
    np.testing.assert_array_equal(second, again[1])
    assert not np.array_equal(np.sort(first.ravel()), np.sort(second.ravel()))
    assert first.dtype == np.uint8


def test_light_augmentation_keeps_shape_range_and_label_mass() -> None:
    """Grey stays in 0 to 255 without wrapping round; labels mix in the shares of the pixels and sum to 1."""
    images = np.concatenate([np.zeros((50, 8, 8, 1), np.uint8), np.full((50, 8, 8, 1), 255, np.uint8)])
    labels = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
    changed, mixed = augment("light", tf.constant(images), tf.constant(labels), tf.constant([1, 2], tf.int64))
    changed, mixed = changed.numpy(), mixed.numpy()
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    # a slice is as bright as its share of the white class, but for the jitter
    brightness = changed.mean(axis=(1, 2, 3)) / 255
    assert np.max(np.abs(brightness - mixed[:, 1])) < 0.16
    assert 0.5 < np.mean(np.max(mixed, axis=1) > 0.9) < 0.95  # most slices stay nearly whole, some do not


def test_augmentation_of_a_single_slice_is_jitter_only() -> None:
    """The last batch of an epoch may hold one slice, which has no partner but itself."""
    image = np.full((1, 8, 8, 1), 100, np.uint8)
    changed, labels = augment("light", tf.constant(image), tf.ones((1, 1)), tf.constant([5, 6], tf.int64))
    assert abs(float(changed.numpy().mean()) - 100) <= 22
    assert labels.numpy().tolist() == [[1.0]]


def test_balanced_batches_take_turns(ten: Dataset) -> None:
    """Each batch has as many of each class, to one; small classes come round again; the number of batches is usual."""
    rows = np.array([0, 3, 6, 9, 1, 4, 2])  # four of class 0, two of class 1, one of class 2
    batches = drained(balanced_batches(ten, rows, 3, seed=1))
    assert [sorted(labels) for _, labels in batches] == [[0, 1, 2], [0, 1, 2], [0]]
    assert all(images[labels.index(2)] == 2 for images, labels in batches if 2 in labels)
    assert drained(balanced_batches(ten, rows, 3, seed=1)) == batches


def test_strong_augmentation_keeps_shape_range_and_label_mass() -> None:
    """Slices keep their dtype and size, labels sum to 1, and hardly two copies of a slice come out alike."""
    images = np.full((40, 32, 48, 1), 200, np.uint8)
    labels = np.repeat(np.eye(2, dtype=np.float32), 20, axis=0)
    seed = tf.constant([3, 4], tf.int64)
    changed, mixed = augment("strong", tf.constant(images), tf.constant(labels), seed)
    assert changed.shape == images.shape
    assert changed.dtype == tf.uint8
    np.testing.assert_allclose(mixed.numpy().sum(axis=1), 1, atol=1e-6)
    assert len({picture.tobytes() for picture in changed.numpy()}) >= 36
    assert 150 < np.median(changed.numpy()) < 240
    again, _ = augment("strong", tf.constant(images), tf.constant(labels), seed)
    np.testing.assert_array_equal(again.numpy(), changed.numpy())


def test_moving_flips_turns_zooms_and_shifts_a_little() -> None:
    """A spot stays within what 10 degrees, 10 % zoom and 5 % shift allow, on its side or mirrored on the other."""
    images = np.zeros((200, 101, 101, 1), np.uint8)
    images[:, 48:53, 78:83] = 255  # 30 to the right of the middle
    moved = _move(tf.constant(images), tf.constant([1, 1], tf.int64)).numpy()[..., 0]
    mass = moved.sum(axis=(1, 2))
    columns = (moved.sum(axis=1) * np.arange(101)).sum(axis=1) / mass - 50
    rows = (moved.sum(axis=2) * np.arange(101)).sum(axis=1) / mass - 50
    assert 60 < (columns > 0).sum() < 140
    reach = 30 * 1.1 + 5.5
    assert np.hypot(columns, rows).max() < reach
    assert np.abs(columns).min() > 30 * 0.9 * np.cos(np.radians(10)) - 5.5
    assert np.abs(rows).max() < 33 * np.sin(np.radians(10)) + 5.5


def test_holes_are_black_and_at_most_a_quarter_of_each_side() -> None:
    """About half of the slices get one."""
    images = tf.fill([200, 40, 40, 1], 100.0)
    holes = _cut_out(images, tf.constant([1, 2], tf.int64)).numpy()[..., 0] == 0
    assert 60 < holes.any(axis=(1, 2)).sum() < 120
    assert holes.any(axis=1).sum(axis=1).max() <= 11
    assert holes.any(axis=2).sum(axis=1).max() <= 11


@pytest.mark.parametrize("batches_of", [training_batches, balanced_batches, validation_batches])
def test_nothing_waits_for_the_tuner(ten: Dataset, batches_of: Callable[..., Any]) -> None:
    """tf.data's tuner is off: the end of an epoch would wait for its next look, seconds away."""
    settings = (4,) if batches_of is validation_batches else (4, 0)
    assert batches_of(ten, np.arange(10), *settings).options().autotune.enabled is False
