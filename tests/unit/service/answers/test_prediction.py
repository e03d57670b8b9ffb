"""Probabilities become an answer: the class, the decision that the model's rules make, and what a reader must know."""

from typing import Any

import numpy as np
import pytest

from service.answers.prediction import prediction_of
from service.answers.warnings import UNFAMILIAR, WITHHELD
from service.inference.chest_gate import Predicted
from shared.decisions import DecisionRules
from shared.familiarity import Acquisition
from tests.support.acquisitions import acquisition, known
from tests.support.decision_rules import NAMES, rules
from tests.support.fake_model import fake_model


def _answer(probabilities: tuple[float, float, float], thresholds: DecisionRules | None) -> dict[str, Any]:
    manifest = fake_model().manifest.model_copy(update={"thresholds": thresholds})
    predicted = Predicted(np.array(probabilities, np.float32), (), "jpeg")
    return prediction_of(manifest, predicted, "id", None, variant="f32").model_dump()


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


def _known_answer(
    probabilities: tuple[float, float, float], slice_: Acquisition, *, is_withheld: bool, has_rules: bool = True
) -> dict[str, Any]:
    """The answer of a version that has seen three target cases of grain 10, and asks."""
    familiarity = known(acquisition(), acquisition(), acquisition(), acquisition(grain=25.0), classes=(2, 2, 2, 0))
    update = {"thresholds": rules() if has_rules else None, "familiarity": familiarity}
    manifest = fake_model().manifest.model_copy(update=update)
    predicted = Predicted(
        np.array(probabilities, np.float32), (), "jpeg", acquisition=slice_,
        familiarity=familiarity.judge(slice_, None), is_withheld=is_withheld,
    )  # fmt: skip
    return prediction_of(manifest, predicted, "id", None, variant="f32").model_dump()


@pytest.mark.parametrize("probabilities", [(0.85, 0.1, 0.05), (0.15, 0.05, 0.8)])
def test_a_withheld_verdict_is_uncertain_and_rules_nothing_out(probabilities: tuple[float, float, float]) -> None:
    """Whatever the probabilities say: every class is in the set, and reason, field and warning say why."""
    answer = _known_answer(probabilities, acquisition(60.0), is_withheld=True)
    assert (answer["decision"]["verdict"], answer["decision"]["reason"]) == ("uncertain", WITHHELD)
    assert answer["prediction_set"] == list(NAMES)
    assert answer["prediction"] == NAMES[int(np.argmax(probabilities))]
    assert answer["familiarity"]["is_familiar"] is False
    (reason,) = answer["familiarity"]["reasons"]
    assert f"{UNFAMILIAR} {reason}" in answer["warnings"]


def test_a_flagged_verdict_stays_and_is_warned_of() -> None:
    """Set and verdict are those of the rules."""
    answer = _known_answer((0.15, 0.05, 0.8), acquisition(60.0), is_withheld=False)
    assert (answer["decision"]["verdict"], answer["prediction_set"]) == ("positive", [NAMES[2]])
    assert any(one.startswith(UNFAMILIAR) for one in answer["warnings"])


def test_a_familiar_slice_is_answered_with_its_score() -> None:
    """Nothing is warned of."""
    answer = _known_answer((0.85, 0.1, 0.05), acquisition(), is_withheld=False)
    assert answer["familiarity"] == {"score": 1.0, "limit": 0.01, "is_familiar": True, "reasons": []}
    assert answer["decision"]["verdict"] == "negative"
    assert len(answer["warnings"]) == len(_answer((0.85, 0.1, 0.05), rules())["warnings"])


def test_an_unfamiliar_slice_of_a_model_without_rules_is_warned_of() -> None:
    """There is no verdict to withhold and no set to fill."""
    answer = _known_answer((0.1, 0.1, 0.8), acquisition(60.0), is_withheld=True, has_rules=False)
    assert (answer["decision"], answer["prediction_set"]) == (None, None)
    assert any(one.startswith(UNFAMILIAR) for one in answer["warnings"])


@pytest.mark.parametrize(
    ("probabilities", "grain", "is_warned"),
    [
        ((0.85, 0.1, 0.05), 25.0, True),
        ((0.85, 0.1, 0.05), 10.0, False),
        ((0.15, 0.05, 0.8), 25.0, False),
    ],
    ids=["negative at a noise without cases", "negative at the noise of three", "positive"],
)
def test_a_negative_that_rests_on_few_cases_is_warned_of(
    probabilities: tuple[float, float, float], grain: float, is_warned: bool
) -> None:
    """Only a negative needs cases of the target as noisy as the slice; the slice itself is familiar."""
    answer = _known_answer(probabilities, acquisition(grain=grain), is_withheld=False)
    assert answer["familiarity"]["is_familiar"] is True
    assert any("that rests on little" in one for one in answer["warnings"]) == is_warned
