"""What the network was never shown lies far from what it was, in Keras's graph as in NumPy."""

import keras
import numpy as np
import pytest

from trainer.networks.feature_distance import fit_distance
from trainer.networks.heads import Features


def _features(count: int, seed: int, width: int = 200) -> Features:
    """Slices of a few directions, and a little of everything."""
    random = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(0, 1, (8, width))
    return (random.normal(0, 1, (count, 8)) @ directions + random.normal(0, 0.2, (count, width)) + 3).astype(np.float32)


def test_unseen_slices_lie_at_one_and_others_far_off() -> None:
    """The median of unseen slices is 1; features along other directions, and ten times as large ones, lie beyond."""
    distance = fit_distance(_features(150, 0)).in_units_of(_features(80, 1))
    unseen = distance.of(_features(80, 1))
    assert np.median(unseen) == pytest.approx(1)
    other = np.random.default_rng(2).normal(3, 3, (50, 200)).astype(np.float32)
    assert distance.of(other).min() > 1.5 * unseen.max()
    assert distance.of(10 * _features(20, 3)).min() > 1.5 * unseen.max()


def test_the_graph_gives_the_same_distance() -> None:
    """Laid into a model, it differs by rounding only."""
    distance = fit_distance(_features(150, 0)).in_units_of(_features(80, 1))
    strange = np.concatenate([_features(10, 4), np.zeros((2, 200), np.float32), 50 * _features(3, 5)])
    features = keras.Input((200,))
    laid = keras.Model(features, distance.in_graph(features)).predict_on_batch(strange)
    np.testing.assert_allclose(laid, distance.of(strange), rtol=2e-3)


@pytest.mark.parametrize("count", [2, 3, 20])
def test_few_slices_are_enough(count: int) -> None:
    """With fewer slices than axes, the distance is finite and tells strangers."""
    distance = fit_distance(_features(count, 0))
    assert np.isfinite(distance.of(_features(30, 1))).all()


def test_silent_features_are_not_blown_up() -> None:
    """A feature that never changed in training may change a little without being a stranger."""
    silent = np.hstack([_features(150, 0), np.zeros((150, 5), np.float32)])
    distance = fit_distance(silent)
    known = np.hstack([_features(40, 1), np.zeros((40, 5), np.float32)])
    moved = known + np.pad(np.full((40, 5), 0.05, np.float32), ((0, 0), (200, 0)))
    np.testing.assert_allclose(distance.of(moved), distance.of(known), rtol=0.2)
