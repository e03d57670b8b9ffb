"""What a version knows: how its training slices were acquired and shown, and where their features lie."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.dicom.known_tags import KnownTags
from shared.dicom.scan_tags import ScanTags
from shared.familiarity import UNKNOWN_TAG, FamiliarityRules, KnownCases
from trainer.data.balance import Indices
from trainer.data.cases import Groups
from trainer.data.dataset import Dataset
from trainer.data.splits import Split
from trainer.evaluation.operating_points import case_weights
from trainer.networks.feature_distance import FeatureDistance, fit_distance
from trainer.training.members import Member

LIMIT = 0.015
"""Share of new slices of the same kind that are called unfamiliar."""

_UNKNOWN_TAGS = 0.01  # of it, what unknown tags may take: where more unseen slices have one, it says nothing of a slice
_TAG_NAMES = tuple(ScanTags.model_fields)
_UNIT = 0.98  # quantile of unseen slices' distances in which each kind of distance is measured
_LEVELS = 401
_LEAST_UNIT = 1e-6  # slices that are all acquired alike have no distance
_UNKNOWN = 1e9  # spread of what no slice was large enough to measure: nothing is far in it
_MOST, _SPREADS_OF_MOST = 0.9, 1.645  # as many as lie within so many standard deviations of a normal distribution
_ALIKE = 0.5  # spreads: one slice stands for others of its case that are no further
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
    units = [max(float(np.quantile(far[seen], _UNIT)), _LEAST_UNIT) for far in (acquired, texture)]
    tags, shares, is_unknown = _known_tags(dataset, groups, splits)
    strangeness = np.maximum(acquired[seen] / units[0], texture[seen] / units[1])
    strangeness[is_unknown[seen]] = UNKNOWN_TAG
    rules = FamiliarityRules(
        limit=LIMIT,
        cases=_known(coordinates, dataset.labels, groups, np.arange(len(dataset))),
        acquisition_unit=units[0],
        texture_unit=units[1],
        levels=tuple(np.quantile(strangeness, np.linspace(0, 1, _LEVELS), method="inverted_cdf").tolist()),
        tags=tags,
    )
    scores = np.array([rules.score(value) for value in strangeness])
    figures = {
        "unseen_slices": int(seen.sum()),
        "unfamiliar_unseen": float((scores < LIMIT).mean()),
        "unfamiliar_by_acquisition": float(np.mean([rules.score(far / units[0]) < LIMIT for far in acquired[seen]])),
        "unfamiliar_by_texture": float(np.mean([rules.score(far / units[1]) < LIMIT for far in texture[seen]])),
        "unknown_tags": shares,
        "cases": rules.cases.count(),
    }
    return tuple(distances), rules.model_copy(update={"figures": figures})


def _known_tags(
    dataset: Dataset, groups: Groups, splits: Sequence[Split]
) -> tuple[KnownTags, dict[str, float], NDArray[np.bool_]]:
    """What DICOM files among the slices say of their acquisition.

    Also each tag's share of held-out slices, cases weighing alike, whose value no training slice had, and bool [n]:
    which slices had one of a tag that decides. A tag decides where that hardly ever happens.
    """
    tags, weights = [one.tags for one in dataset.acquisitions], case_weights(groups)
    stated, unknown = (np.zeros((len(tags), len(_TAG_NAMES)), np.bool_) for _ in range(2))
    for split in splits:
        known = KnownTags.of(tags[row] for row in split.training)
        for row in split.validation:
            strange = known.unknown(tags[row])
            stated[row] = [getattr(tags[row], name, None) is not None for name in _TAG_NAMES]
            unknown[row] = stated[row] & [name in strange or not getattr(known, name) for name in _TAG_NAMES]

    def share(*columns: int) -> float:
        of = stated[:, columns].any(axis=1)
        return float(weights[unknown[:, columns].any(axis=1)].sum() / weights[of].sum())

    shares = {column: share(column) for column in np.flatnonzero(stated.any(axis=0)).tolist()}
    decisive: list[int] = []
    for column in sorted(shares, key=shares.__getitem__):
        if max(shares[column], share(*decisive, column)) <= _UNKNOWN_TAGS:
            decisive.append(column)
    names = tuple(_TAG_NAMES[column] for column in decisive)
    rules = KnownTags.of(tags).model_copy(update={"decisive": names})
    is_unknown = np.asarray(unknown[:, decisive].any(axis=1), np.bool_)
    return rules, {_TAG_NAMES[column]: one for column, one in shares.items()}, is_unknown


def _known(coordinates: NDArray[np.float64], labels: NDArray[np.int64], groups: Groups, rows: Indices) -> KnownCases:
    """The cases of these rows, by as few slices as lie within half a spread of every other one of the same case."""
    points, (names, case_of) = coordinates[rows], np.unique(groups[rows], return_inverse=True)
    middle = _median(points, np.zeros(points.shape[1]))
    middles = np.array([_median(points[case_of == case], middle) for case in range(len(names))])
    apart = np.abs(points - middles[case_of])
    known = np.isfinite(apart)
    least = np.where(known.any(axis=0), _LEAST_SPREAD, _UNKNOWN)
    spread = np.maximum(np.quantile(np.where(known, apart, 0), _MOST, axis=0) / _SPREADS_OF_MOST, least)
    points = np.where(np.isfinite(points), points, middles[case_of]) / spread
    kept: list[int] = []
    for row, (point, case) in enumerate(zip(points, case_of, strict=True)):
        of_case = [other for other in kept if case_of[other] == case]
        if not of_case or np.linalg.norm(points[of_case] - point, axis=1).min() > _ALIKE:
            kept.append(row)
    return KnownCases(
        centres=tuple(map(tuple, (points[kept] * spread).round(3).tolist())),
        classes=tuple(labels[rows][kept].tolist()),
        case_of=tuple(case_of[kept].tolist()),
        spread=tuple(spread.tolist()),
    )


def _median(points: NDArray[np.float64], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(
        [
            np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else default
            for column, default in zip(points.T, otherwise, strict=True)
        ]
    )
