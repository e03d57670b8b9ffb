"""Slices in memory → tf.data batches, prefetched while the network works on the one before.

Only row numbers are shuffled and repeated; pixels are gathered batch by batch, so that oversampling copies no image.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from trainer.data.augmentation import augment
from trainer.data.balance import Indices
from trainer.data.dataset import Dataset
from trainer.settings import AugmentationName

_AHEAD = 2  # batches


def training_batches(
    dataset: Dataset, rows: Indices, batch_size: int, seed: int, augmentation: AugmentationName = "none"
) -> Any:
    """Batches of (uint8 [b, H, W, 1], one-hot float32 [b, classes]) over the rows, each epoch in a new order.

    The seed decides all orders and every change of a slice by augmentation. A row may appear several times.
    """
    order = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows), seed=seed, reshuffle_each_iteration=True)
    return _augmented(_gathered(dataset, order.batch(batch_size)), seed, augmentation)


def balanced_batches(
    dataset: Dataset, rows: Indices, batch_size: int, seed: int, augmentation: AugmentationName = "none"
) -> Any:
    """As many batches, in each of which the classes take turns: their counts differ by at most one.

    Slices of a class come in a new order whenever all have come; those of a small class come more often.
    """
    labels = dataset.labels[rows]
    classes = [
        tf.data.Dataset.from_tensor_slices(rows[labels == label])
        .shuffle(int((labels == label).sum()), seed=seed + int(label), reshuffle_each_iteration=True)
        .repeat()
        for label in np.unique(labels)
    ]
    turns = tf.data.Dataset.range(len(classes)).repeat()
    order = tf.data.Dataset.choose_from_datasets(classes, turns).take(len(rows))
    return _augmented(_gathered(dataset, order.batch(batch_size)), seed, augmentation)


def validation_batches(dataset: Dataset, rows: Indices, batch_size: int) -> Any:
    """Batches of (uint8 [b, H, W, 1], one-hot float32 [b, classes]) in the order of the rows, slices as they are."""
    return prefetched(_gathered(dataset, tf.data.Dataset.from_tensor_slices(rows).batch(batch_size)))


def prefetched(batches: Any) -> Any:
    """Make batches ahead of the network, without tf.data's tuner.

    The tuner looks after 10 ms, and then after twice the time again and again, and whoever ends an iterator waits for
    its next look: an epoch of 7 s took until 10.23 s. There is nothing to tune here.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(_AHEAD).with_options(options)


def _augmented(batches: Any, seed: int, augmentation: AugmentationName) -> Any:
    if augmentation != "none":
        seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
        batches = tf.data.Dataset.zip(batches, seeds).map(
            lambda batch, seed_of_batch: augment(augmentation, batch[0], batch[1], seed_of_batch)
        )
    return prefetched(batches)


def _gathered(dataset: Dataset, batches_of_rows: Any) -> Any:
    pixels = tf.constant(dataset.images)
    # floats, because a mixed slice is of two classes in shares
    one_hot = tf.constant(np.eye(len(dataset.classes.names), dtype=np.float32)[dataset.labels])
    return batches_of_rows.map(lambda rows: (tf.gather(pixels, rows), tf.gather(one_hot, rows)))
