"""Where the model looked: what a caller of POST /explain gets."""

import io
import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx
import numpy as np
import psutil
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from tests.support.inputs.dicom_files import ct_file, hounsfield
from tests.support.inputs.image_files import png
from tests.support.inputs.slices import gif, grey_slice, jpeg_slice, png_slice
from tests.support.model_repository import ModelRepository
from tests.support.published import publish_untrained
from tests.support.serving import RunningService, serving, wait_until

NOTE = "model attention, not lesion location"
NAMES = ["Normal cases", "Benign cases", "Malignant cases"]


@pytest.fixture(scope="module")
def attentive_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lung-ct/1: an untrained network that says what each place adds."""
    repository = tmp_path_factory.mktemp("attentive")
    publish_untrained(repository, seed=1, has_attention=True)
    return repository


@pytest.fixture(scope="module")
def attentive(attentive_repository: Path) -> Iterator[RunningService]:
    """A service of that network."""
    with serving(attentive_repository, precision="f32") as running:
        yield running


def explain(service: RunningService, **query: str) -> httpx.Response:
    return service.client.post("/explain", params={"format": "json", **query}, content=jpeg_slice(1))


def test_a_version_with_attention_is_explained_by_class_activation(attentive: RunningService) -> None:
    """The grid lies in 0 to 1 with a 1 in it; the answer says what the map is not, and what /predict says."""
    answer = explain(attentive)
    body = answer.json()
    assert list(body) == [
        "class_name", "method", "note", "grid", "box", "slice", "prediction", "model_version", "request_id", "warnings",
    ]  # fmt: skip
    grid = np.array(body["grid"])
    assert (body["method"], grid.shape, grid.min(), grid.max()) == ("class-activation", (14, 14), 0, 1)
    assert body["note"] == answer.headers["X-Note"] == NOTE
    assert body["slice"] == {"width": 256, "height": 256}
    predicted = attentive.client.post("/predict", content=jpeg_slice(1)).json()
    assert body["class_name"] == predicted["prediction"] == body["prediction"]["prediction"]
    assert body["prediction"]["all_predictions"] == pytest.approx(predicted["all_predictions"], abs=1e-5)
    assert body["warnings"] == predicted["warnings"]


def test_a_version_of_before_is_explained_by_occlusion(service: RunningService) -> None:
    """Without the output the service occludes, and the answer has the same form."""
    body = explain(service).json()
    grid = np.array(body["grid"])
    assert (body["method"], grid.shape) == ("occlusion", (6, 6))
    assert 0 <= grid.min() <= grid.max() <= 1
    assert body["prediction"]["prediction"] == body["class_name"]


def test_classes_have_maps_of_their_own(attentive: RunningService, service: RunningService) -> None:
    """Each class may be asked about, and no two have the same map."""
    for running in (attentive, service):
        bodies = [explain(running, **{"class": name}).json() for name in NAMES]
        assert [body["class_name"] for body in bodies] == NAMES
        assert len({json.dumps(body["grid"]) for body in bodies}) == 3


def test_the_picture_is_the_slice_with_a_caption(attentive: RunningService) -> None:
    """A PNG as wide as the slice, a band of 24 rows below; the note is in a header and in a text chunk."""
    answer = attentive.client.post("/explain", files={"file": ("a.png", png_slice(1), "image/png")})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-note"] == NOTE
    picture = PngImageFile(io.BytesIO(answer.content))
    assert picture.size == (256, 256 + 24)
    assert picture.text["Comment"].startswith(NOTE)
    assert np.asarray(picture)[256:].max() == 255


def test_no_opacity_leaves_the_slice(attentive: RunningService) -> None:
    """With opacity 0 the picture is the slice; with 1 it is not."""
    slice_ = png_slice(1)
    original = np.asarray(Image.open(io.BytesIO(slice_)).convert("RGB"))
    pictures = [
        attentive.client.post("/explain", params={"opacity": opacity}, content=slice_).content for opacity in (0, 1)
    ]
    unchanged, changed = (np.asarray(Image.open(io.BytesIO(picture)))[:256] for picture in pictures)
    np.testing.assert_array_equal(unchanged, original)
    assert (changed != original).any()


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"class": "Teapots"}, "class: no class of this model; expected one of " + ", ".join(NAMES) + "."),
        ({"opacity": 2}, "opacity must be a number from 0 to 1."),
        ({"format": "gif"}, "format: Input should be 'png' or 'json'."),
    ],
)
def test_a_wrong_parameter_is_refused_in_words(attentive: RunningService, query: dict[str, str], detail: str) -> None:
    """422 says which parameter, and what was expected, without an echo of what came."""
    answer = attentive.client.post("/explain", params=query, content=jpeg_slice(1))
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:lungct:problem:invalid-request")
    assert answer.json()["detail"] == detail


@pytest.mark.parametrize("content", [b"", gif(), b"text", jpeg_slice(1)[:900]])
def test_what_predict_refuses_explain_refuses_alike(attentive: RunningService, content: bytes) -> None:
    """The same problem, status and sentence."""
    answers = [attentive.client.post(path, content=content) for path in ("/predict", "/explain")]
    problems = [{**answer.json(), "request_id": ""} for answer in answers]
    assert problems[0] == problems[1]
    assert answers[0].status_code >= 400


def test_without_a_model_there_is_no_explanation(tmp_path: Path) -> None:
    """503 with Retry-After."""
    with serving(tmp_path, is_ready=False) as running:
        answer = running.client.post("/explain", content=jpeg_slice(1))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:lungct:problem:no-model")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.slow
def test_other_versions_and_engines_explain_alike(attentive_repository: Path, attentive: RunningService) -> None:
    """TensorFlow gives OpenVINO's map."""
    with serving(attentive_repository, engine="tensorflow") as running:
        other, mine = explain(running).json(), explain(attentive).json()
    assert other["method"] == "class-activation"
    np.testing.assert_allclose(other["grid"], mine["grid"], atol=2e-3)
    assert other["box"] == mine["box"]


