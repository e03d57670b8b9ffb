"""What breaks around a running service: every accepted request gets an answer or a clean error, and it serves again.

docs/reliability.md has the table. LUNGCT_FAULT_SECONDS lengthens what lasts (`make test-faults` says 60).
"""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.ledger_check import check_ledger
from tests.model_repository import ModelRepository
from tests.serving import DEADLINE_S, RunningService, serving, wait_until
from tests.slices import jpeg_slice

pytestmark = pytest.mark.faults

SECONDS = float(os.environ.get("LUNGCT_FAULT_SECONDS", "4"))
RECOVERY_S = 10.0
CALLERS = 24


class Callers:
    """So many that ask without pause, each on a connection of its own; what each request came to."""

    def __init__(self, service: RunningService, count: int = 4) -> None:
        self.outcomes: Counter[str] = Counter()
        self.answered: list[str] = []
        self._is_over = threading.Event()
        self._url = service.url
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=DEADLINE_S) as client:
            while not self._is_over.is_set():
                try:
                    answer = client.post("/predict", content=jpeg_slice(1))
                except httpx.TransportError as error:
                    self.outcomes[type(error).__name__] += 1
                    return
                body = answer.json()  # half an answer would not be JSON
                is_clean = answer.status_code == 200 or body["type"].startswith("urn:lungct:problem:")
                self.outcomes[str(answer.status_code) if is_clean else "unclean"] += 1
                if answer.status_code == 200:
                    self.answered.append(body["request_id"])

    def stop(self) -> Counter[str]:
        """What became of all requests."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        return self.outcomes


def serves_again(service: RunningService) -> float:
    """Seconds until it answers a slice and calls itself ok; not more than it may take."""
    started = time.monotonic()
    wait_until(
        lambda: (
            service.client.post("/predict", content=jpeg_slice()).status_code == 200
            and service.health()["status"] == "ok"
        ),
        "it serves again",
        RECOVERY_S,
    )
    return time.monotonic() - started


def test_a_thousand_idle_connections(tiny_network_repository: Path) -> None:
    """They hold nobody up: every request beside them is answered, and they cost little memory."""
    with serving(tiny_network_repository) as service:
        before = service.rss_mib
        idle = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(1000)]
        callers = Callers(service)
        time.sleep(SECONDS)
        outcomes = callers.stop()
        grown = service.rss_mib - before
        for connection in idle:
            connection.close()
        assert set(outcomes) == {"200"}
        assert grown < 60
        serves_again(service)


def test_slow_callers(tiny_network_repository: Path) -> None:
    """Fifty bodies that come byte by byte take no place: others are answered, and the slow are told 408 in time."""
    with serving(tiny_network_repository, request_timeout_s=6) as service:
        slow = [service.connect() for _ in range(50)]
        for connection in slow:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        callers = Callers(service)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for connection in slow:
                connection.sendall(b"x")
            time.sleep(0.1)
        answers = [connection.recv(100)[:12] for connection in slow]
        for connection in slow:
            connection.close()
        assert set(callers.stop()) == {"200"}
        assert set(answers) == {b"HTTP/1.1 408"}
        service.wait_idle()
        serves_again(service)


def test_overload(tiny_network_repository: Path) -> None:
    """Far more callers than places: 200 or 503 and nothing else, then as before."""
    with serving(tiny_network_repository, max_queue=2) as service:
        callers = Callers(service, CALLERS)
        time.sleep(SECONDS)
        outcomes = callers.stop()
        assert set(outcomes) == {"200", "503"}
        serves_again(service)


def test_kill_under_load_loses_no_line(tiny_network_repository: Path, tmp_path: Path) -> None:
    """kill -9, ledger closed: whoever has an answer has a line, and the next process goes on in the same chain."""
    with serving(tiny_network_repository, ledger_dir=tmp_path) as service:
        callers = Callers(service)
        wait_until(lambda: len(callers.answered) > 20, "many were answered")
        service.signal(9)
        service.wait_end()
        assert "unclean" not in callers.stop()
    with serving(tiny_network_repository, ledger_dir=tmp_path) as service:
        serves_again(service)
    lines = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.read_bytes().splitlines() if line]
    assert {line.get("request_id") for line in lines} >= set(callers.answered)
    assert check_ledger(tmp_path).problems == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB, which only root can mount."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounts a small tmpfs, for which it needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("may not mount a tmpfs here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("policy", ["closed", "open"])
def test_the_ledgers_disk_is_full(tiny_network_repository: Path, small_disk: Path, policy: str) -> None:
    """Closed refuses with 503, open answers and counts; with room again it goes on, and the chain holds."""
    folder, ballast = small_disk / "ledger", small_disk / "ballast"
    with serving(tiny_network_repository, ledger_dir=folder, ledger_policy=policy) as service:
        callers = Callers(service)
        wait_until(lambda: len(callers.answered) > 5, "some were answered")
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1024))
            except OSError:
                pass
        wait_until(lambda: service.metric("lungct_ledger_up") == 0, "the disk is full")
        assert service.health()["reasons"] == ["the ledger cannot be written: No space left on device"]
        time.sleep(1)
        ballast.unlink()
        serves_again(service)
        outcomes = callers.stop()
        assert set(outcomes) == ({"200", "503"} if policy == "closed" else {"200"})
        service.signal()
        service.wait_end()
        verdict = check_ledger(folder)
        files = [one.read_bytes() for one in folder.glob("*.jsonl")]
        lines = [json.loads(line) for content in files for line in content.split(b"\n")[:-1]]
        missing = set(callers.answered) - {line.get("request_id") for line in lines}
        assert verdict.problems == []
        assert len(missing) == (0 if policy == "closed" else verdict.lost_lines)


@pytest.mark.parametrize("fault", ["vanished", "read-only", "unreadable policy"])
def test_trouble_with_the_repository(repository: ModelRepository, fault: str) -> None:
    """What serves goes on serving; degraded where it is told; when the repository is back the next version loads."""
    repository.publish(1)
    with serving(repository.root) as service:
        callers = Callers(service)
        aside = repository.root.with_name("aside")
        policy = repository.model_dir / "policy.json"
        if fault == "vanished":
            repository.root.rename(aside)
        elif fault == "read-only":
            repository.root.chmod(0o500)
        else:
            policy.write_text("{")
        if fault != "read-only":
            wait_until(lambda: service.health()["status"] == "degraded", "it is told")
        if fault == "vanished":
            aside.rename(repository.root)
        elif fault == "read-only":
            repository.root.chmod(0o700)
        else:
            policy.unlink()
        serves_again(service)
        repository.publish(2)
        service.wait_ready(2)
        assert set(callers.stop()) == {"200"}
