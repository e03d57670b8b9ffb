"""SIGTERM: not ready at once, still answering for the drain delay, accepted work finished, exit code 0, in time."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.inputs.slices import jpeg_slice
from tests.support.model_repository import ModelRepository
from tests.support.serving import DEADLINE_S, RunningService, serving, wait_until

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.alone
def test_what_comes_within_the_drain_delay_is_answered(tiny_network_repository: Path) -> None:
    """After SIGTERM: not ready, alive, predictions still answered; then the door closes and the exit code is 0."""
    with serving(tiny_network_repository, drain_delay_s=3) as service:
        kept = httpx.Client(base_url=service.url)
        assert kept.get("/health/live").headers.get("connection") is None
        service.signal(signal.SIGTERM)
        told = time.monotonic()
        wait_until(lambda: service.client.get("/health/ready").status_code == 503, "it turns not ready")
        assert time.monotonic() - told < 1
        assert "shutting down" in service.health()["reasons"][0]
        assert service.client.get("/health/live").status_code == 200
        answered = 0
        while time.monotonic() - told < 2:
            answer = service.client.post("/predict", content=jpeg_slice(answered))
            assert answer.status_code == 200
            assert answer.headers["connection"] == "close"  # so that callers find another instance
            answered += 1
        assert answered > 5
        assert service.wait_end() == 0
        assert 2.9 < time.monotonic() - told < 10
        with pytest.raises(httpx.TransportError):
            service.client.get("/health/live")
        kept.close()


@pytest.mark.slow
def test_no_accepted_request_is_lost_under_load(tiny_network_repository: Path) -> None:
    """Callers that ask without pause while it ends: whatever was accepted is answered; then there is no connection."""
    outcomes: list[str] = []
    with serving(tiny_network_repository, drain_delay_s=1) as service:

        def ask() -> None:
            slice_ = jpeg_slice(1, side=512)
            while True:
                # a connection for each request: what is refused while connecting was never accepted
                with httpx.Client(base_url=service.url, timeout=DEADLINE_S) as client:
                    try:
                        outcomes.append(str(client.post("/predict", content=slice_).status_code))
                    except httpx.ConnectError:
                        return
                    except httpx.TransportError as error:
                        outcomes.append(repr(error))
                        return

        callers = [threading.Thread(target=ask) for _ in range(8)]
        for caller in callers:
            caller.start()
        wait_until(lambda: len(outcomes) > 50, "the load is there")
        service.signal(signal.SIGTERM)
        assert service.wait_end() == 0
        for caller in callers:
            caller.join()
        last = service.log_lines()[-1]
    answered = sum(outcome == "200" for outcome in outcomes)
    refused = sum(outcome == "503" for outcome in outcomes)
    # what the kernel took in the very moment of closing was accepted by nobody: one connection for each caller at most
    assert answered + refused >= len(outcomes) - len(callers)
    assert set(outcomes) <= {"200", "503", *(one for one in outcomes if "Error" in one)}
    assert (last["message"], last["is_clean"]) == ("stopped", True)


def test_an_upload_under_way_is_finished(tiny_network_repository: Path) -> None:
    """A body that has begun before SIGTERM and ends after the drain delay is still answered with its prediction."""
    with serving(tiny_network_repository, drain_delay_s=0.2, grace_period_s=60) as service:
        slice_ = jpeg_slice(1)
        with service.connect() as connection:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(slice_)}\r\n\r\n"
            connection.sendall(head.encode() + slice_[:1000])
            wait_until(lambda: service.metric("lungct_inflight_bytes") == 1000, "the body has begun")
            service.signal(signal.SIGTERM)
            wait_until(lambda: _is_closed(service), "the door is closed")
            connection.sendall(slice_[1000:])
            assert b" 200 OK" in connection.recv(100_000).splitlines()[0]
        assert service.wait_end() == 0


def _is_closed(service: RunningService) -> bool:
    try:
        service.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.slow
def test_the_grace_period_bounds_the_end(tiny_network_repository: Path) -> None:
    """A caller that never ends its body cannot keep the service: it exits with 0 soon after the grace period."""
    with serving(tiny_network_repository, grace_period_s=1) as service, service.connect() as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nhalf")
        wait_until(lambda: service.metric("lungct_inflight_bytes") == 4, "the body has begun")
        service.signal(signal.SIGTERM)
        told = time.monotonic()
        assert service.wait_end() == 0
        assert time.monotonic() - told < 10


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_cuts_short(tiny_network_repository: Path, number: int) -> None:
    """A long drain delay ends with the second signal, a long grace period with the third; the code is 0."""
    with (
        serving(tiny_network_repository, drain_delay_s=300, grace_period_s=300) as service,
        service.connect() as connection,
    ):
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nhalf")
        wait_until(lambda: service.metric("lungct_inflight_bytes") == 4, "the body has begun")
        service.signal(number)
        wait_until(lambda: service.client.get("/health/ready").status_code == 503, "it drains")
        service.signal(number)
        wait_until(lambda: _is_closed(service), "the door is closed")
        with pytest.raises(subprocess.TimeoutExpired):
            service.wait_end(0.3)  # the grace period has begun
        service.signal(number)
        assert service.wait_end(30) == 0


def test_it_ends_while_a_version_is_loaded(repository: ModelRepository) -> None:
    """SIGTERM before the first model, with a load that hangs: exit code 0 at once, and no process is left."""
    folder = repository.publish(1)
    (folder / "manifest.json").unlink()
    _make_fifo(folder / "manifest.json")
    with serving(repository.root, is_ready=False) as service:
        wait_until(lambda: service.model_info()["loading"] == 1, "the load has begun")
        children = service.children
        assert children
        service.signal(signal.SIGTERM)
        assert service.wait_end(30) == 0
        wait_until(lambda: not any(child.is_running() for child in children), "the trial load is gone")


def test_an_end_in_the_middle_of_the_start_leaves_nothing(tiny_network_repository: Path, tmp_path: Path) -> None:
    """SIGTERM while the server is still imported and the first version proven: exit code 0, no folder, no process."""
    scratch, go_on = tmp_path / "scratch", tmp_path / "go on"
    scratch.mkdir()
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        while name == 'uvicorn' and not pathlib.Path({str(go_on)!r}).exists():\n"
        "            time.sleep(0.01)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )
    settings = {"LUNGCT_MODEL_REPOSITORY": str(tiny_network_repository), "LUNGCT_PORT": "0", "TMPDIR": str(scratch)}
    started = subprocess.Popen(
        [sys.executable, "-m", "service"], cwd=ROOT, env={**settings, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: list(scratch.glob("lungct-load-*")), "a load has begun")
        children = psutil.Process(started.pid).children()
        started.send_signal(signal.SIGTERM)
        go_on.touch()
        _, said = started.communicate(timeout=DEADLINE_S)
    finally:
        started.kill()
    assert (started.returncode, "running on" in said) == (0, False), said
    assert list(scratch.iterdir()) == []
    assert not any(child.is_running() for child in children)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_no_temporary_file_outlives_a_load(tiny_network_repository: Path, tmp_path: Path, number: int) -> None:
    """Ended while TensorFlow loads, which cannot be hurried: nothing is left; killed: nothing after the next start."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {"TMPDIR": str(scratch)}
    with serving(tiny_network_repository, engine="tensorflow", environment=environment, is_ready=False) as service:
        wait_until(lambda: list(scratch.rglob("manifest.json")), "the trial has verified the version")
        service.signal(number)
        assert service.wait_end() == (0 if number == signal.SIGTERM else -number)
    if number == signal.SIGKILL:
        assert list(scratch.iterdir())
        with serving(tmp_path, environment=environment, is_ready=False):
            assert list(scratch.iterdir()) == []
    assert list(scratch.iterdir()) == []


