"""95 % intervals of proportions and of bootstrapped figures."""

import math

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
"""Lower and upper end of a 95 % confidence interval."""

_Z = 1.959963984540054  # of the normal distribution, 97.5 %


def percentiles(values: NDArray[np.float64]) -> Interval:
    """The 2.5 and 97.5 % percentiles of a figure's values over the draws."""
    lower, upper = np.percentile(values, [2.5, 97.5])
    return float(lower), float(upper)


def wilson(successes: float, trials: int) -> Interval:
    """Interval of a proportion, trials >= 1 (Wilson 1927, 10.1080/01621459.1927.10502953); it holds the proportion.

    successes: 0 to trials; no whole number where a trial can succeed in part, as a case with several slices can.
    """
    share = successes / trials
    middle = share + _Z**2 / (2 * trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    lower, upper = ((middle + side) / (1 + _Z**2 / trials) for side in (-half, half))
    return max(0.0, min(lower, share)), min(1.0, max(upper, share))


def never_narrower(drawn: Interval, share: float, n_cases: int) -> Interval:
    """A bootstrap's interval of a share, widened to hold Wilson's on the cases, and with it the share itself."""
    lower, upper = wilson(share * n_cases, n_cases)
    return min(drawn[0], lower), max(drawn[1], upper)


def mean_of_proportions(proportions: NDArray[np.float64], intervals: list[Interval]) -> Interval:
    """Interval of a mean of independent proportions from theirs (MOVER: Zou & Donner 2008, 10.1002/sim.3095).

    Unlike a bootstrap's, its width is not zero where all of them are 1.
    """
    mean, lower, upper = proportions.mean(), *np.transpose(intervals)
    below = np.sqrt(np.sum((proportions - lower) ** 2)) / len(proportions)
    above = np.sqrt(np.sum((upper - proportions) ** 2)) / len(proportions)
    return float(max(0.0, mean - below)), float(min(1.0, mean + above))
