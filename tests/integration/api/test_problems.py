"""What a caller gets who sends something else than a slice: the right problem, at once, at no cost to others."""

import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from shared.raster.decode import decode_grey
from tests.support.inputs.slices import gif, jpeg_slice, png_bomb, png_slice, tiny_png
from tests.support.serving import RunningService, serving

PROMPT_S = 0.1
"""A refusal is known within this of the last byte. Medians are compared with it: single ones wait on busy machines."""

HUGE_BYTES = 100_000_000
_ONE_UPLOAD_MIB = 64
"""One image of the default 20 MiB while it grows (old and new buffer), and what the allocator keeps around it."""

_BOUNDARY = "boundary-of-the-tests"
_FORM = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
_PART = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="smith_john.jpg"\r\n'.encode()
_END = f"\r\n--{_BOUNDARY}--\r\n".encode()


def _refused(answer: httpx.Response, status: int, name: str) -> bool:
    """Assert that the answer is this documented problem and nothing more."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:lungct:problem:{name}"
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    assert set(body) <= {"type", "title", "status", "detail", "request_id", "retry_after_s"}
    assert "Traceback" not in answer.text
    assert "smith" not in answer.text
    return True


NO_SLICES = {
    "text": (b"dear doctor", 415, "not-an-image-type"),
    "HTML": (b"<html>\xff</html>", 415, "not-an-image-type"),
    "a GIF": (gif(), 415, "not-an-image-type"),
    "a JPEG without its last 500 bytes": (jpeg_slice()[:-500], 422, "undecodable"),
    "a JPEG cut in half, end marker pasted back": (jpeg_slice()[:3000] + b"\xff\xd9", 422, "undecodable"),
    "the first bytes of a JPEG": (jpeg_slice()[:100], 422, "undecodable"),
    "a truncated PNG": (png_slice()[:-100], 422, "undecodable"),
    "a PNG with a flipped byte": (png_slice()[:500] + b"\0\0\0" + png_slice()[503:], 422, "undecodable"),
    "a 1 x 1 PNG": (tiny_png(), 422, "too-small"),
    "a 30,000 x 30,000 PNG": (png_bomb(), 413, "too-many-pixels"),
}


@pytest.mark.parametrize("is_form", [False, True], ids=["raw", "form"])
@pytest.mark.parametrize("what", NO_SLICES)
def test_no_slice_is_refused_at_once(service: RunningService, what: str, is_form: bool) -> None:
    """Each kind of no slice gets its problem within the bar, as raw body and as form field."""
    content, status, name = NO_SLICES[what]
    files = {"file": ("smith_john.jpg", content)}
    times = []
    for _ in range(5):
        started = time.monotonic()
        answer = service.client.post("/predict", **({"files": files} if is_form else {"content": content}))
        times.append(time.monotonic() - started)
        _refused(answer, status, name)
    assert statistics.median(times) < PROMPT_S


def test_the_bomb_is_a_true_png() -> None:
    """What is refused as a bomb is a valid PNG: a small one of the same making decodes."""
    assert decode_grey(png_bomb(2000)).shape == (2000, 2000)
    assert len(png_bomb()) < 1_500_000


@pytest.mark.parametrize(
    ("headers", "body", "name"),
    [
        ({}, b"", "nothing-sent"),
        (_FORM, b"", "nothing-sent"),
        (_FORM, f"--{_BOUNDARY}--\r\n".encode(), "nothing-sent"),
        (_FORM, _PART + b"\r\n" + _END, "empty-part"),
        (_FORM, _PART.replace(b'"file"', b'"image"') + b"\r\nx" + _END, "wrong-field"),
        (_FORM, _PART.replace(b'name="file"; ', b"") + b"\r\nx" + _END, "wrong-field"),
        (_FORM, 2 * (_PART + b"\r\n" + jpeg_slice() + b"\r\n") + _END[2:], "wrong-field"),
        ({"Content-Type": "multipart/form-data"}, _PART + b"\r\nx" + _END, "malformed-multipart"),
        ({"Content-Type": "multipart/form-data; boundary=" + "x" * 2000}, b"x", "malformed-multipart"),
        (_FORM, b"no boundary at all", "malformed-multipart"),
        (_FORM, _PART + b"\r\n" + jpeg_slice(), "malformed-multipart"),
        (_FORM, _PART, "malformed-multipart"),
        (_FORM, _PART + b"no colon in this header\r\n\r\nx" + _END, "malformed-multipart"),
        (_FORM, _PART + b"X-Long: " + b"x" * 1_000_000 + b"\r\n\r\nx" + _END, "malformed-multipart"),
        (_FORM, _PART + b"X" * 1_000_000 + b": x\r\n\r\nx" + _END, "malformed-multipart"),
        (_FORM, _PART + b"X-More: x\r\n" * 10_000 + b"\r\nx" + _END, "malformed-multipart"),
        ({"Content-Type": "multipart/mixed; boundary=b"}, b"--b\r\n\r\nx\r\n--b--\r\n", "not-an-image-type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"file=x", "not-an-image-type"),
        ({"Content-Encoding": "gzip"}, b"\x1f\x8b\x08\0", "not-an-image-type"),
    ],
    ids=[
        "no body", "an empty form body", "a form without parts", "an empty part", "another field",
        "a part without name", "two files", "no boundary in the header", "an endless boundary",
        "no boundary in the body", "a form that ends early", "a form that ends in a header", "a header without colon",
        "a huge header value", "a huge header name", "very many headers", "another multipart", "a URL-encoded form",
        "a compressed body",
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused(service: RunningService, headers: dict[str, str], body: bytes, name: str) -> None:
    """Each way to send nothing, the wrong field or a broken form gets its 400; other media types are no images."""
    answer = service.client.post("/predict", content=body, headers=headers)
    _refused(answer, 415 if name == "not-an-image-type" else 400, name)


# --- 100 MB -----------------------------------------------------------------------------------------------------------


def _head(length: int | None, is_form: bool, path: str = "/predict") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x"]
    lines += ["Transfer-Encoding: chunked"] if length is None else [f"Content-Length: {length}"]
    lines += [f"Content-Type: {_FORM['Content-Type']}"] if is_form else []
    return "\r\n".join([*lines, "", ""]).encode()


def _pieces(is_form: bool, is_chunked: bool, field: str = "file") -> Iterator[bytes]:
    """100 MB that begin like a slice, in pieces of 1 MB."""
    slice_ = jpeg_slice()
    if is_form:
        slice_ = _PART.replace(b'"file"', f'"{field}"'.encode()) + b"\r\n" + slice_
    for number in range(HUGE_BYTES // 1_000_000):
        piece = bytes(1_000_000)
        if number == 0:
            piece = slice_ + piece[len(slice_) :]
        if number == HUGE_BYTES // 1_000_000 - 1 and is_form:
            piece = piece[: -len(_END)] + _END
        yield b"%x\r\n" % len(piece) + piece + b"\r\n" if is_chunked else piece
    if is_chunked:
        yield b"0\r\n\r\n"


def _send(service: RunningService, head: bytes, pieces: Iterator[bytes]) -> tuple[int, bytes, float]:
    """Status and body of the answer, and how long after the last byte it came."""
    with service.connect() as connection:
        connection.sendall(head)
        for piece in pieces:
            connection.sendall(piece)
        sent = time.monotonic()
        response = HTTPResponse(connection)
        response.begin()
        waited_s = time.monotonic() - sent
        body = response.read()
        response.close()
        return response.status, body, waited_s


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("is_form", [False, True], ids=["raw", "form"])
@pytest.mark.parametrize("length", [HUGE_BYTES, None], ids=["announced", "chunked"])
def test_100_mb_are_refused_and_never_held(service: RunningService, length: int | None, is_form: bool) -> None:
    """A body of 100 MB, announced or not, gets 413 within the bar of its last byte, and is never held."""
    service.forget_peak()
    before_mib = service.rss_mib
    waits = []
    for _ in range(3):
        pieces = _pieces(is_form, is_chunked=length is None)
        status, body, waited_s = _send(service, _head(length, is_form), pieces)
        assert (status, b"too-many-bytes" in body) == (413, True)
        waits.append(waited_s)
    assert statistics.median(waits) < PROMPT_S
    assert service.peak_rss_mib - before_mib < _ONE_UPLOAD_MIB
    service.wait_idle()


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("length", [HUGE_BYTES, None], ids=["announced", "chunked"])
def test_100_mb_in_a_batch_are_one_refused_item(service: RunningService, length: int | None) -> None:
    """A file of 100 MB in a batch is that file's 413, and is never held."""
    service.forget_peak()
    before_mib = service.rss_mib
    pieces = _pieces(is_form=True, is_chunked=length is None, field="files")
    status, body, _ = _send(service, _head(length, is_form=True, path="/predict/batch"), pieces)
    assert status == 200
    (item,) = json.loads(body)["results"]
    assert (item["status"], item["problem"]["type"]) == (413, "urn:lungct:problem:too-many-bytes")
    assert service.peak_rss_mib - before_mib < _ONE_UPLOAD_MIB
    service.wait_idle()


