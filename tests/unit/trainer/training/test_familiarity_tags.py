"""Which tags of DICOM files decide on familiarity: those of which unseen training slices hardly ever have a new one."""

from typing import Any, cast

import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from shared.dicom.known_tags import KnownTags
from shared.dicom.scan_tags import ScanTags
from shared.familiarity import Acquisition, FamiliarityRules
from trainer.data.dataset import Dataset
from trainer.data.splits import Split
from trainer.training.familiarity import fit_familiarity
from trainer.training.members import Member

CASES, SLICES = 150, 2
GROUPS = np.repeat(np.arange(CASES), SLICES)
FEATURES = np.random.default_rng(0).normal(size=(len(GROUPS), 8)).astype(np.float32)


class FakeMember:
    """Its features are given."""

    def features_of(self, rows: np.ndarray, *_: Any) -> np.ndarray:
        return np.asarray(FEATURES[rows])


def fitted(tags: list[ScanTags | None]) -> FamiliarityRules:
    """Three folds of alike slices, one entry of tags a case."""
    random = np.random.default_rng(1)
    acquisitions = [
        Acquisition(*random.normal((100, 40), 1), *random.uniform(9, 11, 4), tags=tags[case]) for case in GROUPS
    ]
    dataset = Dataset(
        labels=GROUPS % 3, digests=(), files=(), thumbnails=np.zeros((len(GROUPS), 64, 64), np.uint8),
        classes=LUNG_CT_CLASSES, images=np.zeros((len(GROUPS), 1, 1, 1), np.uint8),
        acquisitions=tuple(acquisitions), kind="slices",
    )  # fmt: skip
    rows, folds = np.arange(len(GROUPS)), GROUPS % 3
    splits = [Split(rows[folds != fold], rows[folds == fold], {}, ()) for fold in range(3)]
    return fit_familiarity(dataset, GROUPS, cast("list[Member]", [FakeMember()] * 3), splits)[1]


def share(rules: FamiliarityRules, name: str) -> float:
    shares = cast("dict[str, float]", rules.figures["unknown_tags"])
    return shares[name]


def test_a_tag_decides_where_unseen_slices_hardly_ever_have_a_new_value() -> None:
    """One case of 150 has a kernel of its own: its like is unfamiliar, and so few slices are that the limit holds."""
    tags = [ScanTags(kernel="B30f" if case else "B70f", maker="GE" if case % 2 else "SIEMENS") for case in range(CASES)]
    rules = fitted(list(tags))
    assert set(rules.tags.decisive) == {"kernel", "maker", "has_contrast"}
    assert share(rules, "kernel") == pytest.approx(1 / CASES)
    assert share(rules, "maker") == 0
    like = Acquisition(100, 40, 10, 10, 10, 10)
    for kernel, is_familiar in (("B30f", True), ("B70f", True), ("H31s", False)):
        seen = Acquisition(100, 40, 10, 10, 10, 10, tags=ScanTags(kernel=kernel, maker="GE"))
        assert rules.judge(seen, 0).is_familiar == is_familiar
    assert rules.judge(like, 0).is_familiar
    assert cast("float", rules.figures["unfamiliar_unseen"]) <= rules.limit


def test_a_tag_with_ever_new_values_decides_nothing() -> None:
    """Every tenth case was made with a kernel of its own: a new one says nothing, and the measures keep their limit."""
    tags = [ScanTags(kernel="B30f" if case % 10 else f"B{case // 10:02}s", maker="GE") for case in range(CASES)]
    rules = fitted(list(tags))
    assert "kernel" not in rules.tags.decisive
    assert "maker" in rules.tags.decisive
    assert share(rules, "kernel") == pytest.approx(0.1)
    assert max(rules.levels) < 100


def test_together_they_take_no_more_of_the_limit_than_one_may() -> None:
    """A kernel of one case, and a thickness of another: each rare enough, both too often."""
    tags = [
        ScanTags(kernel="B70f" if case == 0 else "B30f", thickness_mm=5 if case == 1 else 1) for case in range(CASES)
    ]
    assert len({"kernel", "thickness_mm"} & set(fitted(list(tags)).tags.decisive)) == 1


def test_what_one_dicom_case_says_decides_nothing() -> None:
    """Among exported images nothing tells how often another one would say something else."""
    rules = fitted([ScanTags(kernel="B30f"), *[None] * (CASES - 1)])
    assert rules.tags == KnownTags(kernel=("B30f",), has_contrast=(False,))
    assert share(rules, "kernel") == 1


def test_without_dicom_nothing_is_known() -> None:
    """And nothing is said."""
    rules = fitted([None] * CASES)
    assert rules.tags == KnownTags()
    assert rules.figures["unknown_tags"] == {}
