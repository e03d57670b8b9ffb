"""A chest slice unlike those that a version knows: what each policy makes of it, and what is counted."""

import math

import numpy as np
import pytest

from service.engines.base import Outputs
from service.inference.chest_gate import Gate, Predicted, Prepared, UnfamiliarPolicy, UnfamiliarSlice
from service.metrics import Metrics
from shared.artifact import FAMILIARITY_NAME, OUTPUT_NAME
from shared.chest_ct import ANY_FIELD, NARROW, ChestGate
from shared.familiarity import Acquisition, FamiliarityRules
from shared.imaging import PreprocessingSpec, to_tensor
from tests.support.acquisitions import acquisition, known
from tests.support.inputs.slices import grey_slice

NO_CHECKS = ChestGate(image_limits=None)
OTHER = acquisition(60.0)


def judged(
    policy: UnfamiliarPolicy,
    slice_: Acquisition,
    rules: FamiliarityRules | None,
    texture: float | None = None,
    metrics: Metrics | None = None,
) -> Predicted | Exception:
    """What becomes of a slice; texture: the model's output, which it may lack."""
    outputs: Outputs = {OUTPUT_NAME: np.full((1, 3), 1 / 3, np.float32)}
    if texture is not None:
        outputs[FAMILIARITY_NAME] = np.full(1, texture, np.float32)
    prepared = Prepared(np.zeros((32, 32, 1), np.uint8), (), slice_)
    return Gate("reject", policy, metrics or Metrics()).judge(prepared, outputs, 0, NO_CHECKS, rules)


@pytest.mark.parametrize("policy", ["uncertain", "flag", "reject"])
def test_a_familiar_slice_is_answered(policy: UnfamiliarPolicy) -> None:
    """With its score, under any policy, and nothing is counted."""
    metrics = Metrics()
    answer = judged(policy, acquisition(), known(), 1.0, metrics)
    assert isinstance(answer, Predicted)
    assert answer.familiarity is not None
    assert answer.familiarity.is_familiar
    assert not answer.is_withheld
    assert metrics.registry.get_sample_value("lungct_unfamiliar_total") == 0


@pytest.mark.parametrize(("policy", "is_withheld"), [("uncertain", True), ("flag", False)])
def test_an_unfamiliar_slice_is_answered_without_a_verdict_or_flagged(
    policy: UnfamiliarPolicy, is_withheld: bool
) -> None:
    """Its familiarity says why; it is counted under either policy."""
    metrics = Metrics()
    answer = judged(policy, OTHER, known(), metrics=metrics)
    assert isinstance(answer, Predicted)
    assert answer.familiarity is not None
    assert not answer.familiarity.is_familiar
    assert "less distinct" in answer.familiarity.reasons[0]
    assert answer.is_withheld == is_withheld
    assert metrics.registry.get_sample_value("lungct_unfamiliar_total") == 1


def test_where_it_is_asked_for_an_unfamiliar_slice_is_refused() -> None:
    """As a chest slice that is unfamiliar, with the reasons, and never as no chest CT; it is counted."""
    metrics = Metrics()
    refused = judged("reject", OTHER, known(), metrics=metrics)
    assert isinstance(refused, UnfamiliarSlice)
    assert (refused.kind.name, refused.kind.status) == ("unfamiliar-slice", 422)
    assert refused.reasons
    assert all(reason in str(refused) for reason in refused.reasons)
    assert metrics.registry.get_sample_value("lungct_unfamiliar_total") == 1


@pytest.mark.parametrize("texture", [9.0, math.nan])
def test_the_models_own_distance_is_asked_too(texture: float) -> None:
    """A slice that was acquired like others is unfamiliar by its features; a network that overflows knows nothing."""
    answer = judged("uncertain", acquisition(), known(), texture)
    assert isinstance(answer, Predicted)
    assert answer.is_withheld


def test_a_version_that_does_not_ask_answers_whatever_it_is_shown() -> None:
    """Versions from before have no rules: no familiarity, nothing withheld, even where refusing is asked for."""
    answer = judged("reject", OTHER, None, 9.0)
    assert isinstance(answer, Predicted)
    assert (answer.familiarity, answer.is_withheld) == (None, False)


def test_looks_are_judged_by_the_window_of_the_slice() -> None:
    """Fat beside muscle is too uneven for a lung window, and right in a narrow one."""
    tensor = to_tensor(grey_slice(1), PreprocessingSpec(height=64, width=64))
    columns = np.arange(64)[np.newaxis, :, np.newaxis] // 8 % 2
    uneven = np.where(tensor > 80, np.where(columns, 210, 130), tensor).astype(np.uint8)
    gate = Gate("flag", "uncertain", Metrics())
    limits = ChestGate(image_limits=ANY_FIELD, narrow_limits=NARROW)
    assert gate.look(b"", None, uneven, limits, acquisition()) == ("tissue",)
    assert gate.look(b"", None, uneven, limits, acquisition(is_narrow=True)) == ()
    assert gate.look(b"", None, uneven, limits) == ("tissue",)
