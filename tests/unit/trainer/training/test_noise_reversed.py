"""Cases whose noise contradicts their class."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from shared.decisions import OperatingPoint
from tests.support.acquisitions import acquisition
from tests.support.inputs.members import fitted_members
from trainer.training.members import Member
from trainer.training.noise_reversed import NoiseReversed, ShareOfCases, contradicting, judge_noise_reversed

SMOOTH, NOISY = 10.0, 30.0


def test_the_noisiest_cases_of_a_smooth_target_and_the_smoothest_others_contradict() -> None:
    """A third of the cases of either, with all their slices; by the median, so that one odd slice decides nothing."""
    groups = np.repeat(np.arange(12), 3)
    is_target = groups < 6
    within = groups.astype(np.float64) % 6
    grain = np.where(is_target, SMOOTH + within, NOISY - within)
    grain[0] = 500.0
    rows = contradicting(grain, is_target, groups)
    assert sorted(set(groups[rows])) == [4, 5, 10, 11]
    assert len(rows) == 12


def test_the_other_way_round_where_the_target_is_noisier() -> None:
    """Then its smoothest cases contradict, and the noisiest others."""
    groups = np.arange(12)
    is_target = groups < 6
    grain = np.where(is_target, NOISY, SMOOTH) + (groups % 6).astype(float)
    assert contradicting(grain, is_target, groups).tolist() == [0, 1, 10, 11]


def test_with_few_cases_none_contradicts() -> None:
    """A third of five cases says nothing."""
    groups = np.arange(11)
    assert not len(contradicting(groups.astype(float), groups < 5, groups))


POINT = OperatingPoint(
    threshold=0.4,
    sensitivity=1.0,
    sensitivity_interval=(0.9, 1.0),
    specificity=0.9,
    specificity_interval=(0.8, 1.0),
    sensitivity_by_case=0.99,
    specificity_by_case=0.9,
)


def test_a_model_that_knows_noise_alone_is_wrong_about_all_of_them() -> None:
    """It was fitted without them and calls what is smooth: just the wrong ones. On phantoms none is asked."""
    dataset, groups, *_ = fitted_members()
    is_target = dataset.labels == dataset.classes.names.index(dataset.classes.target)
    odd = np.isin(groups, [groups[is_target][0], groups[~is_target][0]])
    smooth = is_target ^ odd
    dataset = replace(dataset, acquisitions=tuple(acquisition(grain=SMOOTH if one else NOISY) for one in smooth))
    trained: list[int] = []

    def fit(rows: np.ndarray) -> Member:
        trained.extend(rows.tolist())
        logits = np.where(smooth[:, np.newaxis], [[0.0, 0.0, 9.0]], [[9.0, 0.0, 0.0]])
        return cast("Member", SimpleNamespace(logits=lambda asked: logits[asked]))

    found = judge_noise_reversed(dataset, groups, fit, 1.0, POINT)
    assert found is not None
    held_out = np.setdiff1d(np.arange(len(groups)), trained)
    assert not set(groups[held_out]) & set(groups[trained])
    assert set(groups[odd]) <= set(groups[held_out])
    n_cases = found.sensitivity.n_cases
    assert found.sensitivity.share == pytest.approx(1 - 1 / n_cases)
    assert judge_noise_reversed(replace(dataset, kind="phantoms"), groups, fit, 1.0, POINT) is None


def test_a_broken_promise_is_a_warning() -> None:
    """Only where the promise lies above the interval of what was seen."""
    seen = NoiseReversed(
        sensitivity=ShareOfCases(share=0.4, interval=(0.2, 0.6), n_cases=13),
        specificity=ShareOfCases(share=0.85, interval=(0.6, 0.95), n_cases=20),
        threshold=0.4,
    )
    (warning,) = seen.warnings("Malignant cases", POINT)
    assert "a sensitivity of 0.40 in place of 0.99: it leans on noise" in warning
    assert "specificity" not in warning
