"""Class balance: which slices, how often, with which weight.

Each function looks at labels only and returns indices or weights, so that no image is copied for it.
"""

import numpy as np
from numpy.typing import NDArray

from trainer.settings import BalanceName

Labels = NDArray[np.int64]
"""int64 [n], the class index of each slice."""
Indices = NDArray[np.int64]
"""int64 [m], positions in an array of labels."""


def balanced(labels: Labels, rows: Indices, balance: BalanceName, seed: int) -> Indices:
    """The rows that train: those given, or, where the balance draws rows, fewer or more of them.

    labels: int64 [n]; rows: int64 [m], positions in them.
    """
    rng = np.random.default_rng(seed)
    if balance == "undersample":
        return rows[undersample(labels[rows], rng)]
    return rows[oversample(labels[rows], rng)] if balance == "oversample" else rows


def undersample(labels: Labels, rng: np.random.Generator) -> Indices:
    """Rows with as many of each class as the smallest has, drawn without replacement; ascending positions."""
    members = [np.flatnonzero(labels == index) for index in np.unique(labels)]
    smallest = min(len(of_class) for of_class in members)
    return np.sort(np.concatenate([rng.choice(of_class, smallest, replace=False) for of_class in members]))


def oversample(labels: Labels, rng: np.random.Generator) -> Indices:
    """Every slice once, and slices of the smaller classes again until each class has as many as the largest."""
    members = [np.flatnonzero(labels == index) for index in np.unique(labels)]
    largest = max(len(of_class) for of_class in members)
    again = [_repeated(of_class, largest - len(of_class), rng) for of_class in members]
    return np.sort(np.concatenate([*members, *again]))


def _repeated(of_class: Indices, count: int, rng: np.random.Generator) -> Indices:
    """Whole rounds first, so that no slice appears two times more often than another."""
    rounds, rest = divmod(count, len(of_class))
    return np.concatenate([*[of_class] * rounds, rng.choice(of_class, rest, replace=False)])


def class_weights(labels: Labels, n_classes: int) -> dict[int, float]:
    """Loss weight of each class, n / (n_classes * count): every class weighs the same in sum (King & Zeng 2001).

    A class without a slice gets 0.
    """
    counts = np.bincount(labels, minlength=n_classes)
    return {index: float(len(labels) / (n_classes * count)) if count else 0.0 for index, count in enumerate(counts)}
