"""The engine of a running service fails, hangs or lies: callers are told, readiness is true, and it recovers."""

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.support.inputs.image_files import png
from tests.support.inputs.slices import jpeg_slice
from tests.support.model_repository import ModelRepository
from tests.support.serving import RunningService, serving, wait_until

_MIB = 2**20

# Replaces what the engine infers with, in the service's own process and not in its trial loads, once it is imported.
_SABOTAGE = """
import sys, threading, time
from pathlib import Path

def sabotage():
    while not hasattr(sys.modules.get("service.engines.openvino_engine"), "_Forms"):
        time.sleep(0.01)
    form = sys.modules["service.engines.openvino_engine"]._Form
    def sabotaged(as_ever):
        return lambda self, images: infer(as_ever, self, images)
    def infer(as_ever, self, images):
        deed = Path({deed!r}).read_text()
        if deed == "fail":
            raise RuntimeError("out of registers in /srv/secret/engine.cpp")
        if deed == "hang":
            time.sleep(3600)
        answers = as_ever(self, images)
        return {{**answers, "probabilities": answers["probabilities"][:, ::-1]}} if deed == "lie" else answers
    form.infer = sabotaged(form.infer)

if sys.orig_argv[1:3] == ["-m", "service"]:
    threading.Thread(target=sabotage, daemon=True).start()
"""


class Saboteur:
    """What the engine of the service does from now on: "fail", "hang", "lie", or nothing of the kind."""

    def __init__(self, folder: Path) -> None:
        self._deed = folder / "deed"
        self.let_be()
        (folder / "sitecustomize.py").write_text(_SABOTAGE.format(deed=str(self._deed)))
        self.environment = {"PYTHONPATH": str(folder)}

    def make(self, deed: str) -> None:
        self._deed.write_text(deed)

    def let_be(self) -> None:
        self._deed.write_text("nothing")


@pytest.fixture
def saboteur(tmp_path: Path) -> Saboteur:
    return Saboteur(tmp_path)


@pytest.fixture
def service(saboteur: Saboteur, repository: ModelRepository) -> Iterator[RunningService]:
    """A service whose engine can be spoiled, impatient and often checking itself."""
    repository.publish(1)
    with serving(
        repository.root, environment=saboteur.environment, self_check_interval_s=0.2, request_timeout_s=2
    ) as running:
        yield running


@pytest.mark.slow
def test_a_failing_engine_is_told_and_recovers(
    service: RunningService, saboteur: Saboteur, repository: ModelRepository
) -> None:
    """Callers get 500, the next one is served when it works again; not ready while it keeps failing, ready after."""
    saboteur.make("fail")
    answer = service.client.post("/predict", content=jpeg_slice())
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:lungct:problem:inference-failed")
    assert "secret" not in answer.text
    wait_until(lambda: service.client.get("/health/ready").status_code == 503, "it turns not ready though nobody asks")
    assert service.health()["reasons"] == ["the engine keeps failing or does not come back"]
    assert service.client.get("/health/live").status_code == 200
    assert service.metric("lungct_failed_batches_total") >= 3
    assert service.metric("lungct_ready") == 0
    # in a batch too, each item is told
    several = service.client.post("/predict/batch", files=[("files", ("a", jpeg_slice()))] * 3)
    assert [item["status"] for item in several.json()["results"]] == [500] * 3
    # and whoever runs it finds the cause by the id that a caller reports
    for told in (answer, several):
        lines = [line for line in service.log_lines() if told.headers["x-request-id"] in line.get("request_ids", [])]
        assert {line["level"] for line in lines} == {"ERROR"}
        assert all("out of registers in /srv/secret/engine.cpp" in line["exc_info"] for line in lines)
    saboteur.let_be()
    service.wait_ready(1)  # found out by itself: while it is not ready, nobody is sent here
    assert service.client.post("/predict", content=jpeg_slice()).status_code == 200

    saboteur.make("lie")
    wait_until(lambda: service.client.get("/health/ready").status_code == 503, "wrong answers are noticed")
    assert "gives other answers" in service.health()["reasons"][0]
    saboteur.let_be()
    service.wait_ready(1)

    # a new version that answers its golden slices ends the matter
    saboteur.make("fail")
    wait_until(lambda: service.client.get("/health/ready").status_code == 503, "it turns not ready")
    repository.publish(2)
    wait_until(lambda: service.model_info()["failures"], "it cannot be loaded with an engine that fails")
    assert service.health()["model_version"] == 1
    saboteur.let_be()
    service.wait_ready(2)


@pytest.mark.slow
def test_a_hanging_engine_is_told_and_does_not_keep_the_process(service: RunningService, saboteur: Saboteur) -> None:
    """Callers get 504 at their deadline, readiness turns false, places are given back, and SIGTERM still ends it."""
    saboteur.make("hang")
    answer = service.client.post("/predict", content=jpeg_slice())
    assert (answer.status_code, answer.json()["type"]) == (504, "urn:lungct:problem:deadline-exceeded")
    wait_until(lambda: service.client.get("/health/ready").status_code == 503, "it turns not ready")
    assert service.client.get("/health/live").status_code == 200
    answer = service.client.post("/predict", content=jpeg_slice())
    assert answer.status_code in (503, 504)
    service.signal(signal.SIGTERM)
    assert service.wait_end(30) == 0
    assert service.log_lines()[-1]["is_clean"] is False


@pytest.mark.slow
def test_hanging_up_beside_a_hanging_engine_holds_no_more_than_the_budget(
    saboteur: Saboteur, repository: ModelRepository
) -> None:
    """Of 160 callers that each send 4 MB and go, none leaves more in memory than may be in flight, and that is told."""
    repository.publish(1)
    body = png(np.random.default_rng(1).integers(0, 2**16, (1400, 1400), np.uint16), compress_level=0)
    form = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\n' + body + b"\r\n--b--\r\n"
    with serving(
        repository.root, environment=saboteur.environment, max_inflight_bytes=32 * _MIB, max_upload_bytes=8 * _MIB
    ) as running:
        for path in ("/predict", "/explain", "/render"):
            running.client.post(path, content=jpeg_slice())  # whatever each needs is there
        idle_mib, highest = running.rss_mib, 0.0
        saboteur.make("hang")
        for path in ("/predict", "/predict/batch", "/explain", "/render"):
            sent, kind = (form, "multipart/form-data; boundary=b") if path == "/predict/batch" else (body, "image/png")
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(sent)}\r\n\r\n"
            for _ in range(40):
                with running.connect() as connection, suppress(OSError):  # some are refused before they have sent all
                    connection.sendall(head.encode() + sent)
            highest = max(highest, running.rss_mib)
            # one is left: the service's question to itself
            wait_until(lambda: running.metric("lungct_queue_depth") <= 1, "all who went have given their places back")
            assert running.metric("lungct_inflight_bytes") <= 32 * _MIB
        assert highest - idle_mib < 32 + 64
        saboteur.let_be()
