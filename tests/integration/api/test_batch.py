"""POST /predict/batch: each file its own answer, in order, however many and whatever they are."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.inputs.slices import gif, jpeg_slice, png_slice, tiny_png
from tests.support.serving import RunningService, serving


def form(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    """Files of a batch, with names that nobody but their sender should see again."""
    return [("files", (f"smith_{number}.jpg", content)) for number, content in enumerate(contents)]


def test_each_file_gets_its_own_answer_in_order(service: RunningService) -> None:
    """Good and bad files mixed: each has its index, status, and result or problem; bad ones touch no neighbour."""
    contents = [
        (jpeg_slice(1), 200, None),
        (b"dear doctor", 415, "not-an-image-type"),
        (png_slice(2), 200, None),
        (b"", 400, "empty-part"),
        (jpeg_slice(3)[:-300], 422, "undecodable"),
        (gif(), 415, "not-an-image-type"),
        (tiny_png(), 422, "too-small"),
        (bytes(21 * 1024 * 1024), 413, "too-many-bytes"),
        (jpeg_slice(1), 200, None),
    ]
    answer = service.client.post("/predict/batch", files=form(*[content for content, _, _ in contents]))
    assert answer.status_code == 200
    items = answer.json()["results"]
    assert [item["index"] for item in items] == list(range(len(contents)))
    assert [item["status"] for item in items] == [status for _, status, _ in contents]
    for item, (content, _, name) in zip(items, contents, strict=True):
        assert set(item) == {"index", "file_name", "status", "problem" if name else "result"}
        assert item["file_name"] == f"smith_{item['index']}.jpg"
        if name:
            assert item["problem"]["type"] == f"urn:lungct:problem:{name}"
            assert item["problem"]["status"] == item["status"]
            assert item["problem"]["request_id"] == answer.headers["x-request-id"]
        else:
            alone = service.client.post("/predict", content=content).json()
            assert item["result"]["all_predictions"] == pytest.approx(alone["all_predictions"], abs=1e-5)
            assert item["result"]["request_id"] == answer.headers["x-request-id"]
    service.wait_idle()
    assert "smith" not in service.log_text()


def test_256_files_are_answered_and_257_are_too_many(service: RunningService) -> None:
    """The limit itself is served, in order, though the queue is shorter; one more is refused as a whole."""
    slices = [jpeg_slice(seed, side=64) for seed in range(4)]
    answer = service.client.post("/predict/batch", files=form(*[slices[number % 4] for number in range(256)]))
    items = answer.json()["results"]
    assert [item["status"] for item in items] == [200] * 256
    assert [item["index"] for item in items] == list(range(256))
    for item in items:
        expected = items[item["index"] % 4]["result"]["all_predictions"]
        assert item["result"]["all_predictions"] == pytest.approx(expected, abs=1e-5)
    refused = service.client.post("/predict/batch", files=form(*[slices[0]] * 257))
    assert refused.status_code == 413
    assert refused.json()["type"] == "urn:lungct:problem:too-many-files"
    assert "256" in refused.json()["detail"]
    service.wait_idle()


def test_a_batch_without_files_is_refused(service: RunningService) -> None:
    """No form, an empty form, or other fields only: 400, each with its reason."""
    for arguments, name in (
        ({"content": b""}, "nothing-sent"),
        ({"content": jpeg_slice(1)}, "wrong-field"),
        ({"files": {"file": ("a.jpg", jpeg_slice(1))}}, "wrong-field"),
        ({"data": {"files": ""}, "files": {"other": b"x"}}, None),
    ):
        answer = service.client.post("/predict/batch", **arguments)
        if name:
            assert (answer.status_code, answer.json()["type"]) == (400, f"urn:lungct:problem:{name}")
        else:  # a text field of that name is an empty file
            (item,) = answer.json()["results"]
            assert item["problem"]["type"] == "urn:lungct:problem:empty-part"
            assert "file_name" not in item
        if name == "wrong-field":
            assert "'files'" in answer.json()["detail"]


@pytest.mark.slow
def test_items_wait_where_a_single_request_would_be_refused(tiny_network_repository: Path) -> None:
    """With a queue of two, several long batches and single requests at once: no item fails for want of room."""
    with serving(tiny_network_repository, max_queue=2) as narrow:
        answers: list[httpx.Response] = []

        def send() -> None:
            with httpx.Client(base_url=narrow.url, timeout=120) as client:
                answers.append(client.post("/predict/batch", files=form(*[jpeg_slice(1)] * 40)))

        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        singles = []
        while any(sender.is_alive() for sender in senders):
            singles.append(narrow.client.post("/predict", content=jpeg_slice(2)).status_code)
        for sender in senders:
            sender.join()
        assert [item["status"] for answer in answers for item in answer.json()["results"]] == [200] * 160
        assert set(singles) <= {200, 503}
        narrow.wait_idle()


def test_results_do_not_wait_for_the_last_file(service: RunningService) -> None:
    """Slices are computed while later ones still arrive, and a series holds little memory at a time."""
    before = service.metric("lungct_predictions_total")
    boundary = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\n'
    seen_early = threading.Event()

    def body() -> Iterator[bytes]:
        for number in range(60):
            yield boundary + jpeg_slice(number % 5) + b"\r\n"
            if number == 30:
                started = time.monotonic()
                while time.monotonic() - started < 60 and not seen_early.is_set():
                    with httpx.Client(base_url=service.url) as other:
                        text = other.get("/metrics").text
                    done = sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("lungct_pred"))
                    if done > before:
                        seen_early.set()
        yield b"--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = service.client.post("/predict/batch", content=body(), headers=headers)
    assert seen_early.is_set()
    assert [item["status"] for item in answer.json()["results"]] == [200] * 60


def test_a_batch_of_bytes_beyond_the_budget_is_served_piece_by_piece(tiny_network_repository: Path) -> None:
    """A series far larger than what may be held at a time is answered, as its files go while others come."""
    limits: dict[str, Any] = {"max_upload_bytes": 100_000, "max_inflight_bytes": 2_000_000}
    with serving(tiny_network_repository, **limits) as tight:
        slices = [jpeg_slice(seed, side=512) for seed in range(4)]
        assert sum(len(one) for one in slices) * 30 > limits["max_inflight_bytes"]
        answer = tight.client.post("/predict/batch", files=form(*slices * 30))
        assert [item["status"] for item in answer.json()["results"]] == [200] * 120
        tight.wait_idle()


@pytest.mark.slow
def test_a_batch_that_breaks_off_leaves_nothing_behind(service: RunningService) -> None:
    """A sender that goes in the middle of a batch, or before the answer, frees all places and bytes at once."""
    head = "POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\n' + jpeg_slice(1, side=512) + b"\r\n"
    for is_complete in (False, True):
        for _ in range(5):
            body = part * 100 + (b"--b--\r\n" if is_complete else part[:-50])
            with service.connect() as connection:
                connection.sendall(f"{head}Content-Length: {len(body) + (not is_complete)}\r\n\r\n".encode() + body)
        service.wait_idle()
    assert service.client.post("/predict/batch", files=form(jpeg_slice(1))).json()["results"][0]["status"] == 200


def test_a_broken_form_fails_as_a_whole(service: RunningService) -> None:
    """Where the form ends early there is one problem, and what had begun is ended."""
    part = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\n' + jpeg_slice(1) + b"\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = service.client.post("/predict/batch", content=part * 20, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:lungct:problem:malformed-multipart")
    assert json.loads(answer.content)["detail"].endswith(".")
    service.wait_idle()
