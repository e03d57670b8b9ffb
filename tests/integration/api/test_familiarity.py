"""Over HTTP, of a version that knows its training slices: each answer says whether the slice is like them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.familiarity import acquisition_of
from shared.imaging import PreprocessingSpec, place
from tests.support.acquisitions import MEDIASTINUM, in_window, known
from tests.support.inputs.image_files import png
from tests.support.published import publish_untrained
from tests.support.serving import RunningService, serving
from trainer.phantoms.phantom import draw_phantom

SPEC = PreprocessingSpec(height=64, width=64, crop="body-mask", intensity="anchored")
SLICE = draw_phantom(0, 1, 8)


FAMILIAR, UNFAMILIAR = png(SLICE), png(in_window(SLICE, 1, MEDIASTINUM))


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that refuses what is unlike the one case that its version knows."""
    repository: Path = tmp_path_factory.mktemp("knowing")
    rules = known(acquisition_of(SLICE, place(SLICE, SPEC), None))
    publish_untrained(repository, seed=1, preprocessing=SPEC, familiarity=rules)
    with serving(repository, precision="f32", unfamiliar_policy="reject") as running:
        yield running


def test_an_answer_says_how_familiar_the_slice_is(knowing: RunningService) -> None:
    """Score, limit and reasons, also below an explanation; the manifest tells the rules."""
    answer = knowing.client.post("/predict", content=FAMILIAR).json()
    assert answer["familiarity"] == {"score": 1.0, "limit": 0.01, "is_familiar": True, "reasons": []}
    explained = knowing.client.post("/explain?format=json", content=FAMILIAR).json()
    assert explained["prediction"]["familiarity"] == answer["familiarity"]
    known = knowing.model_info()["manifest"]["familiarity"]
    assert known["limit"] == 0.01
    assert "cases" not in known
    assert "levels" not in known


def test_an_unfamiliar_slice_is_refused_alone(knowing: RunningService) -> None:
    """422 unfamiliar-slice with reasons, from /predict and /explain; in a batch the others are answered."""
    before = knowing.metric("lungct_unfamiliar_total")
    for path in ("/predict", "/explain"):
        answer = knowing.client.post(path, content=UNFAMILIAR)
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:lungct:problem:unfamiliar-slice"
        assert all(reason in answer.json()["detail"] for reason in answer.json()["reasons"])
    assert knowing.metric("lungct_unfamiliar_total") == before + 2
    assert knowing.metric("lungct_rejected_total", reason="unfamiliar-slice") >= 1
    files = [("files", ("one", body)) for body in (FAMILIAR, UNFAMILIAR)]
    results = knowing.client.post("/predict/batch", files=files).json()["results"]
    assert [one["status"] for one in results] == [200, 422]


def test_what_is_refused_can_be_seen(knowing: RunningService) -> None:
    """/render asks neither question, and documents no refusal; the others document both."""
    assert knowing.client.post("/render", content=UNFAMILIAR).status_code == 200
    paths = knowing.client.get("/openapi.json").json()["paths"]
    for path, is_asked in (("/predict", True), ("/explain", True), ("/render", False)):
        refusals = paths[path]["post"]["responses"]["422"]["content"]["application/problem+json"]["examples"]
        assert ("unfamiliar-slice" in refusals) == ("not-a-chest-ct" in refusals) == is_asked
