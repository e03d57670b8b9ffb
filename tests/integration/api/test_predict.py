"""What a caller with a good slice gets."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from tests.support.inputs.slices import jpeg_slice, png_slice
from tests.support.serving import RunningService, serving


def test_form_and_raw_body_get_the_same_answer(service: RunningService) -> None:
    """A slice is answered the same as form field `file` and as raw body, of any media type."""
    slice_ = jpeg_slice(1)
    answers = [
        service.client.post("/predict", files={"file": ("a.jpg", slice_, "image/jpeg")}),
        service.client.post("/predict", content=slice_, headers={"Content-Type": "image/jpeg"}),
        service.client.post("/predict", content=slice_, headers={"Content-Type": "application/octet-stream"}),
        service.client.post("/predict", content=slice_),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({json.dumps(answer.json()["all_predictions"]) for answer in answers}) == 1


def test_the_answer_has_the_documented_fields(service: RunningService) -> None:
    """Probabilities sum to 1, the prediction is the largest, and version, id and warnings are named."""
    answer = service.client.post("/predict", content=png_slice(2))
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == [
        "prediction", "confidence", "all_predictions", "decision", "prediction_set", "familiarity", "model_version",
        "variant", "request_id", "warnings",
    ]  # fmt: skip
    assert list(body["all_predictions"]) == ["Normal cases", "Benign cases", "Malignant cases"]
    assert sum(body["all_predictions"].values()) == pytest.approx(1, abs=1e-5)
    assert body["prediction"] == max(body["all_predictions"], key=body["all_predictions"].__getitem__)
    assert body["confidence"] == body["all_predictions"][body["prediction"]]
    assert body["model_version"] == 1
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["warnings"] == ["Research and education only: not for diagnosis.", "Untrained network of the tests."]


def test_company_does_not_change_an_answer(service: RunningService) -> None:
    """Slices answered alone and in shared batches get the same probabilities, each its own."""
    slices = [jpeg_slice(seed) for seed in range(8)]
    alone = [service.client.post("/predict", content=one).json()["all_predictions"] for one in slices]
    assert len({json.dumps(one) for one in alone}) == 8

    def ask(turn: int) -> dict[str, float]:
        return dict(service.client.post("/predict", content=slices[turn % 8]).json()["all_predictions"])

    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, range(160)))
    for turn, answer in enumerate(together):
        assert answer == pytest.approx(alone[turn % 8], abs=1e-5)


@pytest.mark.real_data
def test_real_slices_are_answered(service: RunningService, real_slices: Path) -> None:
    """Slices as scanners' software exports them are taken, of every size and class that is there."""
    for folder in sorted(path for path in real_slices.iterdir() if path.is_dir()):
        for path in sorted(folder.iterdir())[::20]:
            answer = service.client.post("/predict", content=path.read_bytes())
            assert answer.status_code == 200, answer.text


def test_other_form_fields_are_ignored(service: RunningService) -> None:
    """Fields beside `file`, before and after it, change nothing."""
    answer = service.client.post(
        "/predict",
        data={"note": "x" * 1000, "empty": ""},
        files=[("thumbnail", ("t.png", b"no image")), ("file", ("a.jpg", jpeg_slice(1)))],
    )
    assert answer.status_code == 200


def test_a_form_in_tiny_chunks_is_read(service: RunningService) -> None:
    """A form that arrives seven bytes at a time is answered like one that arrives at once."""
    form = httpx.Request("POST", service.url, files={"file": ("a.jpg", jpeg_slice(3, side=64))})
    body = form.read()

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(body), 7):
            yield body[at : at + 7]

    answer = service.client.post("/predict", content=chunks(), headers={"Content-Type": form.headers["content-type"]})
    assert answer.status_code == 200, answer.text


def test_one_connection_serves_many_requests(service: RunningService) -> None:
    """A connection is kept alive over good and refused requests alike."""
    with service.connect() as connection:
        file = connection.makefile("rb")
        for turn in range(6):
            body = jpeg_slice(turn) if turn % 2 else b"no image"
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert _read_answer(file)[0] == (200 if turn % 2 else 415)
        file.close()


def test_pipelined_requests_are_answered_in_order(service: RunningService) -> None:
    """Requests sent without waiting are answered in their order, each with its own id."""
    slice_ = jpeg_slice(1)
    with service.connect() as connection:
        for turn in range(10):
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nX-Request-ID: turn-{turn}\r\n"
            connection.sendall(f"{head}Content-Length: {len(slice_)}\r\n\r\n".encode() + slice_)
        file = connection.makefile("rb")
        answers = [_read_answer(file) for _ in range(10)]
        file.close()
    assert [status for status, _ in answers] == [200] * 10
    assert [json.loads(body)["request_id"] for _, body in answers] == [f"turn-{turn}" for turn in range(10)]


