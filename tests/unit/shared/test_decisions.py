"""Decisions: what probabilities mean, executed alike by trainer and service."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.decisions import DecisionRules
from tests.support.decision_rules import NAMES, point, rules


def malignant(probability: float) -> list[float]:
    return [1 - probability, 0.0, probability]


@pytest.mark.parametrize(
    ("probability", "verdict"),
    [
        (0.0, "negative"),
        (0.19, "negative"),
        (0.2, "uncertain"),
        (0.59, "uncertain"),
        (0.6, "positive"),
        (1, "positive"),
    ],
)
def test_the_band_between_the_points_is_uncertain(probability: float, verdict: str) -> None:
    """Below rule_out negative, from rule_in on positive; each end belongs to what is above it."""
    decision = rules().decide(malignant(probability))
    assert decision.verdict == verdict
    assert (decision.operating_point, decision.threshold) == ("high_sensitivity", 0.2)
    assert decision.target_class == "Malignant cases"


def test_without_a_band_the_operating_point_decides() -> None:
    """rule_out = rule_in = threshold: no slice is uncertain."""
    sharp = rules(uncertain={"rule_out": 0.2, "rule_in": 0.2})
    verdicts = [sharp.decide(malignant(probability)).verdict for probability in (0.19, 0.2, 0.9)]
    assert verdicts == ["negative", "positive", "positive"]


def test_another_operating_point_can_decide() -> None:
    """Its threshold never turns an uncertain slice into a verdict the other way."""
    band = {"rule_out": 0.2, "rule_in": 0.4}
    assert rules(uncertain=band).decide(malignant(0.5)).verdict == "positive"
    decision = rules(uncertain=band, operating_point="specificity_95").decide(malignant(0.5))
    assert (decision.verdict, decision.threshold) == ("uncertain", 0.6)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.3, 0.1, 0.6], NAMES),
        ([0.29, 0.11, 0.6], ("Benign cases", "Malignant cases")),
        ([0.9, 0.05, 0.05], ("Normal cases",)),
        ([0.29, 0.09, 0.49], ("Malignant cases",)),
        ([0.25, 0.05, 0.19], ("Normal cases",)),
        ([0.25, 0.05, 0.2], ("Normal cases", "Malignant cases")),
    ],
)
def test_a_set_holds_the_classes_that_reach_their_minimum(
    probabilities: list[float], expected: tuple[str, ...]
) -> None:
    """In class order; also the most probable one, and the target unless the verdict is negative."""
    assert rules().prediction_set(probabilities) == expected


SHARE = st.floats(0, 1)


@st.composite
def any_rules(draw: st.DrawFn) -> DecisionRules:
    """Rules of any thresholds, bands and minima, deciding by any of their points."""
    low, high = sorted((draw(SHARE), draw(SHARE)))
    return rules(
        operating_points={"high_sensitivity": point(draw(SHARE)), "specificity_95": point(draw(SHARE))},
        operating_point=draw(st.sampled_from(["high_sensitivity", "specificity_95"])),
        uncertain={"rule_out": low, "rule_in": high},
        prediction_sets={
            **rules().prediction_sets.model_dump(), "min_probability": {name: draw(SHARE) for name in NAMES}
        },
    )  # fmt: skip


@given(any_rules(), st.tuples(SHARE, SHARE, SHARE))
@settings(max_examples=1000, deadline=None)
def test_no_set_contradicts_a_verdict(drawn: DecisionRules, probabilities: tuple[float, float, float]) -> None:
    """The most probable class is in every set, and the target unless the verdict is negative; sets only grow."""
    decision, kept = drawn.decide(probabilities), drawn.prediction_set(probabilities)
    assert NAMES[probabilities.index(max(probabilities))] in kept
    assert decision.verdict == "negative" or "Malignant cases" in kept
    reached = {
        name
        for name, value in zip(NAMES, probabilities, strict=True)
        if value >= drawn.prediction_sets.min_probability[name]
    }
    assert reached <= set(kept)


@pytest.mark.parametrize(
    ("probabilities", "verdict", "has_reason"),
    [
        ([0.35, 0.05, 0.6], "positive", False),
        ([0.32, 0.37, 0.31], "uncertain", False),
        ([0.9, 0.05, 0.05], "negative", False),
    ],
)
def test_a_verdict_that_seems_to_contradict_the_class_says_why(
    probabilities: list[float], verdict: str, *, has_reason: bool
) -> None:
    """Only there: what agrees needs no reason."""
    decision = rules().decide(probabilities)
    assert (decision.verdict, decision.reason is not None) == (verdict, has_reason)
    sensitive = rules(uncertain={"rule_out": 0.2, "rule_in": 0.2}).decide([0.7, 0.05, 0.25])
    assert sensitive.verdict == "positive"
    assert sensitive.reason is not None
    assert sensitive.reason.startswith("Normal cases is the most probable class, and Malignant cases is called")


def test_rules_survive_json() -> None:
    """What the manifest stores gives the same rules back."""
    assert DecisionRules.model_validate_json(rules().model_dump_json()) == rules()


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"surprise": 1},
        {"target_class": "Other"},
        {"operating_point": "other"},
        {"uncertain": {"rule_out": 0.7, "rule_in": 0.6}},
        {"class_names": ("Normal cases", "Malignant cases")},
    ],
)
def test_rules_that_this_code_cannot_execute_are_refused(changes: dict[str, Any]) -> None:
    """Another schema, unknown fields, names that do not fit: validation fails instead of deciding otherwise."""
    with pytest.raises(ValidationError):
        rules(**changes)


def test_another_number_of_probabilities_is_refused() -> None:
    """Both numbers are in the error."""
    with pytest.raises(ValueError, match="expected 3 probabilities, got 2"):
        rules().decide([0.5, 0.5])
