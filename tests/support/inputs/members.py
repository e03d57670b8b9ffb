"""Members whose features are given, for tests of what is fitted to features."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from shared.classes import LUNG_CT_CLASSES
from shared.familiarity import Acquisition
from shared.imaging import PreprocessingSpec, to_tensor
from tests.support.acquisitions import acquisition
from tests.support.inputs.labelled import of_cases
from tests.support.inputs.slices import grey_slice
from trainer.data.cases import Cases
from trainer.data.dataset import AS_IS, Dataset, DatasetKind
from trainer.data.splits import Split, split_by_case
from trainer.data.views import SHOWN
from trainer.networks.heads import Features, LinearMap
from trainer.training.members import Member

WIDTH = 40


@dataclass(frozen=True)
class GivenMember(Member):
    """A member that was told what its network says of each slice, and of each view."""

    given: Mapping[str, Features] = field(kw_only=True)

    def features_of(self, rows: np.ndarray, view: str = AS_IS) -> Features:
        return np.asarray(self.given[view][rows], np.float32)


def features_like(groups: np.ndarray, seed: int) -> Features:
    """float32 [n, 40] around 3 in eight directions, slices of a case alike."""
    directions = np.random.default_rng(99).normal(0, 1, (8, WIDTH))
    random = np.random.default_rng(seed)
    inner = random.normal(0, 1, (int(groups.max()) + 1, 8))[groups] + random.normal(0, 0.5, (len(groups), 8))
    return np.asarray(inner @ directions + random.normal(0, 0.2, (len(groups), WIDTH)) + 3, np.float32)


def acquisitions_like(groups: np.ndarray, seed: int) -> tuple[Acquisition, ...]:
    """Cases of any contrast around 130, air around 43 and grain around 15, their slices a little apart."""
    random = np.random.default_rng(seed)
    cases, n = int(groups.max()) + 1, len(groups)
    contrast, air = random.normal(130, 8, cases)[groups], random.normal(43, 3, cases)[groups]
    grain = np.exp(random.normal(np.log(15), 0.25, cases))[groups, np.newaxis] * np.exp(random.normal(0, 0.05, (n, 4)))
    names = ("grain", "coarse_grain", "lung_grain", "coarse_lung_grain")
    return tuple(
        acquisition(
            c + random.normal(0, 1), a + random.normal(0, 0.5), **dict(zip(names, of_slice.tolist(), strict=True))
        )
        for c, a, of_slice in zip(contrast.tolist(), air.tolist(), grain, strict=True)
    )


def fitted_members(
    kind: DatasetKind = "slices", cases: int = 20
) -> tuple[Dataset, np.ndarray, list[GivenMember], list[Split]]:
    """A dataset of so many cases a class, four slices each, with one view; its cases; a member and a split a fold."""
    slices, groups = of_cases({label: [4] * cases for label in range(3)})
    n, spec = len(groups), PreprocessingSpec(height=64, width=64)
    drawn = np.stack([to_tensor(grey_slice(seed), spec) for seed in range(8)])
    dataset = Dataset(
        labels=slices.labels,
        digests=slices.digests,
        files=slices.files,
        thumbnails=slices.thumbnails,
        classes=LUNG_CT_CLASSES,
        images=drawn[np.arange(n) % 8],
        views={SHOWN: drawn[np.arange(n) % 8]},
        acquisitions=acquisitions_like(groups, 1),
        kind=kind,
    )
    folds = split_by_case(dataset, Cases(groups, "known"), 4, seed=1)
    given = {AS_IS: features_like(groups, 2), SHOWN: features_like(groups, 2) * np.float32(1.3)}
    nothing = LinearMap(np.zeros((WIDTH, 3), np.float32), np.zeros(3, np.float32))
    members = [GivenMember(None, nothing, dataset.seen, given=given) for _ in range(4)]
    return dataset, groups, members, [folds.split(fold) for fold in range(4)]
