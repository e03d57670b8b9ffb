"""What a version refuses as no chest CT slice, so that it refuses hardly any that it was not fitted to."""

import logging
from collections.abc import Sequence

import numpy as np

from shared.chest_ct import ChestGate, ImageLimits, look_at
from trainer.data.dataset import Dataset
from trainer.data.splits import Split
from trainer.networks.chest_distance import ChestDistance, fit_distance
from trainer.training.members import Member

logger = logging.getLogger(__name__)

_TOLERATED = 0.01  # of the training slices: where image limits refuse more, they mean nothing for such slices
_QUANTILE = 0.99
_ROOM = 1.15  # above that quantile: slices of other scanners lie a little further off


def fit_gate(
    dataset: Dataset, members: Sequence[Member], splits: Sequence[Split]
) -> tuple[tuple[ChestDistance, ...], ChestGate]:
    """Fit a distance to each member's training slices, and choose limits by those that were held out of it.

    Returns the distances, one a member, to be built into the model, and what the manifest says of them.
    Phantoms set no limit to the distance: a model that has never seen a patient cannot tell what a chest looks like.
    """
    distances, unseen = [], []
    for member, split in zip(members, splits, strict=True):
        held_out = member.features_of(split.validation)
        distance = fit_distance(member.features_of(split.training)).in_units_of(held_out)
        distances.append(distance)
        unseen.append(distance.of(held_out))
    every = np.concatenate(unseen)
    limit = float(np.quantile(every, _QUANTILE)) * _ROOM
    doubted = float(np.mean([bool(ImageLimits().doubts(look_at(image))) for image in dataset.images]))
    if doubted > _TOLERATED:
        logger.warning(
            "%.1f %% of the slices do not look like chest CT: this version refuses nothing by its looks", 100 * doubted
        )
    gate = ChestGate(
        image_limits=ImageLimits() if doubted <= _TOLERATED else None,
        max_distance=None if dataset.kind == "phantoms" else limit,
        figures={
            "refused_by_image_limits": doubted,
            "refused_unseen_by_distance": float((every > limit).mean()),
            "unseen_slices": len(every),
            "distance_quantiles": {
                str(share): float(np.quantile(every, share)) for share in (0.05, 0.5, 0.95, 0.99, 1.0)
            },
        },
    )
    return tuple(distances), gate