@pytest.mark.slow
def test_a_new_version_explains_itself(repository: ModelRepository) -> None:
    """After a swap the map is the new version's: other weights, another map."""
    repository.publish(1)
    with serving(repository.root, precision="f32") as running:
        before = explain(running, **{"class": NAMES[0]}).json()
        repository.publish(2)
        running.wait_ready(2)
        after = explain(running, **{"class": NAMES[0]}).json()
    assert (before["model_version"], after["model_version"]) == (1, 2)
    assert before["grid"] != after["grid"]
    assert before["box"] == after["box"]


@pytest.mark.slow
def test_a_full_queue_of_explanations_delays_no_prediction(attentive_repository: Path) -> None:
    """Beyond max_explain_queue 503 with Retry-After; predictions are answered all the while."""
    with serving(attentive_repository, max_explain_queue=1) as running, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(running.client.post, "/explain", content=jpeg_slice(seed, 1500)) for seed in range(24)]
        assert running.client.post("/predict", content=jpeg_slice(1)).status_code == 200
        answers = [one.result() for one in asked]
        assert running.metric("lungct_explanations_total", outcome="done") >= 1
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)


def test_what_explains_goes_with_the_service(attentive_repository: Path) -> None:
    """Also where the service is killed: nothing is left that holds a core or memory."""
    with serving(attentive_repository) as running:
        explain(running).raise_for_status()
        children = psutil.Process(running.process.pid).children()
        assert len(children) == 1
        running.process.kill()
        wait_until(lambda: not any(is_alive(child) for child in children), "the process for explanations ends")


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: what nobody has waited for yet does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# --- DICOM ------------------------------------------------------------------------------------------------------------


def test_the_frame_that_was_asked_for_is_explained(attentive: RunningService) -> None:
    """A frame of a DICOM file has the map of the same picture as PNG, and the warnings of its prediction."""
    frames = [grey_slice(seed) for seed in (1, 2)]
    stack = ct_file(np.stack([hounsfield(grey) for grey in frames]))
    query = {"format": "json", "class": NAMES[1]}
    grids = []
    for number, grey in enumerate(frames, 1):
        body = attentive.client.post("/explain", params={**query, "frame": number}, content=stack).json()
        expected = attentive.client.post("/explain", params=query, content=png(grey)).json()
        assert (body["grid"], body["box"], body["slice"]) == (expected["grid"], expected["box"], expected["slice"])
        predicted = attentive.client.post("/predict", params={"frame": number}, content=stack).json()
        assert body["warnings"] == predicted["warnings"]
        assert any(f"frame {number} alone" in warning for warning in body["warnings"])
        grids.append(body["grid"])
    assert grids[0] != grids[1]
    picture = attentive.client.post("/explain", params={"frame": 2, "opacity": 0}, content=stack)
    shown = np.asarray(Image.open(io.BytesIO(picture.content)).convert("L"))[:256]
    np.testing.assert_array_equal(shown, frames[1])


