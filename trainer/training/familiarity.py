"""What a version knows: how its training slices were acquired and shown, and where their features lie."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.familiarity import FamiliarityRules, KnownCases
from trainer.data.balance import Indices
from trainer.data.cases import Groups
from trainer.data.dataset import Dataset
from trainer.data.splits import Split
from trainer.evaluation.operating_points import case_weights
from trainer.networks.feature_distance import FeatureDistance, fit_distance
from trainer.training.members import Member

LIMIT = 0.015
"""Share of new slices of the same kind that are called unfamiliar."""

_UNIT = 0.98  # quantile of unseen slices' distances in which each kind of distance is measured
_LEVELS = 401
_LEAST_UNIT = 1e-6  # slices that are all acquired alike have no distance
_UNKNOWN = 1e9  # spread of what no slice was large enough to measure: nothing is far in it
_LEAST_SPREAD = np.array([1.0, 1.0, 0.05, 0.05, 0.05, 0.05])  # of slices about their case: grey values, logarithms


def fit_familiarity(
    dataset: Dataset, groups: Groups, members: Sequence[Member], splits: Sequence[Split]
) -> tuple[tuple[FeatureDistance, ...], FamiliarityRules]:
    """Fit to the training slices as they are; units and levels come from slices that were held out.

    Returns the distances, one a member, to be built into the model, and what the manifest says.
    """
    coordinates = np.array([one.coordinates() for one in dataset.acquisitions])
    distances: list[FeatureDistance] = []
    texture, acquired = np.full(len(dataset), np.nan), np.full(len(dataset), np.nan)
    for member, split in zip(members, splits, strict=True):
        held_out = member.features_of(split.validation)
        distance = fit_distance(member.features_of(split.training)).in_units_of(held_out)
        distances.append(distance)
        texture[split.validation] = distance.of(held_out)
        known = _known(coordinates, dataset.labels, groups, split.training)
        acquired[split.validation] = [known.distance(coordinates[row]) for row in split.validation]
    seen = np.isfinite(texture)
    weights = case_weights(groups)[seen]
    units = [
        max(float(_quantiles(far[seen], weights, np.array([_UNIT]))[0]), _LEAST_UNIT) for far in (acquired, texture)
    ]
    strangeness = np.maximum(acquired[seen] / units[0], texture[seen] / units[1])
    rules = FamiliarityRules(
        limit=LIMIT,
        cases=_known(coordinates, dataset.labels, groups, np.arange(len(dataset))),
        acquisition_unit=units[0],
        texture_unit=units[1],
        levels=tuple(_quantiles(strangeness, weights, np.linspace(0, 1, _LEVELS)).tolist()),
    )
    scores = np.array([rules.score(value) for value in strangeness])
    figures = {
        "unseen_slices": int(seen.sum()),
        "unfamiliar_unseen": float((scores < LIMIT).mean()),
        "unfamiliar_by_acquisition": float(np.mean([rules.score(far / units[0]) < LIMIT for far in acquired[seen]])),
        "unfamiliar_by_texture": float(np.mean([rules.score(far / units[1]) < LIMIT for far in texture[seen]])),
        "cases": len(rules.cases.centres),
    }
    return tuple(distances), rules.model_copy(update={"figures": figures})


def _known(coordinates: NDArray[np.float64], labels: NDArray[np.int64], groups: Groups, rows: Indices) -> KnownCases:
    """The cases of these rows."""
    points, cases, weights = coordinates[rows], groups[rows], case_weights(groups)[rows]
    names, first = np.unique(cases, return_index=True)
    middle = _median(points, np.zeros(points.shape[1]))
    centres = np.array([_median(points[cases == case], middle) for case in names])
    apart = points - centres[np.searchsorted(names, cases)]
    known = np.isfinite(apart)
    least = np.where(known.any(axis=0), _LEAST_SPREAD, _UNKNOWN)
    variance = (np.where(known, apart, 0) ** 2 * weights[:, np.newaxis]).sum(axis=0) / (
        known * weights[:, np.newaxis]
    ).sum(axis=0).clip(min=1e-9)
    return KnownCases(
        centres=tuple(map(tuple, centres.tolist())),
        classes=tuple(labels[rows][first].tolist()),
        spread=tuple(np.maximum(np.sqrt(variance), least).tolist()),
    )


def _median(points: NDArray[np.float64], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(
        [
            np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else default
            for column, default in zip(points.T, otherwise, strict=True)
        ]
    )


def _quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return values[order][np.minimum(np.searchsorted(reached, shares - 1e-9), len(values) - 1)]