def _make_fifo(path: Path) -> None:
    subprocess.run(["mkfifo", str(path)], check=True)


def test_a_bad_setting_ends_the_start() -> None:
    """Exit code 2, and one line that names the setting, what is wrong with it and what came."""
    ended = _run(LUNGCT_MAX_QUEUE="none", LUNGCT_ENGINE="onnx")
    assert ended.returncode == 2
    lines = sorted(ended.stderr.splitlines())
    assert [line.split(":")[0] for line in lines] == ["LUNGCT_ENGINE", "LUNGCT_MAX_QUEUE"]
    assert "'none'" in lines[1]
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_ends_the_start(service: RunningService) -> None:
    """An exit code that is not 0, with the reason as a log line."""
    ended = _run(LUNGCT_PORT=str(service.port), LUNGCT_MODEL_REPOSITORY="no-such-folder")
    assert ended.returncode not in (0, 2)
    assert "address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_help_lists_every_setting() -> None:
    """--help names each environment variable with its sentence and its default."""
    ended = _run("--help")
    assert ended.returncode == 0
    for name in ("LUNGCT_MODEL_REPOSITORY", "LUNGCT_MAX_QUEUE", "LUNGCT_DRAIN_DELAY_S", "LUNGCT_PORT"):
        assert name in ended.stdout


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