@pytest.mark.parametrize(("frame", "problem"), [("3", "no-such-frame"), ("0", "invalid-request")])
def test_a_frame_that_is_none_is_refused(attentive: RunningService, frame: str, problem: str) -> None:
    """422 as /predict says it, also of a JPEG."""
    for content in (ct_file(np.stack([hounsfield(grey_slice(1))] * 2)), jpeg_slice(1)):
        answers = [attentive.client.post(f"{path}?frame={frame}", content=content) for path in ("/predict", "/explain")]
        assert [answer.status_code for answer in answers] == [422, 422]
        assert {answer.json()["type"] for answer in answers} == {f"urn:lungct:problem:{problem}"}
        assert answers[0].json()["detail"] == answers[1].json()["detail"]


def test_the_strongest_place_is_yellow(attentive: RunningService) -> None:
    """Opaque, where the grid is 1, the picture has the brightest colour of the scale, red before blue."""
    body = explain(attentive).json()
    grid, box = np.array(body["grid"]), body["box"]
    row, column = np.unravel_index(grid.argmax(), grid.shape)
    x = int(box["left"] + (column + 0.5) * box["width"] / grid.shape[1])
    y = int(box["top"] + (row + 0.5) * box["height"] / grid.shape[0])
    picture = attentive.client.post("/explain", params={"opacity": 1}, content=jpeg_slice(1)).content
    red, green, blue = np.asarray(Image.open(io.BytesIO(picture)))[y, x].astype(int)
    assert min(red, green) > 200
    assert blue < 180


# --- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_picture_costs_no_more_than_its_drawing(attentive: RunningService) -> None:
    """The process that predicts draws it in a few milliseconds, takes no memory anew, and spins for nothing after."""
    slice_ = png(grey_slice(1, 512))
    process = psutil.Process(attentive.process.pid)
    for _ in range(3):
        attentive.client.post("/explain", content=slice_).raise_for_status()
    before, faults = process.cpu_times(), _page_faults(process.pid)
    for _ in range(10):
        attentive.client.post("/explain", content=slice_).raise_for_status()
        time.sleep(0.05)  # what spins would do so now
    after = process.cpu_times()
    assert (after.user + after.system - before.user - before.system) / 10 < 0.03
    assert (_page_faults(process.pid) - faults) / 10 < 100


def _page_faults(pid: int) -> int:
    """Minor ones of all its threads (proc(5))."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


# --- what is no chest slice -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """A JPEG in colour that shows no chest."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(coarse, (300, 300), interpolation=cv2.INTER_CUBIC))[1].tobytes()


def test_a_photograph_is_not_explained(attentive: RunningService, photograph: bytes) -> None:
    """422 with the reasons that /predict gives; the next slice is explained."""
    answers = [attentive.client.post(path, content=photograph).json() for path in ("/predict", "/explain")]
    assert answers[1]["type"] == "urn:lungct:problem:not-a-chest-ct"
    assert answers[1]["reasons"] == answers[0]["reasons"]
    assert explain(attentive).status_code == 200


def test_where_photographs_are_flagged_their_map_is_too(attentive_repository: Path, photograph: bytes) -> None:
    """With the policy "flag" the map comes with the warning of the prediction."""
    with serving(attentive_repository, ood_policy="flag") as running:
        predicted = running.client.post("/predict", content=photograph).json()
        body = running.client.post("/explain", params={"format": "json"}, content=photograph).json()
        picture = running.client.post("/explain", content=photograph).content
    assert body["warnings"][-1] in PngImageFile(io.BytesIO(picture)).text["Comment"]
    assert body["warnings"] == predicted["warnings"] == body["prediction"]["warnings"]
    assert "The picture is in colour." in body["warnings"][-1]


# --- shutdown ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_explanations_that_were_accepted_are_finished(tiny_network_repository: Path) -> None:
    """SIGTERM while some wait for their turn: all are answered, and the exit code is 0."""
    with serving(tiny_network_repository, drain_delay_s=1) as running, ThreadPoolExecutor(6) as pool:
        asked = [
            pool.submit(httpx.post, f"{running.url}/explain?format=json", content=jpeg_slice(seed, 1000), timeout=60)
            for seed in range(6)
        ]
        wait_until(lambda: running.metric("lungct_explanations_total", outcome="done") >= 1, "the first is explained")
        assert not all(one.done() for one in asked)
        running.signal(signal.SIGTERM)
        assert [one.result().status_code for one in asked] == [200] * 6
        assert running.wait_end() == 0
