"""May a variant serve? As good as the reference within what chance and a small loss explain."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.inputs.labelled import answers
from trainer.evaluation.comparison import Difference
from trainer.evaluation.variant_comparison import HeldOutAnswers, VariantComparison, compare_variant

LABELS, PROBABILITIES, GROUPS, _ = answers(gain=3.0)
NONE = np.zeros(len(LABELS), np.bool_)
REFERENCE = HeldOutAnswers(PROBABILITIES, PROBABILITIES[:, 2] >= 0.4, NONE, ~NONE)
EQUAL = Difference(value=0.0, interval=(0.0, 0.0))
ALIKE = VariantComparison(
    n=100,
    n_cases=20,
    balanced_accuracy=EQUAL,
    accuracy=EQUAL,
    sensitivity=EQUAL,
    specificity=EQUAL,
    ece=0.0,
    chest_gate_agreement=1.0,
    familiarity_agreement=1.0,
)


def compared(variant: HeldOutAnswers) -> VariantComparison:
    return compare_variant(variant, REFERENCE, LABELS, GROUPS, target=2)


def test_equal_answers_may_serve() -> None:
    """Every difference is 0, both agree everywhere, and the reason says what was asked."""
    comparison = compared(REFERENCE)
    assert (comparison.accuracy, comparison.sensitivity, comparison.ece) == (EQUAL, EQUAL, 0.0)
    assert (comparison.chest_gate_agreement, comparison.familiarity_agreement) == (1.0, 1.0)
    assert (comparison.n, comparison.n_cases) == (len(LABELS), 85)
    assert comparison.objections == ()
    assert comparison.reason.startswith("It may serve: no share is lower beyond chance")


def test_worse_answers_may_not() -> None:
    """Other classes than the label for a third of the slices: the shares fall, and the reason has their intervals."""
    wrong = np.arange(len(LABELS)) % 3 == 0
    worse = np.where(wrong[:, None], np.roll(PROBABILITIES, 1, axis=1), PROBABILITIES)
    comparison = compared(replace(REFERENCE, probabilities=worse))
    assert comparison.accuracy.is_worse
    assert comparison.reason.startswith("It may not serve: balanced accuracy is lower beyond chance (-0.")
    assert comparison.sensitivity == EQUAL


def test_each_has_its_own_calls() -> None:
    """Sensitivity counts the target's slices that each calls by its own threshold; specificity all others."""
    target = LABELS == 2
    comparison = compared(replace(REFERENCE, is_called=REFERENCE.is_called & ~(target & (GROUPS % 2 == 0))))
    expected = (REFERENCE.is_called & target & (GROUPS % 2 == 0)).sum() / target.sum()
    assert comparison.sensitivity.value == pytest.approx(-expected)
    assert comparison.sensitivity.interval[0] < -expected < comparison.sensitivity.interval[1] < 0
    assert comparison.specificity == EQUAL
    assert compared(replace(REFERENCE, is_called=~NONE)).specificity.value < 0


def test_gate_and_familiarity_must_agree() -> None:
    """On 99 % of the slices."""
    few, many = np.arange(len(LABELS)) < 5, np.arange(len(LABELS)) < 6
    assert compared(replace(REFERENCE, is_refused=few)).objections == ()
    assert "chest gate agrees on 98.8%" in compared(replace(REFERENCE, is_refused=many)).reason
    assert "familiarity agrees on 98.8%" in compared(replace(REFERENCE, is_familiar=~many)).reason


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"accuracy": Difference(value=-0.005, interval=(-0.02, 0.01))}, None),
        ({"accuracy": Difference(value=-0.006, interval=(-0.02, 0.01))}, "accuracy is lower by 0.006, more than 0.005"),
        ({"accuracy": Difference(value=-0.003, interval=(-0.005, -0.001))}, "accuracy is lower beyond chance (-0.003"),
        ({"balanced_accuracy": Difference(value=0.02, interval=(0.01, 0.03))}, None),
        ({"sensitivity": Difference(value=-0.01, interval=(-0.02, 0.0))}, "sensitivity is lower by 0.010"),
        ({"specificity": Difference(value=-0.5, interval=(-0.6, -0.4))}, None),
        ({"ece": 0.01}, None),
        ({"ece": -0.2}, None),
        ({"ece": 0.011}, "the calibration error is higher by 0.011, more than 0.01"),
        ({"chest_gate_agreement": 0.99, "familiarity_agreement": 0.99}, None),
        ({"familiarity_agreement": 0.9}, "familiarity agrees on 90.0% of the slices, less than 99%"),
    ],
)  # fmt: skip
def test_what_is_asked(changes: dict[str, object], complaint: str | None) -> None:
    """Shares may be lower by chance, and in the mean by 0.005; specificity is told and not asked."""
    comparison = ALIKE.model_copy(update=changes)
    assert (not comparison.objections) == (complaint is None)
    assert complaint is None or complaint in comparison.reason
