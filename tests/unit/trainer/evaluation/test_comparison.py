"""Two models compared on the same cases."""

import numpy as np
import pytest

from trainer.evaluation.comparison import paired_by_case

LABELS = np.repeat([0, 1, 2], [100, 50, 80])
GROUPS = np.concatenate([np.repeat(np.arange(20), 5), np.repeat(np.arange(20, 30), 5), np.repeat(np.arange(30, 46), 5)])


def answers(rng: np.random.Generator, share_right: float) -> np.ndarray:
    """Probabilities that call this share of slices right."""
    right = rng.random(len(LABELS)) < share_right
    return np.eye(3)[np.where(right, LABELS, (LABELS + 1) % 3)]


def test_a_difference_is_counted_by_class_and_by_slice() -> None:
    """What a person counts: mean over slices for accuracy, mean over classes for balanced accuracy."""
    first, second = np.eye(3)[LABELS], np.eye(3)[LABELS]
    second[100:110] = [1, 0, 0]  # 10 of 50 benign slices wrong
    result = paired_by_case(LABELS, first, second, GROUPS)
    assert (result.n, result.n_cases) == (230, 46)
    assert result.accuracy.value == pytest.approx(10 / 230)
    assert result.balanced_accuracy.value == pytest.approx(10 / 50 / 3)
    lower, upper = result.balanced_accuracy.interval
    assert lower <= 10 / 50 / 3 <= upper


def test_better_worse_and_neither() -> None:
    """A clear gain has its interval above 0, the reverse below, and a model against itself is neither."""
    random = np.random.default_rng(0)
    good, poor = answers(random, 0.9), answers(random, 0.6)
    assert paired_by_case(LABELS, good, poor, GROUPS).balanced_accuracy.interval[0] > 0
    assert paired_by_case(LABELS, poor, good, GROUPS).balanced_accuracy.is_worse
    same = paired_by_case(LABELS, good, good, GROUPS).accuracy
    assert (same.value, same.interval, same.is_worse) == (0, (0, 0), False)


def test_pairing_makes_a_small_steady_gain_visible() -> None:
    """One slice of every case more: each draw sees the gain, though either accuracy alone is uncertain."""
    random = np.random.default_rng(3)
    hard = random.random(46)[GROUPS] < 0.4
    first = np.eye(3)[np.where(hard, (LABELS + 1) % 3, LABELS)]
    second = first.copy()
    second[::5] = np.eye(3)[(LABELS[::5] + 1) % 3]
    result = paired_by_case(LABELS, first, second, GROUPS)
    assert result.accuracy.interval[0] > 0
    assert result.accuracy.value < 0.2


def test_several_runs_count_with_their_mean() -> None:
    """[runs, n, classes]: the difference is that of the mean accuracies; unequal numbers of runs are fine."""
    random = np.random.default_rng(1)
    first = np.stack([answers(random, 0.9) for _ in range(5)])
    second = np.stack([answers(random, 0.8) for _ in range(3)])
    result = paired_by_case(LABELS, first, second, GROUPS)
    expected = (first.argmax(axis=2) == LABELS).mean() - (second.argmax(axis=2) == LABELS).mean()
    assert result.accuracy.value == pytest.approx(expected)


def test_shapes_that_do_not_fit_are_refused() -> None:
    """The error says how many slices were expected and what came."""
    with pytest.raises(ValueError, match=r"expected probabilities of 230 slices, got shape \(9, 3\)"):
        paired_by_case(LABELS, np.eye(3)[LABELS], np.zeros((9, 3)), GROUPS)
