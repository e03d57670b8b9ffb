"""Beside callers whose files cost more than a slice may, everybody else is answered as ever."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import numpy as np
import psutil
import pytest

from shared.imaging import PreprocessingSpec
from tests.support.inputs.dicom_files import LOSSLESS, ct_file, hounsfield, with_fragments, with_items
from tests.support.inputs.image_files import jpeg, jpeg_segments, overfull_png, png
from tests.support.inputs.slices import grey_slice
from tests.support.published import publish_untrained
from tests.support.serving import RunningService, serving, wait_until

pytestmark = [pytest.mark.alone, pytest.mark.slow]

SLICE = grey_slice(3, 512)
HU = hounsfield(SLICE)
_SECONDS, _ATTACKERS = 4.0, 3
_MOST_MIB = 256 + 64  # above idle: upload bytes in flight, and a little


def many_scans() -> bytes:
    """As many as a picture of the largest size may have, and two more."""
    *segments, end = jpeg_segments(jpeg(np.zeros((4096, 4096), np.uint8), progressive=True))
    return b"".join([*segments, *segments[-1:] * 8, end])


def fill_bytes() -> bytes:
    body = jpeg(SLICE)
    return body[:2] + b"\xff" * 19 * 2**20 + body[2:]


def escaped_bytes() -> bytes:
    return jpeg(SLICE)[:-2] + b"\xff\x00" * (19 * 2**19) + b"\xff\xd9"


COSTLY: dict[str, tuple[Callable[[], bytes], bytes]] = {
    "PNG that inflates without end": (lambda: overfull_png(19), png(SLICE)),
    "JPEG of fill bytes": (fill_bytes, jpeg(SLICE)),
    "JPEG of coded data without end": (escaped_bytes, jpeg(SLICE)),
    "JPEG of many scans": (many_scans, jpeg(SLICE)),
    "DICOM of items": (lambda: with_items(ct_file(HU), 2_300_000), ct_file(HU)),
    "DICOM of fragments": (lambda: with_fragments(ct_file(HU, LOSSLESS["jpeg-ls"]), 2_300_000), ct_file(HU)),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    repository = tmp_path_factory.mktemp("costly")
    publish_untrained(repository, 1, preprocessing=PreprocessingSpec(height=64, width=64))
    with serving(repository) as running:
        running.client.post("/predict", content=ct_file(HU)).raise_for_status()  # what decodes DICOM has started
        yield running


def memory_mib(service: RunningService) -> float:
    """Of the service and its children; what they share is counted once."""
    total = 0
    for process in (service.process, *service.children):
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 2**20


@contextmanager
def asked(service: RunningService, path: str, body: bytes, callers: int) -> Iterator[Counter[str]]:
    """Callers that ask without pause; the outcomes."""
    outcomes: Counter[str] = Counter()
    is_over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=service.url, timeout=60) as client:
            while not is_over.is_set():
                answer = client.post(path, content=body)
                outcomes[f"{answer.status_code} {answer.json().get('type', '').rpartition(':')[2]}"] += 1

    threads = [threading.Thread(target=ask) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("costly", COSTLY)
def test_nobody_is_held_up_by_costly_files(service: RunningService, costly: str) -> None:
    """They are refused; others are answered, with as much memory as uploads may take."""
    hostile, body = (COSTLY[costly][0](), COSTLY[costly][1])
    idle, most, taken = memory_mib(service), 0.0, []
    with asked(service, "/predict", hostile, _ATTACKERS) as outcomes:
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end or not outcomes:
            started = time.monotonic()
            service.client.post("/predict", content=body).raise_for_status()
            taken.append(time.monotonic() - started)
            most = max(most, memory_mib(service))
        assert service.health()["status"] == "ok"
    assert set(outcomes) == {"422 undecodable"}
    assert max(taken) < 5  # alone 20 ms; machines that run tests are busy
    assert most - idle < _MOST_MIB


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/render", "/explain"])
def test_nobody_is_told_that_a_file_is_damaged_whose_decoder_was_killed(service: RunningService, path: str) -> None:
    """As the system kills it first where memory runs out: 503 with Retry-After, in a batch for that item."""
    slow = ct_file(np.random.default_rng(0).integers(-1000, 1000, (1400, 1400), np.int16), LOSSLESS["jpeg-2000"])
    parent = next(one for one in service.children if "shared.dicom.child" in one.cmdline())
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.wait(0.002):
            for child in parent.children():
                with suppress(psutil.NoSuchProcess):
                    child.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        field = "files" if path.endswith("batch") else "file"
        answer = service.client.post(path, files={field: slow})
    finally:
        is_over.set()
        killer.join()
    problem = answer.json()
    if path.endswith("batch"):
        assert answer.status_code == 200
        problem = problem["results"][0]["problem"]
    else:
        assert int(answer.headers["Retry-After"]) >= 1
    assert (problem["status"], problem["type"]) == (503, "urn:lungct:problem:decoder-unavailable")
    assert problem["retry_after_s"] > 0
    wait_until(lambda: not parent.children(), "no decoder is left")
    service.client.post("/predict", content=ct_file(HU)).raise_for_status()
