"""DICOM and 16-bit PNG through the real service: one answer for all forms of a slice, clear refusals, no leaks."""

import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset, Sequence
from pydicom.data import get_testdata_files
from pydicom.uid import UID

from benchmarks.inputs.mutations import measure
from service.answers.warnings import UNMEASURED_ON_DICOM, UNMEASURED_ON_EXPORTS
from shared.imaging import PreprocessingSpec
from tests.support.inputs.dicom_files import LOSSLESS, LOSSY, ct_dataset, ct_file, hounsfield, jpeg_ct_file, written
from tests.support.inputs.image_files import jpeg, png
from tests.support.inputs.slices import grey_slice, jpeg_slice
from tests.support.published import publish_untrained
from tests.support.serving import RunningService, serving, wait_until
from trainer.phantoms.phantom import draw_phantom

SLICE = draw_phantom(2, 5, 4)
HU = hounsfield(SLICE)
PROBLEM = "urn:lungct:problem:"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A version that knows no DICOM, and air as the lung window shows it, as slices exported in it have."""
    repository = tmp_path_factory.mktemp("dicom")
    publish_untrained(repository, 1, preprocessing=PreprocessingSpec(height=64, width=64))
    with serving(repository) as running:
        yield running


def predict(service: RunningService, body: bytes, query: str = "") -> dict[str, Any]:
    answer = service.client.post(f"/predict{query}", content=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(service: RunningService, body: bytes, query: str = "", path: str = "/predict") -> tuple[int, str, str]:
    answer = service.client.post(path + query, content=body)
    problem = answer.json()
    return answer.status_code, problem["type"].removeprefix(PROBLEM), problem["detail"]


# --- all forms of one slice -------------------------------------------------------------------------------------------


def test_all_lossless_forms_of_a_slice_get_one_answer(service: RunningService) -> None:
    """PNG, 16-bit PNG, and DICOM in every lossless transfer syntax: equal to the last bit."""
    expected = predict(service, png(SLICE))["all_predictions"]
    assert predict(service, png(SLICE.astype(np.uint16) * 257))["all_predictions"] == expected
    for syntax in LOSSLESS.values():
        assert predict(service, ct_file(HU, syntax))["all_predictions"] == expected


def test_lossy_forms_of_a_slice_get_the_same_prediction(service: RunningService) -> None:
    """JPEG, and DICOM with baseline JPEG, near-lossless JPEG-LS and JPEG 2000."""
    expected = predict(service, png(SLICE))
    bodies = [jpeg(SLICE, quality=92), jpeg_ct_file(SLICE, jpeg(SLICE, quality=92))]
    for body in bodies + [ct_file(HU, syntax) for syntax in LOSSY.values()]:
        answer = predict(service, body)
        assert answer["prediction"] == expected["prediction"]
        assert answer["confidence"] == pytest.approx(expected["confidence"], abs=0.05)


def test_a_batch_may_mix_forms_and_asks_for_one_frame(service: RunningService) -> None:
    """Each item has its own answer or problem."""
    stack = ct_file(np.stack([hounsfield(grey_slice(0, 64)), hounsfield(grey_slice(1, 64))]))
    files = [("files", body) for body in (png(SLICE), ct_file(HU), stack, b"notes")]
    results = service.client.post("/predict/batch", files=files).json()["results"]
    assert [item["status"] for item in results] == [200, 200, 200, 415]
    assert results[0]["result"]["all_predictions"] == results[1]["result"]["all_predictions"]
    results = service.client.post("/predict/batch?frame=2", files=files[1:3]).json()["results"]
    assert [item["status"] for item in results] == [422, 200]


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_answers_say_what_the_model_was_not_trained_on(service: RunningService) -> None:
    """A version that does not say which files it saw knew no DICOM; for exported images there is nothing to add."""
    assert UNMEASURED_ON_DICOM in predict(service, ct_file(HU))["warnings"]
    assert UNMEASURED_ON_DICOM not in predict(service, png(SLICE))["warnings"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formats", "of_dicom", "of_png"),
    [
        ({"dicom": 9}, [], [UNMEASURED_ON_EXPORTS]),
        ({"png": 9}, [UNMEASURED_ON_DICOM], []),
        ({"png": 1, "dicom": 9}, [], []),
    ],
)  # fmt: skip
def test_warnings_follow_the_manifest(
    tmp_path: Path, formats: dict[str, int], of_dicom: list[str], of_png: list[str]
) -> None:
    """By what kinds of files the training slices were."""
    dataset = {"kind": "slices", "n": 9, "counts": {}, "digest": "0" * 64, "formats": formats}
    publish_untrained(tmp_path, 1, preprocessing=PreprocessingSpec(height=32, width=32), dataset=dataset)
    with serving(tmp_path) as running:
        known = len(running.model_info()["warnings"])
        assert predict(running, ct_file(HU))["warnings"][known:] == of_dicom
        assert predict(running, png(SLICE))["warnings"][known:] == of_png


def test_one_frame_of_many_is_named(service: RunningService) -> None:
    """Nobody may take it for an answer on the whole series."""
    body = ct_file(np.stack([HU, hounsfield(grey_slice(0, 512))]))
    first, second = predict(service, body), predict(service, body, "?frame=2")
    assert "The file has 2 frames; this answer is for frame 1 alone." in first["warnings"]
    assert "The file has 2 frames; this answer is for frame 2 alone." in second["warnings"]
    assert first["all_predictions"] == predict(service, png(SLICE))["all_predictions"] != second["all_predictions"]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/predict", "/render"])
@pytest.mark.parametrize(
    ("elements", "query", "problem"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "", (422, "not-ct")),
        ({"Modality": "MR"}, "", (422, "not-ct")),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "", (422, "localizer")),
        ({"PhotometricInterpretation": "RGB"}, "", (422, "unread-pixels")),
        ({"RescaleSlope": None}, "", (422, "unread-pixels")),
        ({"Rows": 60_000, "Columns": 60_000}, "", (413, "too-many-pixels")),
        ({"Columns": 8}, "", (422, "too-small")),
        ({"NumberOfFrames": 60_000}, "?frame=60001", (422, "no-such-frame")),
        ({"NumberOfFrames": 60_000}, "?frame=59000", (422, "undecodable")),
        ({}, "?frame=0", (422, "invalid-request")),
        ({}, "?frame=1.5", (422, "invalid-request")),
        ({}, f"?frame={'9' * 5000}", (422, "invalid-request")),
    ],
)  # fmt: skip
def test_what_is_no_ct_slice_gets_a_problem_that_says_which(
    service: RunningService, path: str, elements: dict[str, Any], query: str, problem: tuple[int, str]
) -> None:
    """From the header, before a pixel is decoded."""
    assert refused(service, ct_file(HU, **elements), query, path)[:2] == problem


def test_a_file_without_pixels_is_refused(service: RunningService) -> None:
    """A header alone."""
    dataset = ct_dataset(HU)
    del dataset.PixelData
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    assert refused(service, file.getvalue())[:2] == (422, "no-pixel-data")


@pytest.mark.slow
def test_every_file_that_pydicom_ships_gets_an_answer_or_a_problem(tiny_network_repository: Path) -> None:
    """Scanners' and toolkits' files, good and bad: none breaks anything, none is called a CT slice that is not.

    Where whatever shows no chest is flagged: the CT slices among them are corners of 128 x 128 pixels.
    """
    answers: dict[int, list[str]] = {}
    with serving(tiny_network_repository, ood_policy="flag") as service:
        for name in get_testdata_files():
            if Path(name).is_file() and "urls" not in name:
                answer = service.client.post("/predict", content=Path(name).read_bytes() or b"\0")
                answers.setdefault(answer.status_code, []).append(Path(name).name)
    assert set(answers) <= {200, 413, 415, 422}
    assert "CT_small.dcm" in answers[200]
    assert not [name for name in answers[200] if re.match(r"(MR|SC|US|rt|examples)_?", name)]


# --- display ----------------------------------------------------------------------------------------------------------


def render(service: RunningService, body: bytes, query: str = "") -> tuple[np.ndarray, dict[str, str]]:
    answer = service.client.post(f"/render{query}", content=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    shown = {name: value for name, value in answer.headers.items() if name.startswith(("x-image", "x-window"))}
    pixels = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels, shown


def test_dicom_is_shown_as_the_model_sees_it(service: RunningService) -> None:
    """8-bit grey PNG of the same pixels, and the window that was applied."""
    pixels, shown = render(service, ct_file(HU))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, SLICE)
    assert shown == {"x-image-frames": "1", "x-window-level": "-600", "x-window-width": "1500"}


def test_a_window_can_be_asked_for(service: RunningService) -> None:
    """Level and width, each or both, in Hounsfield units."""
    pixels, shown = render(service, ct_file(HU), "?level=40&width=400")
    assert np.array_equal(pixels, np.clip((HU + 160) * (256 / 400), 0, 255).astype(np.uint8))
    assert shown["x-window-level"] == "40"
    assert render(service, ct_file(HU), "?width=3000")[1] == {
        "x-image-frames": "1", "x-window-level": "-600", "x-window-width": "3000",
    }  # fmt: skip


def test_16_bit_png_has_a_window_of_sample_values(service: RunningService) -> None:
    """All of them by default."""
    samples = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    pixels, shown = render(service, png(samples))
    assert np.array_equal(pixels, (samples >> 8).astype(np.uint8))
    assert shown == {"x-image-frames": "1", "x-window-level": "32768", "x-window-width": "65536"}
    pixels, shown = render(service, png(samples), "?level=128&width=256")
    assert np.array_equal(pixels, np.minimum(samples, 255).astype(np.uint8))


def test_8_bits_have_no_window(service: RunningService) -> None:
    """They are shown as they are; EXIF orientation and form fields as in /predict."""
    pixels, shown = render(service, png(SLICE), "?level=1&width=1")
    assert np.array_equal(pixels, SLICE)
    assert shown == {"x-image-frames": "1"}
    answer = service.client.post("/render", files={"file": png(SLICE)})
    assert np.array_equal(np.asarray(cv2.imdecode(np.frombuffer(answer.content, np.uint8), -1)), SLICE)


def test_frames_can_be_leafed_through(service: RunningService) -> None:
    """The header tells how many there are."""
    greys = [grey_slice(seed, 64) for seed in range(3)]
    body = ct_file(np.stack([hounsfield(grey) for grey in greys]), LOSSLESS["jpeg-ls"])
    for number, grey in enumerate(greys, 1):
        pixels, shown = render(service, body, f"?frame={number}")
        assert np.array_equal(pixels, grey)
        assert shown["x-image-frames"] == "3"


@pytest.mark.parametrize("query", ["?level=x", "?width=0", "?width=nan", "?level=inf", "?level=1e9", "?frame=-1"])
def test_a_window_that_shows_nothing_is_refused(service: RunningService, query: str) -> None:
    """By name of the parameter."""
    assert refused(service, png(SLICE), query, "/render")[:2] == (422, "invalid-request")


def test_nothing_needs_a_model_to_be_shown(tmp_path: Path) -> None:
    """The page can draw a slice while the first model is still being trained."""
    with serving(tmp_path, is_ready=False) as running:
        assert np.array_equal(render(running, ct_file(HU))[0], SLICE)


# --- tags stay where they are -----------------------------------------------------------------------------------------

SENTINEL = "Zyxwv"


def _with_secrets(**elements: Any) -> Dataset:
    """A secret in every element that is not needed, and private ones."""
    names = ("PatientName", "PatientID", "PatientBirthName", "PatientComments", "StudyDescription", "InstitutionName",
             "ReferringPhysicianName", "StationName", "ProtocolName", "SeriesDescription", "AccessionNumber", "StudyID",
             "DeviceSerialNumber", "ImageComments", "OperatorsName", "Manufacturer", "ConvolutionKernel",
             "ContrastBolusAgent")  # fmt: skip
    secrets = dict.fromkeys(names, SENTINEL)
    uids = dict.fromkeys(
        ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"), "1.2.31337.7"
    )
    dataset = ct_dataset(HU[:64, :64], **{**secrets, **uids, **elements})
    dataset.private_block(0x0099, SENTINEL, create=True).add_new(1, "LO", SENTINEL)
    item = Dataset()
    item.CodeMeaning = SENTINEL
    dataset.RequestAttributesSequence = Sequence([item])
    dataset.file_meta.ImplementationVersionName = SENTINEL
    dataset.file_meta.PrivateInformationCreatorUID = UID("1.2.31337.7")
    return dataset


def _leaky_bodies() -> Iterator[bytes]:
    """Good files, files that are refused, and files at which pydicom's own errors repeat values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield written(_with_secrets())
        yield written(_with_secrets(NumberOfFrames=7))
        for keyword in ("Modality", "ImageType", "PhotometricInterpretation"):
            yield written(_with_secrets(**{keyword: SENTINEL.upper()}))
        yield written(_with_secrets(SOPClassUID="1.2.31337.7"))
        good = written(_with_secrets())
    for tag, size in ((b"\x28\x00\x53\x10DS", 1), (b"\x28\x00\x52\x10DS", 1), (b"\x28\x00\x10\x00US", 2)):
        at = good.index(tag)
        length = int.from_bytes(good[at + 6 : at + 8], "little")
        yield good[: at + 6] + b"\6\0" + f"{SENTINEL} ".encode() + good[at + 8 + length :]
        yield good[: at + 4] + b"ZZ" + good[at + 6 :]
        yield good[: at + 8 + size]
    at = good.index(b"1.2.840.10008.1.2.1\0")
    yield good[:at] + b"1.2.31337.7".ljust(20, b"\0") + good[at + 20 :]


