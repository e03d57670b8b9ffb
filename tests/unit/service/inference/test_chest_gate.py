"""What does not look like a chest slice is refused or flagged, alone, and what the model is asked of itself is not."""

import asyncio
from contextlib import closing
from typing import Any

import cv2
import numpy as np
import pytest

from service.engines.base import Outputs
from service.inference.chest_gate import Gate, NotAChestCT, Predicted, Prepared, UnfamiliarSlice, warning_of
from service.inference.predictor import Predictor
from service.inference.scoring import Encoded, Preparer
from service.metrics import Metrics
from service.model.serving_model import LoadOptions, ServingModel
from service.settings import ServiceSettings
from shared.artifact import DISTANCE_NAME, OUTPUT_NAME
from shared.chest_ct import Check, ChestGate
from shared.dicom.known_tags import KnownTags
from shared.familiarity import FamiliarityRules, KnownCases
from shared.imaging import to_tensor
from shared.slices import SliceDecoder
from tests.support.fake_model import SPEC, FakeEngine, fake_model
from tests.support.inputs.dicom_files import ct_file, hounsfield
from tests.support.inputs.slices import grey_slice, jpeg_slice


class FarEngine(FakeEngine):
    """Finds brighter slices further off: chest_distance is the mean grey value."""

    def infer(self, images: np.ndarray) -> Outputs:
        return {**super().infer(images), DISTANCE_NAME: images.mean(axis=(1, 2, 3)).astype(np.float32)}


def _model(engine: FakeEngine, gate: ChestGate | None) -> ServingModel:
    model = fake_model(engine)
    object.__setattr__(model, "manifest", model.manifest.model_copy(update={"chest_gate": gate}))
    return model


def _ask(model: ServingModel, *bodies: bytes, **settings: Any) -> list[Any]:
    """Answers or exceptions, of callers that ask at a time."""

    async def ask() -> list[Any]:
        predictor = Predictor(ServiceSettings(**settings), Metrics(), LoadOptions("openvino", "f32", 1, 4))

        async def one(body: bytes) -> Any:
            predictor.batcher.places.reserve(60)
            try:
                return await predictor.predict(body, model)
            finally:
                predictor.batcher.places.release()

        return await asyncio.gather(*map(one, bodies), return_exceptions=True)

    return asyncio.run(asyncio.wait_for(ask(), 60))


def _photograph() -> bytes:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(coarse, (300, 300), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def test_a_refused_picture_touches_no_neighbour() -> None:
    """Of three pictures that come together, the one that is no chest is refused and the others are answered."""
    first, refused, last = _ask(fake_model(), jpeg_slice(1), _photograph(), jpeg_slice(2))
    assert isinstance(refused, NotAChestCT)
    assert "The picture is in colour." in refused.reasons
    assert first.doubts == last.doubts == ()


def test_where_it_is_asked_for_pictures_are_answered_with_a_warning() -> None:
    """The policy flag answers what reject refuses, and says why it may mean nothing."""
    (answer,) = _ask(fake_model(), _photograph(), ood_policy="flag")
    assert answer.probabilities.shape == (3,)
    assert "in colour" in warning_of(answer.doubts)[0]
    assert warning_of(()) == []


def test_what_is_far_from_chest_slices_is_refused() -> None:
    """A slice beyond the manifest's distance is refused by the same inference that answers those within it."""
    near, far = grey_slice(1), np.minimum(grey_slice(1).astype(int) * 1.6, 255).astype(np.uint8)
    means = [to_tensor(one, SPEC).mean() for one in (near, far)]
    engine = FarEngine()
    model = _model(engine, ChestGate(max_distance=float(np.mean(means))))
    bodies = [cv2.imencode(".png", one)[1].tobytes() for one in (near, far)]
    answered, refused = _ask(model, *bodies)
    assert answered.doubts == ()
    assert isinstance(refused, NotAChestCT)
    assert [reason for reason in refused.reasons if "unlike" in reason] == refused.reasons
    assert sum(engine.sizes) == 2


def test_a_version_may_check_nothing() -> None:
    """Without image limits and without a distance, everything is answered."""
    (answer,) = _ask(_model(FarEngine(), ChestGate(image_limits=None)), _photograph())
    assert answer.doubts == ()


def _judged(gate: Gate, doubts: tuple[Check, ...], distance: float) -> Predicted | NotAChestCT | UnfamiliarSlice:
    """What follows from a distance where 2 is the limit."""
    outputs = {OUTPUT_NAME: np.full((1, 3), 1 / 3, np.float32), DISTANCE_NAME: np.full(1, distance, np.float32)}
    return gate.judge(Prepared(np.zeros((32, 32, 1), np.uint8), doubts), outputs, 0, ChestGate(max_distance=2.0))


@pytest.mark.parametrize("distance", [2.1, float("nan")])
def test_a_distance_that_is_no_number_is_too_far(distance: float) -> None:
    """A network that overflows does not let a picture pass."""
    assert isinstance(_judged(Gate("reject", "uncertain", Metrics()), (), distance), NotAChestCT)


def test_doubts_are_counted_by_check() -> None:
    """Each check that a picture does not pass is counted, whatever the policy."""
    metrics = Metrics()
    judged = _judged(Gate("flag", "uncertain", metrics), ("lungs",), 3.0)
    assert isinstance(judged, Predicted)
    assert judged.doubts == ("lungs", "distance")
    assert metrics.registry.get_sample_value("lungct_chest_doubts_total", {"check": "distance"}) == 1


def test_tags_of_a_dicom_file_reach_the_verdict() -> None:
    """A kernel that the version never saw is told in words; the same slice with a known one is familiar."""
    rules = FamiliarityRules(
        limit=0.015, cases=KnownCases(centres=((100, 40, 1, 1, 1, 1),), classes=(0,), spread=(1,) * 6),
        acquisition_unit=1e6, texture_unit=1, levels=(0, 1), tags=KnownTags(kernel=("B30f",), decisive=("kernel",)),
    )  # fmt: skip
    model = _model(FakeEngine(), ChestGate(image_limits=None))
    object.__setattr__(model, "manifest", model.manifest.model_copy(update={"familiarity": rules}))
    gate = Gate("reject", "uncertain", Metrics())
    outputs, found = {OUTPUT_NAME: np.full((1, 3), 1 / 3, np.float32)}, []
    with closing(SliceDecoder()) as decoder:
        preparer = Preparer(decoder, gate, lambda _: None)
        for kernel in ("B30f", "B70f"):
            body = ct_file(hounsfield(grey_slice(1, 128)), ConvolutionKernel=kernel)
            prepared, _, _ = preparer.prepare(model, Encoded(body, None, None))
            found.append(gate.judge(prepared, outputs, 0, model.chest_gate, rules))
    known, unknown = found
    assert isinstance(known, Predicted)
    assert isinstance(unknown, Predicted)
    assert known.familiarity is not None
    assert known.familiarity.is_familiar
    assert unknown.is_withheld
    assert unknown.familiarity is not None
    assert unknown.familiarity.reasons == ("Its reconstruction kernel (B70f) occurs in no training slice.",)
