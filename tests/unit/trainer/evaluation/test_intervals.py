"""Intervals of proportions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.intervals import mean_of_proportions, never_narrower, percentiles, wilson


def test_wilson_is_the_published_formula() -> None:
    """Values of Newcombe 1998 (10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E), table I, method 3."""
    for successes, trials, lower, upper in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson(successes, trials) == pytest.approx((lower, upper), abs=5e-5)


def test_no_bootstrap_is_surer_than_its_cases_allow() -> None:
    """An interval narrower than Wilson's on the cases is widened to it, draws that never varied too; others stay."""
    assert never_narrower((1.0, 1.0), 1.0, 20) == wilson(20, 20)
    assert never_narrower((0.0, 0.0), 0.0, 20) == wilson(0, 20)
    assert never_narrower((0.79, 0.81), 0.8, 20) == wilson(16, 20)
    assert never_narrower((0.1, 0.99), 0.8, 20) == (0.1, 0.99)


def test_percentiles_leave_out_five_in_a_hundred() -> None:
    """2.5 % on either side."""
    assert percentiles(np.arange(1001.0)) == (25, 975)


def test_the_mean_of_one_proportion_has_its_interval() -> None:
    """And of two alike, one narrower by the square root of two."""
    one = wilson(8, 10)
    assert mean_of_proportions(np.array([0.8]), [one]) == pytest.approx(one)
    two = mean_of_proportions(np.array([0.8, 0.8]), [one, one])
    assert 0.8 - two[0] == pytest.approx((0.8 - one[0]) / np.sqrt(2))


@settings(deadline=None)
@given(trials=st.integers(1, 1000), part=st.floats(0, 1))
def test_wilson_holds_its_proportion_also_between_whole_numbers(trials: int, part: float) -> None:
    """A case may be right in part; the interval is never empty, and stays between 0 and 1."""
    lower, upper = wilson(part * trials, trials)
    assert 0 <= lower <= part * trials / trials <= upper <= 1
    assert lower < upper


def test_an_interval_is_widened_to_wilsons_and_no_further() -> None:
    """Either end by itself."""
    lower, upper = wilson(5, 10)
    assert never_narrower((0.4, 0.6), 0.5, 10) == (lower, upper)
    assert never_narrower((0.1, 0.6), 0.5, 10) == (0.1, upper)
    assert never_narrower((0.4, 0.9), 0.5, 10) == (lower, 0.9)
