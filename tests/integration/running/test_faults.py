"""What breaks around a running service: every accepted request gets an answer or a clean error, and it serves again.

docs/explanation/reliability.md has the table. LUNGCT_FAULT_SECONDS lengthens what lasts (`make test-faults` says 60).
"""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from benchmarks.load.slices import form
from service.auth.api_keys import key_line, make_key
from service.auth.rate_limit import Limit
from service.ledger.verify import check_ledger
from tests.support.inputs.slices import jpeg_slice
from tests.support.model_repository import ModelRepository
from tests.support.published import publish_untrained
from tests.support.serving import DEADLINE_S, RunningService, serving, wait_until

pytestmark = [pytest.mark.alone, pytest.mark.faults]

log = logging.getLogger("faults")

SECONDS = float(os.environ.get("LUNGCT_FAULT_SECONDS", "4"))
RECOVERY_S = 10.0
CAPACITY_S = 4.0
ROOT = Path(__file__).parents[3]
FAKE_CLOCK = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


class Callers:
    """So many that ask without pause, each on a connection of its own; what each request came to."""

    def __init__(self, service: RunningService, count: int = 4, *, key: str = "") -> None:
        self.outcomes: Counter[str] = Counter()
        self.answered: list[str] = []
        self._is_over = threading.Event()
        self._url = service.url
        self._headers = {"X-API-Key": key} if key else {}
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, headers=self._headers, timeout=DEADLINE_S) as client:
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
    """Seconds until it answers a slice and calls itself ok; no more than it may take. `make test-faults` shows them."""
    started = time.monotonic()
    wait_until(
        lambda: (
            service.client.post("/predict", content=jpeg_slice()).status_code == 200
            and service.health()["status"] == "ok"
        ),
        "it serves again",
        RECOVERY_S,
    )
    taken_s = time.monotonic() - started
    log.info("serves again after %.2f s", taken_s)
    return taken_s


def test_a_thousand_idle_connections(tiny_network_repository: Path) -> None:
    """They hold nobody up: every request beside them is answered, and they cost little memory."""
    with serving(tiny_network_repository) as service:
        before = service.rss_mib
        idle = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(1000)]
        callers = Callers(service)
        time.sleep(SECONDS)
        outcomes = callers.stop()
        log.info("%s", dict(outcomes))
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


@pytest.fixture(scope="module")
def slow_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained `cnn`: so slow that one program can ask for ten times what it answers."""
    repository = tmp_path_factory.mktemp("slow")
    publish_untrained(repository, seed=0, network="cnn")
    return repository


def test_ten_times_what_it_can_answer(slow_repository: Path, tmp_path: Path) -> None:
    """At a constant rate, whether or not earlier ones were answered: 200 or 503 and nothing else, then as before."""
    (tmp_path / "0.form").write_bytes(form(jpeg_slice(1)))
    with serving(slow_repository, engine_threads=1, max_queue=16) as service:
        callers = Callers(service, 16)
        time.sleep(CAPACITY_S)
        capacity = callers.stop()["200"] / CAPACITY_S
        rate = 10 * capacity
        offered = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.load.open_loop", str(service.port), "/predict", str(tmp_path),
                f"--rate={rate}", f"--seconds={SECONDS}",
            ],
            cwd=ROOT, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        serves_again(service)
    statuses = Counter(status for _, _, status in json.loads(offered.stdout.splitlines()[-1]))
    log.info("capacity %.0f a second, %.0f offered: %s", capacity, rate, dict(statuses))
    assert set(statuses) == {200, 503}
    assert statuses[503] > 5 * statuses[200]
    assert statuses[200] > capacity * SECONDS / 4  # who is refused takes little from who is answered


@pytest.mark.skipif(FAKE_CLOCK is None, reason="steps the clock with libfaketime, which is not installed")
@pytest.mark.parametrize("step", ["+3650d", "-3650d"])
def test_the_clock_steps(repository: ModelRepository, tmp_path: Path, step: str) -> None:
    """Ten years forth or back under load, with a ledger and a limit: nobody is refused or kept waiting.

    Loading a version is not tried: libfaketime bends waits by the monotonic clock, too, as no real step does.
    """
    clock, ledger, keys = tmp_path / "clock", tmp_path / "ledger", tmp_path / "keys.txt"
    clock.write_text("+0")
    key = make_key()
    keys.write_text(f"{key_line('test', key, Limit.parse('1000000/3600'))}\n", "utf-8")
    environment = {
        "LD_PRELOAD": str(FAKE_CLOCK),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",  # seconds; without, every look at the clock reads the file
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as when an administrator or NTP sets the time
    }
    with serving(
        repository.root, environment=environment, is_ready=False, ledger_dir=ledger, api_keys_file=keys
    ) as service:
        service.client.headers["X-API-Key"] = key
        repository.publish(
            1
        )  # not before: where waits end at once, who waits for the trial keeps imports from going on
        service.wait_ready(1)
        callers = Callers(service, key=key)
        wait_until(lambda: len(callers.answered) > 20, "some were answered")
        clock.write_text(step)
        wait_until(lambda: abs(service.log_year() - datetime.now(UTC).year) > 5, "the service sees another year")
        serves_again(service)
        time.sleep(SECONDS)
        assert set(callers.stop()) == {"200"}
        service.signal()
        assert service.wait_end() == 0
    assert check_ledger(ledger).problems == []


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
        with TROUBLE[fault](repository):
            if fault == "read-only":
                time.sleep(1)  # ten looks at the repository, which find nothing wrong
                assert service.health()["status"] == "ok"
            else:
                wait_until(lambda: service.health()["status"] == "degraded", "it is told")
        serves_again(service)
        repository.publish(2)
        service.wait_ready(2)
        assert set(callers.stop()) == {"200"}


@contextmanager
def vanished(repository: ModelRepository) -> Iterator[None]:
    """As a volume that is not mounted any more."""
    aside = repository.root.with_name("aside")
    repository.root.rename(aside)
    yield
    aside.rename(repository.root)


@contextmanager
def read_only(repository: ModelRepository) -> Iterator[None]:
    """A file system that nobody may write to, not even root."""
    if os.getuid() != 0:
        pytest.skip("mounts the repository read-only, for which it needs root")
    if subprocess.run(["mount", "--bind", repository.root, repository.root], check=False).returncode:
        pytest.skip("may not mount here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", repository.root], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (repository.model_dir / "anything").touch()
        yield
    finally:
        subprocess.run(["umount", "--lazy", repository.root], check=True)


@contextmanager
def unreadable_policy(repository: ModelRepository) -> Iterator[None]:
    """Half of a JSON file, as an editor leaves it."""
    policy = repository.model_dir / "policy.json"
    policy.write_text("{")
    yield
    policy.unlink()


TROUBLE = {"vanished": vanished, "read-only": read_only, "unreadable policy": unreadable_policy}
