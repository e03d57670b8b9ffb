"""Over HTTP: a picture that is no chest slice gets its problem, alone, and the slice beside it its answer."""

import cv2
import numpy as np
import pytest

from tests.support.inputs.slices import jpeg_slice
from tests.support.serving import RunningService


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """A JPEG in colour that shows no chest."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(coarse, (300, 300), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def test_a_photograph_is_refused_with_reasons(service: RunningService, photograph: bytes) -> None:
    """422 not-a-chest-ct says in sentences what speaks against it, and is counted under its name and by check."""
    before = service.metric("lungct_rejected_total", reason="not-a-chest-ct")
    answer = service.client.post("/predict", content=photograph)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"] == "urn:lungct:problem:not-a-chest-ct"
    assert "The picture is in colour." in problem["reasons"]
    assert all(reason in problem["detail"] for reason in problem["reasons"])
    assert service.metric("lungct_rejected_total", reason="not-a-chest-ct") == before + 1
    assert service.metric("lungct_chest_doubts_total", check="colour") >= 1


def test_in_a_batch_it_is_its_own_problem(service: RunningService, photograph: bytes) -> None:
    """The slices around it are answered."""
    files = [("files", ("one", body)) for body in (jpeg_slice(1), photograph, jpeg_slice(2))]
    results = service.client.post("/predict/batch", files=files).json()["results"]
    assert [one["status"] for one in results] == [200, 422, 200]
    assert results[1]["problem"]["reasons"]