@pytest.mark.slow
def test_no_value_of_a_tag_reaches_answers_logs_or_metrics(tmp_path: Path) -> None:
    """Not through answers and headers, nor through what pydicom, the codecs or warnings say, at the chattiest level."""
    publish_untrained(tmp_path, 1, preprocessing=PreprocessingSpec(height=32, width=32))
    statuses = set()
    with serving(tmp_path, log_level="debug") as running:
        seen = ""
        for body in _leaky_bodies():
            assert SENTINEL.encode() in body or SENTINEL.upper().encode() in body or b"1.2.31337.7" in body
            for path in ("/predict", "/render"):
                answer = running.client.post(path, files={"file": (f"{SENTINEL}.dcm", body)})
                statuses.add(answer.status_code)
                seen += repr(answer.headers) + answer.content.decode("latin-1")
            seen += running.client.post(
                "/predict/batch", files=[("files", ("slice.dcm", body))]
            ).text  # a name is echoed
        seen += running.client.get("/metrics").text + running.log_text()
    assert statuses == {200, 422}
    for secret in (SENTINEL, SENTINEL.upper(), "31337"):
        assert secret not in seen


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/predict", "/render"])
def test_damaged_files_break_nothing(service: RunningService, path: str) -> None:
    """200 of each way in, by a stated seed (the benchmark sends 10,000). Good files in between are answered."""
    figures = measure(service, 200, seed=1, path=path)
    assert figures.broken == 0
    assert figures.good_refused == 0
    assert figures.statuses.keys() <= {"200", "400", "413", "415", "422"}
    assert figures.statuses["422"] > 50
    assert max(figures.rss_mib) < figures.rss_mib[0] + 20
    wait_until(lambda: len(service.children) <= 1, "no decoder is left")


# --- neighbours -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_service_that_gets_no_dicom_does_not_load_it(tmp_path: Path) -> None:
    """No process, no library; the first DICOM starts one process, and this one does not grow by the library."""
    publish_untrained(tmp_path, 1, preprocessing=PreprocessingSpec(height=32, width=32))
    with serving(tmp_path) as running:
        predict(running, jpeg_slice())
        assert not running.children
        before = running.rss_mib
        predict(running, ct_file(HU))
        assert len(running.children) >= 1
        assert running.rss_mib < before + 15
        mapped = Path(f"/proc/{running.process.pid}/maps").read_text("utf-8")
        assert "gdcm" not in mapped.lower()
        assert "openjpeg" not in mapped
