"""What a DICOM file says of its acquisition, against what a version saw."""

import math

import pytest

from shared.dicom.known_tags import KnownTags
from shared.dicom.scan_tags import OTHER, ScanTags
from shared.familiarity import UNKNOWN_TAG, Acquisition, Familiarity, FamiliarityRules, KnownCases

SEEN = [
    ScanTags(kernel="B30f", maker="SIEMENS", thickness_mm=1),
    None,
    ScanTags(kernel="STANDARD", maker="GE", thickness_mm=2.5),
]
KNOWN = KnownTags.of(SEEN)
CASES = KnownCases(centres=((100, 40, 1, 1, 1, 1),), classes=(0,), spread=(1, 1, 1, 1, 1, 1))


def judged(tags: ScanTags | None, *decisive: str, known: KnownTags = KNOWN, contrast: float = 100) -> Familiarity:
    """Of a slice like the one known case, unless its contrast differs; no unseen training slice had an unknown tag."""
    rules = FamiliarityRules(
        limit=0.015, cases=CASES, acquisition_unit=1, texture_unit=1, levels=(0, 1),
        tags=known.model_copy(update={"decisive": decisive}),
    )  # fmt: skip
    grain = math.e
    return rules.judge(Acquisition(contrast, 40, grain, grain, grain, grain, tags=tags), None)


def test_what_dicom_files_say_is_collected() -> None:
    """Each value once, of thickness the ends; exported images say nothing."""
    assert KNOWN.kernel == ("B30f", "STANDARD")
    assert KNOWN.maker == ("GE", "SIEMENS")
    assert KNOWN.thickness_mm == (1, 2.5)
    assert KNOWN.has_contrast == (False,)
    assert KnownTags.of([None]) == KnownTags()


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (ScanTags(kernel="B70f"), "Its reconstruction kernel (B70f) occurs in no training slice."),
        (ScanTags(kernel=OTHER), "Its reconstruction kernel occurs in no training slice."),
        (ScanTags(maker="PHILIPS"), "Its scanner's maker (PHILIPS) occurs in no training slice."),
        (ScanTags(thickness_mm=5), "Its slices are 5 mm thick, those of training 1 to 2.5 mm."),
        (ScanTags(has_contrast=True), "It was acquired with contrast agent, as no training slice was."),
    ],
)
def test_a_value_that_no_training_slice_had_is_unfamiliar(tags: ScanTags, reason: str) -> None:
    """Where it decides, with the reason in words, however alike the slice is."""
    found = judged(tags, *ScanTags.model_fields)
    assert found == Familiarity(score=0, limit=0.015, is_familiar=False, reasons=(reason,))
    assert judged(tags).is_familiar


@pytest.mark.parametrize("tags", [None, ScanTags(), *SEEN, ScanTags(thickness_mm=0.95)])
def test_known_values_and_those_that_are_not_stated_say_nothing(tags: ScanTags | None) -> None:
    """A little thinner or thicker is no difference."""
    assert judged(tags, *ScanTags.model_fields).is_familiar


def test_a_version_without_dicom_says_nothing_of_tags() -> None:
    """Its answers for DICOM have a warning of their own."""
    assert judged(ScanTags(kernel="B70f", has_contrast=True), *ScanTags.model_fields, known=KnownTags()).is_familiar


def test_what_does_not_decide_is_named_among_the_reasons_of_an_unfamiliar_slice() -> None:
    """Beside what decided."""
    reasons = judged(ScanTags(kernel="B70f"), contrast=120).reasons
    assert len(reasons) == 2
    assert "B70f" in reasons[1]


def test_rules_are_what_they_were_after_a_manifest() -> None:
    """Also those of versions that did not know tags."""
    rules = FamiliarityRules(
        limit=0.01, cases=CASES, acquisition_unit=1, texture_unit=1, levels=(0, UNKNOWN_TAG), tags=KNOWN
    )
    assert FamiliarityRules.model_validate_json(rules.model_dump_json()) == rules
    assert FamiliarityRules.model_validate(rules.model_dump(exclude={"tags"})).tags == KnownTags()
