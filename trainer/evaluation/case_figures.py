"""Figures of slices in their cases, by slice and by case side by side, with intervals by case.

By slice each slice weighs alike, by case each case does: its slices share one vote. Either interval is that of 2,000
draws of cases, and never narrower than Wilson's on the number of cases.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.evaluation.answers import Mask
from trainer.evaluation.intervals import Interval, mean_of_proportions, never_narrower, percentiles, wilson
from trainer.evaluation.resampling import Weights, draw_cases
from trainer.evaluation.weighted_metrics import area_under_roc, calibration_error

Draws = NDArray[np.float64]
"""float64 [draws], a figure's values."""


class Estimate(BaseModel, frozen=True):
    """A figure and its 95 % interval, which holds it."""

    value: float
    interval: Interval


class Figure(BaseModel, frozen=True):
    """One figure at both levels, and how many slices and cases were counted for it."""

    by_slice: Estimate
    by_case: Estimate
    n: int
    n_cases: int


class CaseFigures:
    """Labelled slices in their cases, whose figures are asked for; None for a figure that nothing is counted for."""

    def __init__(self, labels: Labels, groups: Groups, seed: int = 0) -> None:
        self._labels, self._groups, self._seed = labels, groups, seed

    def mean(
        self,
        values: NDArray[np.generic] | None,
        counted: Mask | None = None,
        *,
        bounds: Interval = (0.0, 1.0),
        is_balanced: bool = False,
    ) -> Figure | None:
        """Mean of the values of the counted slices (of all by default), or mean over classes of their means.

        values: [n], within the bounds; as a part of the way between these each counts as a share. None: nobody knows.
        """
        if values is None or not (rows := self._rows(counted)).any():
            return None
        low, width = bounds[0], bounds[1] - bounds[0]
        cases = _ByCase(self._labels[rows], self._groups[rows], is_balanced=is_balanced)
        share = cases.mean_of((values[rows].astype(np.float64) - low) / width)

        def interval(draws: Draws, level: Weights) -> Interval:
            _, wilsons = cases.share(share, level)
            drawn = percentiles(draws)
            return min(drawn[0], low + width * wilsons[0]), max(drawn[1], low + width * wilsons[1])

        return self._of_cases(cases, lambda weights: low + width * cases.shares(share, weights), interval, bounds)

    def difference(
        self, first: Mask | None, second: Mask | None, counted: Mask | None = None, *, is_balanced: bool = False
    ) -> Figure | None:
        """Share of the first minus that of the second over the same slices, paired: -1 to 1; None where either is None.

        Wilson's intervals of the share gained and of the share lost are joined by MOVER (Zou & Donner 2008,
        10.1002/sim.3095): two that never differed are not certain to be equal.
        """
        if first is None or second is None or not (rows := self._rows(counted)).any():
            return None
        cases = _ByCase(self._labels[rows], self._groups[rows], is_balanced=is_balanced)
        gained, lost = (cases.mean_of((one & ~other)[rows]) for one, other in ((first, second), (second, first)))

        def interval(draws: Draws, level: Weights) -> Interval:
            (gain, (least_gain, most_gain)), (loss, (least_loss, most_loss)) = (
                cases.share(gained, level), cases.share(lost, level)
            )  # fmt: skip
            lower = gain - loss - float(np.hypot(gain - least_gain, most_loss - loss))
            upper = gain - loss + float(np.hypot(most_gain - gain, loss - least_loss))
            drawn = percentiles(draws)
            return min(drawn[0], lower), max(drawn[1], upper)

        return self._of_cases(
            cases, lambda weights: cases.shares(gained, weights) - cases.shares(lost, weights), interval, (-1.0, 1.0)
        )

    def auc(self, is_positive: Mask, score: NDArray[np.float64]) -> Figure | None:
        """Area under the ROC curve; never narrower than Wilson's interval on the smaller number of cases."""
        if not 0 < is_positive.sum() < len(score):
            return None
        n_cases = min(len(np.unique(self._groups[side])) for side in (is_positive, ~is_positive))
        return self._of_slices(
            lambda weights: area_under_roc(is_positive, score, weights),
            lambda draws, value: never_narrower(percentiles(draws), value, n_cases),
        )

    def ece(self, probabilities: NDArray[np.float64]) -> Figure | None:
        """Calibration error of the top class.

        A draw holds fewer different cases than the set, and so shows a larger error than it. By that excess in the mean
        the draws are moved back before their percentiles are taken, so that the interval holds the figure.
        """
        if not len(probabilities):
            return None
        n_cases = len(np.unique(self._groups))
        return self._of_slices(
            lambda weights: calibration_error(self._labels, probabilities, weights),
            lambda draws, value: never_narrower(percentiles(draws - draws.mean() + value), value, n_cases),
        )

    def _rows(self, counted: Mask | None) -> Mask:
        return np.ones(len(self._labels), np.bool_) if counted is None else counted

    def _of_cases(
        self,
        cases: "_ByCase",
        measure: Callable[[Weights], Draws],
        interval: Callable[[Draws, Weights], Interval],
        bounds: Interval,
    ) -> Figure:
        """A figure of weighted cases: weighing as their sizes they stand for their slices."""
        levels = (cases.sizes[None].astype(np.float64), np.ones((1, len(cases.sizes))))
        numbers = np.arange(len(cases.sizes))
        blocks = [[measure(block * level) for level in levels] for block in self._draws(cases.labels, numbers)]
        by_slice, by_case = (
            _estimate(measure(level), interval(np.concatenate(draws), level), bounds)
            for level, draws in zip(levels, zip(*blocks, strict=True), strict=True)
        )
        return Figure(by_slice=by_slice, by_case=by_case, n=int(cases.sizes.sum()), n_cases=len(cases.sizes))

    def _of_slices(self, measure: Callable[[Weights], Draws], interval: Callable[[Draws, float], Interval]) -> Figure:
        """A figure of weighted slices."""
        _, case_of, sizes = np.unique(self._groups, return_inverse=True, return_counts=True)
        levels = (np.ones((1, len(self._labels))), 1 / sizes[case_of][None])
        blocks = [[measure(block * level) for level in levels] for block in self._draws(self._labels, self._groups)]
        by_slice, by_case = (
            _estimate(values := measure(level), interval(np.concatenate(draws), float(values[0])), (0.0, 1.0))
            for level, draws in zip(levels, zip(*blocks, strict=True), strict=True)
        )
        return Figure(by_slice=by_slice, by_case=by_case, n=len(self._labels), n_cases=len(sizes))

    def _draws(self, labels: Labels, groups: Groups) -> Iterator[Weights]:
        return draw_cases(labels, groups, seed=self._seed)


