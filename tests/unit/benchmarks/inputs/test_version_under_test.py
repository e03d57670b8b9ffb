"""What benchmarks count of the answers that a version gives."""

import numpy as np
import pytest

from benchmarks.inputs.version_under_test import Answer, contradicts, row_of, table
from service.answers.prediction import prediction_of
from service.inference.chest_gate import Predicted
from service.schemas import Prediction
from shared.familiarity import Familiarity
from tests.support.decision_rules import NAMES, rules
from tests.support.fake_model import fake_model

FAMILIAR = Familiarity(0.5, 0.02, is_familiar=True, reasons=())
UNFAMILIAR = Familiarity(0.0, 0.02, is_familiar=False, reasons=("It is smoother.",))


def said(*probabilities: float, familiarity: Familiarity = FAMILIAR) -> Prediction:
    """What the service answers where these probabilities come of a slice."""
    manifest = fake_model().manifest.model_copy(update={"thresholds": rules()})
    values = np.array(probabilities, np.float32)
    is_withheld = not familiarity.is_familiar
    predicted = Predicted(values, (), "png", familiarity=familiarity, is_withheld=is_withheld)
    return prediction_of(manifest, predicted, "id", None, variant="f32")


@pytest.mark.parametrize("familiarity", [FAMILIAR, UNFAMILIAR], ids=["familiar", "unfamiliar"])
@pytest.mark.parametrize("probabilities", [(0.85, 0.1, 0.05), (0.7, 0.05, 0.25), (0.15, 0.05, 0.8)])
def test_what_the_service_says_contradicts_nothing(probabilities: tuple[float, ...], familiarity: Familiarity) -> None:
    """Negative, uncertain and positive, withheld or not."""
    assert not contradicts(said(*probabilities, familiarity=familiarity))


def test_answers_that_speak_against_themselves_are_found() -> None:
    """The top class outside the set; called and ruled out; unfamiliar with a verdict, or with a class ruled out."""
    positive, negative = said(0.15, 0.05, 0.8), said(0.85, 0.1, 0.05)
    withheld = said(0.15, 0.05, 0.8, familiarity=UNFAMILIAR)
    assert contradicts(negative.model_copy(update={"prediction_set": [NAMES[1], NAMES[2]]}))
    assert contradicts(positive.model_copy(update={"prediction": NAMES[0], "prediction_set": [NAMES[0]]}))
    assert contradicts(withheld.model_copy(update={"decision": positive.decision}))
    assert contradicts(withheld.model_copy(update={"prediction_set": [NAMES[2]]}))


def test_a_row_tells_refused_unfamiliar_and_called_apart() -> None:
    """By looks, by the distance alone, without a verdict, and with one; the table has a line a row."""
    answers = (
        Answer(("contrast",)),
        Answer(("distance",), 3.0),
        Answer((), 1.0, said(0.15, 0.05, 0.8, familiarity=UNFAMILIAR)),
        Answer((), 1.0, said(0.15, 0.05, 0.8)),
    )
    row = row_of("mixed", answers)
    assert (row.n, row.refused, row.refused_by_distance, row.unfamiliar, row.contradictions) == (4, 2, 1, 1, 0)
    assert row.by_check == {"contrast": 1, "distance": 1}
    assert row.verdicts == {"uncertain": 1, "positive": 1}
    assert row.most_probable == {NAMES[2]: 2}
    line = (
        f"| mixed | 4 | 2 (50.0%) | 1 / 1 | 1 (25.0%) | 3 (75.0%) | 1 / 0 / 1 | {NAMES[2]} 2 | 0 | 1.00, 1.00, 2.96 |"
    )
    assert table([row]).splitlines()[2:] == [line]