def test_expect_100_continue_is_honoured(service: RunningService) -> None:
    """A caller that asks first is told to go on, or at once that its body is too large."""
    slice_ = jpeg_slice(1)
    with service.connect() as connection:
        file = connection.makefile("rb")
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"
        connection.sendall(head.format(len(slice_)).encode())
        assert file.readline().startswith(b"HTTP/1.1 100 ")
        assert file.readline() == b"\r\n"
        connection.sendall(slice_)
        assert _read_answer(file)[0] == 200
        connection.sendall(head.format(100_000_000).encode())
        assert _read_answer(file)[0] == 413
        file.close()


def test_head_and_options_are_refused_with_what_is_allowed(service: RunningService) -> None:
    """Methods that an address does not take get 405, a problem and Allow; the body of HEAD is empty."""
    for method, path, allowed in (
        ("OPTIONS", "/predict", "POST"),
        ("GET", "/predict", "POST"),
        ("PUT", "/predict/batch", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/model-info", "GET, HEAD"),
    ):
        answer = service.client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["type"] == "urn:lungct:problem:method-not-allowed"
        assert allowed in answer.json()["detail"]
    head = service.client.head("/predict")
    assert (head.status_code, head.headers["allow"], head.content) == (405, "POST", b"")


def test_what_is_not_there_is_a_problem_without_echo(service: RunningService) -> None:
    """An unknown address gets 404 as a problem that does not repeat it."""
    answer = service.client.get("/smith-john-1950/slice.jpg?name=smith")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "smith" not in answer.text


def test_request_id_is_taken_made_and_returned(service: RunningService) -> None:
    """A harmless id is taken over, none or a malformed one is replaced, and answer and problem name it."""
    taken = service.client.post("/predict", content=jpeg_slice(1), headers={"X-Request-ID": "case-7_slice.3"})
    assert taken.headers["x-request-id"] == taken.json()["request_id"] == "case-7_slice.3"
    refused = service.client.post("/predict", content=b"text", headers={"X-Request-ID": "case-8"})
    assert refused.headers["x-request-id"] == refused.json()["request_id"] == "case-8"
    made = {service.client.get("/health/live").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    for malformed in ("", "a b", "x" * 65, 'a"b', "ä", "<script>"):
        answer = service.client.get("/health/live", headers={b"X-Request-ID": malformed.encode()})
        assert len(answer.headers["x-request-id"]) == 32
        assert int(answer.headers["x-request-id"], 16) >= 0


def test_it_works_behind_a_prefix(tiny_network_repository: Path) -> None:
    """Under a path prefix that a proxy strips, the pages refer to what is under the prefix, and everything answers."""
    with serving(tiny_network_repository, root_path="/ct/v1") as prefixed:
        assert prefixed.client.get("/openapi.json").json()["servers"] == [{"url": "/ct/v1"}]
        # as a proxy passes it on, stripped; and as one does that does not strip
        for prefix in ("", "/ct/v1"):
            for path in ("/", "/docs", "/swagger/swagger-ui.css", "/static/js/page.js", "/health", "/metrics"):
                assert prefixed.client.get(prefix + path).status_code == 200, prefix + path
            assert prefixed.client.post(f"{prefix}/predict", content=jpeg_slice(1)).status_code == 200
        for path in ("/", "/docs"):
            page = prefixed.client.get(path).text
            assert 'href="/' not in page
            assert 'src="/' not in page


def test_half_a_request_does_not_hold_others_up(service: RunningService) -> None:
    """Connections that say nothing, or half a head, or half a body, leave the service answering others quickly."""
    idle = [service.connect() for _ in range(20)]
    try:
        for number, connection in enumerate(idle):
            if number % 2:
                connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Len")
            else:
                connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nhalf")
        started = time.monotonic()
        for turn in range(10):
            assert service.client.post("/predict", content=jpeg_slice(turn % 8)).status_code == 200
        assert time.monotonic() - started < 5
    finally:
        for connection in idle:
            connection.close()
    service.wait_idle()


def _read_answer(file: BinaryIO) -> tuple[int, bytes]:
    """Status and body of the next answer with a Content-Length."""
    status = int(file.readline().split()[1])
    length = 0
    while (line := file.readline()) != b"\r\n":
        name, value = line.split(b":", 1)
        if name.lower() == b"content-length":
            length = int(value)
    return status, file.read(length)