class _ByCase:
    """Slices joined by case, as means need no more of them: label and size of each, in one stratum or one a class."""

    def __init__(self, labels: Labels, groups: Groups, *, is_balanced: bool) -> None:
        pairs, case_of, self.sizes = np.unique(
            np.stack([labels, groups]), axis=1, return_inverse=True, return_counts=True
        )
        self.labels, self._case_of = pairs[0], case_of.reshape(-1)
        classes = np.unique(labels)
        is_of_class = self.labels[:, None] == classes
        self._strata = (is_of_class if is_balanced else np.ones((len(self.sizes), 1))).astype(np.float64)

    def mean_of(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """Each case's mean of its slices' values."""
        return np.bincount(self._case_of, values.astype(np.float64)) / self.sizes

    def shares(self, of_case: NDArray[np.float64], weights: Weights) -> Draws:
        """Weighted mean of what each case has, float64 [draws], or the mean over the classes of theirs."""
        return np.asarray(self._of_strata(of_case, weights).mean(axis=1), np.float64)

    def share(self, of_case: NDArray[np.float64], level: Weights) -> tuple[float, Interval]:
        """The same of one weighting, with Wilson's interval on the cases; those of classes are joined by MOVER."""
        (shares,), counts = self._of_strata(of_case, level).clip(0, 1), self._strata.sum(axis=0).astype(int).tolist()
        wilsons = [wilson(share * count, count) for share, count in zip(shares.tolist(), counts, strict=True)]
        return float(shares.mean()), mean_of_proportions(shares, wilsons)

    def _of_strata(self, of_case: NDArray[np.float64], weights: Weights) -> NDArray[np.float64]:
        return np.asarray((weights @ (self._strata * of_case[:, None])) / (weights @ self._strata), np.float64)


def _estimate(values: Draws, interval: Interval, bounds: Interval) -> Estimate:
    """What ends a rounding beyond the bounds, or short of the value, is put right."""
    value = float(np.clip(values[0], *bounds))
    lower, upper = np.clip(interval, *bounds).tolist()
    return Estimate(value=value, interval=(min(lower, value), max(upper, value)))
