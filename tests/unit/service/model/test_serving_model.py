"""A version that answers: also what explains has to answer the golden slices first."""

import numpy as np
import pytest

from shared.golden import GoldenMismatch
from tests.support.fake_model import FakeEngine, fake_model


def test_explanations_come_from_a_model_that_answers_as_keras_did() -> None:
    """Where it answers the golden slices otherwise nothing is explained; where it does not, they are asked once."""
    engine = FakeEngine()
    model = fake_model(engine)
    engine.lie = 0.5
    for _ in range(2):
        with pytest.raises(GoldenMismatch):
            model.infer_with_attention(model.golden.images[:1])
    engine.lie = 0.0
    engine.sizes.clear()
    for _ in range(3):
        model.infer_with_attention(np.zeros((1, 32, 32, 1), np.uint8))
    assert engine.sizes == [len(model.golden.images), 1, 1, 1]
