"""What a version refuses as no chest CT slice, so that it refuses hardly any that it was not fitted to."""

import logging
from collections.abc import Sequence

import numpy as np

from shared.chest_ct import ANY_FIELD, NARROW, ChestGate, look_at
from trainer.data.dataset import AS_IS, Dataset
from trainer.data.splits import Split
from trainer.data.views import SHOWN
from trainer.networks.feature_distance import FeatureDistance, fit_distance
from trainer.networks.heads import Matrix
from trainer.training.members import Member

logger = logging.getLogger(__name__)

_TOLERATED = 0.01  # of the training slices: where image limits refuse more, they mean nothing for such slices
_QUANTILE = 0.99
_ROOM = 1.3  # above that quantile: slices of other scanners lie further off, most of all in narrow windows


def fit_gate(
    dataset: Dataset, members: Sequence[Member], splits: Sequence[Split]
) -> tuple[tuple[FeatureDistance, ...], ChestGate]:
    """Fit a distance to each member's training slices, and choose limits by those that were held out of it.

    Both as they are and as other hospitals might show them, so that a window or a frame makes nothing a stranger.
    Returns the distances, one a member, to be built into the model, and what the manifest says of them.
    Phantoms set no limit to the distance: a model that has never seen a patient cannot tell what a chest looks like.
    """
    shown = [name for name in (AS_IS, SHOWN) if name in dataset.seen]
    distances: list[FeatureDistance] = []
    unseen: dict[str, list[Matrix]] = {name: [] for name in shown}
    for member, split in zip(members, splits, strict=True):
        fitted = fit_distance(np.concatenate([member.features_of(split.training, name) for name in shown]))
        distance = fitted.in_units_of(member.features_of(split.validation))
        distances.append(distance)
        for name in shown:
            unseen[name].append(distance.of(member.features_of(split.validation, name)))
    every = {name: np.concatenate(parts) for name, parts in unseen.items()}
    limit = max(float(np.quantile(far, _QUANTILE)) for far in every.values()) * _ROOM
    looks = zip(dataset.images, dataset.acquisitions, strict=True)
    doubted = float(
        np.mean([bool((NARROW if how.is_narrow else ANY_FIELD).doubts(look_at(one))) for one, how in looks])
    )
    is_tolerated = doubted <= _TOLERATED
    if not is_tolerated:
        logger.warning(
            "%.1f %% of the slices do not look like chest CT: this version refuses nothing by its looks",
            100 * doubted,
        )
    as_is = every[AS_IS]
    gate = ChestGate(
        image_limits=ANY_FIELD if is_tolerated else None,
        narrow_limits=NARROW if is_tolerated else None,
        max_distance=None if dataset.kind == "phantoms" else limit,
        figures={
            "refused_by_image_limits": doubted,
            "refused_unseen_by_distance": float((as_is > limit).mean()),
            "unseen_slices": len(as_is),
            "distance_quantiles": {
                str(share): float(np.quantile(as_is, share)) for share in (0.05, 0.5, 0.95, 0.99, 1.0)
            },
            "refused_views": {name: float((every[name] > limit).mean()) for name in shown if name != AS_IS},
        },
    )
    return tuple(distances), gate
