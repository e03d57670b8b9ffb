"""Decisions: what probabilities mean, executed alike by trainer and service."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.decisions import DecisionRules
from tests.support.decision_rules import NAMES, rules


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
        ([0.25, 0.05, 0.2], ("Normal cases",)),
    ],
)
def test_a_set_holds_the_classes_that_reach_their_minimum(
    probabilities: list[float], expected: tuple[str, ...]
) -> None:
    """In class order; where none does, the most probable one alone, so that no set is empty."""
    assert rules().prediction_set(probabilities) == expected


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
