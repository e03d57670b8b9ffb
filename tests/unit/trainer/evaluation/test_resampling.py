"""The bootstrap by case."""

import numpy as np

from trainer.evaluation.resampling import draw_cases

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
GROUPS = np.array([7, 7, 3, 1, 0, 5, 5, 9, 4, 4])


def drawn(labels: np.ndarray, groups: np.ndarray, draws: int = 400, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(draw_cases(labels, groups, draws, seed)))


def test_whole_cases_are_drawn_within_their_class() -> None:
    """Slices of a case come equally often, and each class as many cases as it has, in every draw."""
    weights = drawn(LABELS, GROUPS)
    assert weights.shape == (400, 10)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 5], weights[:, 6])
    first_of_case = [0, 2, 3, 4, 5, 7, 8]
    per_class = [weights[:, [row for row in first_of_case if LABELS[row] == label]].sum(axis=1) for label in range(3)]
    assert [set(counts.tolist()) for counts in per_class] == [{2}, {2}, {3}]
    assert (weights.mean(axis=0) > 0.8).all()
    assert (weights.mean(axis=0) < 1.2).all()


def test_the_seed_decides_the_draws() -> None:
    """Equal seeds, equal draws; the blocks in which they come do not matter."""
    np.testing.assert_array_equal(drawn(LABELS, GROUPS, seed=1), drawn(LABELS, GROUPS, seed=1))
    assert not np.array_equal(drawn(LABELS, GROUPS, seed=1), drawn(LABELS, GROUPS, seed=2))


def test_many_slices_come_in_blocks() -> None:
    """Memory is bounded: 30,000 slices are drawn 66 at a time, and all draws come."""
    labels = np.zeros(30_000, np.int64)
    sizes = [len(block) for block in draw_cases(labels, np.arange(30_000), draws=150)]
    assert sum(sizes) == 150
    assert max(sizes) <= 67
