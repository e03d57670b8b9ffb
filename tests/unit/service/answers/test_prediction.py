"""Probabilities become an answer: the class, the decision that the model's rules make, and what a reader must know."""

from typing import Any

import numpy as np
import pytest

from service.answers.prediction import prediction_of
from service.inference.chest_gate import Predicted
from shared.decisions import DecisionRules
from tests.support.decision_rules import NAMES, rules
from tests.support.fake_model import fake_model


def _answer(probabilities: tuple[float, float, float], thresholds: DecisionRules | None) -> dict[str, Any]:
    manifest = fake_model().manifest.model_copy(update={"thresholds": thresholds})
    predicted = Predicted(np.array(probabilities, np.float32), (), "jpeg")
    return prediction_of(manifest, predicted, "id", None).model_dump()


@pytest.mark.parametrize(
    ("probabilities", "verdict", "kept"),
    [
        ((0.85, 0.1, 0.05), "negative", [NAMES[0], NAMES[1]]),
        ((0.7, 0.05, 0.25), "uncertain", [NAMES[0], NAMES[2]]),
        ((0.25, 0.2, 0.55), "uncertain", [NAMES[1], NAMES[2]]),
        ((0.15, 0.05, 0.8), "positive", [NAMES[2]]),
    ],
)
def test_the_models_rules_decide(probabilities: tuple[float, float, float], verdict: str, kept: list[str]) -> None:
    """The verdict comes from the thresholds, the prediction stays the most probable class, the set holds the rest."""
    answer = _answer(probabilities, rules())
    assert answer["decision"] == {
        "target_class": NAMES[2], "verdict": verdict, "operating_point": "high_sensitivity", "threshold": 0.2,
        "reason": None,
    }  # fmt: skip
    assert answer["prediction_set"] == kept
    assert answer["prediction"] == NAMES[int(np.argmax(probabilities))]
    assert list(answer["all_predictions"]) == list(NAMES)


def test_a_model_without_rules_decides_nothing() -> None:
    """A version that was published without thresholds answers with its probabilities alone."""
    answer = _answer((0.1, 0.1, 0.8), None)
    assert (answer["decision"], answer["prediction_set"], answer["prediction"]) == (None, None, NAMES[2])
