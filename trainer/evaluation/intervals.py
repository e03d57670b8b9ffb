"""95 % intervals of proportions and of bootstrapped figures."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Interval = tuple[float, float]
"""Lower and upper end of a 95 % confidence interval."""


def percentiles(values: NDArray[np.float64]) -> Interval:
    """The 2.5 and 97.5 % percentiles of a figure's values over the draws."""
    lower, upper = np.percentile(values, [2.5, 97.5])
    return float(lower), float(upper)


def wilson(successes: int, trials: int) -> Interval:
    """Interval of a proportion, trials >= 1 (Wilson 1927, 10.1080/01621459.1927.10502953)."""
    lower, upper = binomtest(successes, trials).proportion_ci(0.95, "wilson")
    return float(lower), float(upper)


def never_certain(drawn: Interval, n_cases: int) -> Interval:
    """A bootstrap's interval of a proportion, or Wilson's on the cases where every draw found it whole or nil."""
    if drawn[0] != drawn[1] or 0 < drawn[0] < 1:
        return drawn
    return wilson(round(drawn[0]) * n_cases, n_cases)


def mean_of_proportions(proportions: NDArray[np.float64], intervals: list[Interval]) -> Interval:
    """Interval of a mean of independent proportions from theirs (MOVER: Zou & Donner 2008, 10.1002/sim.3095).

    Unlike a bootstrap's, its width is not zero where all of them are 1.
    """
    mean, lower, upper = proportions.mean(), *np.transpose(intervals)
    below = np.sqrt(np.sum((proportions - lower) ** 2)) / len(proportions)
    above = np.sqrt(np.sum((upper - proportions) ** 2)) / len(proportions)
    return float(max(0.0, mean - below)), float(min(1.0, mean + above))