def test_a_raw_body_of_100_mb_to_the_batch_is_no_form(service: RunningService) -> None:
    """A raw body where a form is expected is told so, whatever its size."""
    status, body, _ = _send(service, _head(None, is_form=False, path="/predict/batch"), _pieces(False, is_chunked=True))
    assert (status, b"wrong-field" in body) == (400, True)


@pytest.mark.parametrize("is_form", [False, True], ids=["raw", "form"])
def test_more_bytes_than_announced_do_no_harm(service: RunningService, is_form: bool) -> None:
    """Where Content-Length says less than is sent, the request ends there, and what follows is no request."""
    before_mib = service.rss_mib
    with service.connect() as connection:
        connection.sendall(_head(2000, is_form))
        try:
            for piece in _pieces(is_form, is_chunked=False):
                connection.sendall(piece)
        except OSError:
            pass  # the service hung up: it will not read 100 MB of no request
        else:
            pytest.fail("100 MB behind the announced end were all read")
    assert service.rss_mib - before_mib < _ONE_UPLOAD_MIB
    assert service.client.post("/predict", content=jpeg_slice()).status_code == 200
    service.wait_idle()


@pytest.mark.slow
def test_a_body_that_never_comes_is_given_up(tiny_network_repository: Path) -> None:
    """Where less is sent than announced, and no more comes, the caller gets 408 when its time is over."""
    with serving(tiny_network_repository, request_timeout_s=0.5) as impatient:
        for is_form, path in ((False, "/predict"), (True, "/predict"), (True, "/predict/batch")):
            begin = _PART if is_form else jpeg_slice()[:100]
            status, body, waited_s = _send(impatient, _head(5000, is_form, path), iter([begin]))
            assert (status, b"upload-too-slow" in body) == (408, True)
            assert 0.4 < waited_s < 5
        impatient.wait_idle()
        assert impatient.client.post("/predict", content=jpeg_slice()).status_code == 200


def test_others_are_answered_meanwhile(service: RunningService) -> None:
    """While bombs and 100 MB bodies arrive from several senders, good requests are all answered, and soon."""
    is_over = threading.Event()
    bomb = png_bomb()

    def attack(number: int) -> None:
        while not is_over.is_set():
            if number % 2:
                _send(service, _head(len(bomb), is_form=False), iter([bomb]))
            else:
                _send(service, _head(None, is_form=False), _pieces(is_form=False, is_chunked=True))

    attackers = [threading.Thread(target=attack, args=(number,)) for number in range(4)]
    for attacker in attackers:
        attacker.start()
    try:
        times = []
        for turn in range(60):
            started = time.monotonic()
            assert service.client.post("/predict", content=jpeg_slice(turn)).status_code == 200
            times.append(time.monotonic() - started)
    finally:
        is_over.set()
        for attacker in attackers:
            attacker.join()
    # the attackers are threads of this process and take its cores too: this is a bound on starving, not on speed
    assert statistics.median(times) < 1
    assert max(times) < 10
    service.wait_idle()
