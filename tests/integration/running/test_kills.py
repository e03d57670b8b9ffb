"""kill -9 at random moments, stopped children, no room, no shared memory, no threads: nothing is lost, and it returns.

LUNGCT_KILLS says how often something is killed (`make test-faults` says 200), LUNGCT_FAULT_SECONDS how long what lasts.
"""

import contextlib
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import pytest

from service.ledger.verify import check_ledger
from tests.support.inputs.dicom_files import ct_file, hounsfield
from tests.support.inputs.slices import grey_slice, jpeg_slice
from tests.support.model_repository import ModelRepository
from tests.support.serving import RunningService, serving, wait_until

pytestmark = [pytest.mark.alone, pytest.mark.faults]

log = logging.getLogger("faults")
logging.getLogger("httpx").setLevel(logging.WARNING)

KILLS = int(os.environ.get("LUNGCT_KILLS", "6"))
STOPPED_S = min(30.0, float(os.environ.get("LUNGCT_FAULT_SECONDS", "4")))
BACK_S = 10.0
CHILDREN = {
    "trial": "service.model.trial_worker", "dicom": "shared.dicom.child",
    "explain": "service.engines.openvino_explain_worker",
}  # fmt: skip
JPEG, DICOM = jpeg_slice(1), ct_file(hounsfield(grey_slice(1)))
ASKED = {"predict": ("/predict", JPEG), "dicom": ("/predict", DICOM), "explain": ("/explain?format=json", JPEG)}


class Callers:
    """One caller for each thing that can be asked, who asks again and again and takes no answer for granted."""

    def __init__(self, *asked: str, timeout_s: float = 60.0) -> None:
        self.url = ""
        """Where the service listens now; nothing while there is none."""
        self.heard: Counter[tuple[str, str]] = Counter()
        """By what was asked and what came: a status, or what kept the answer from coming."""
        self.answered: list[str] = []
        """Request ids of all answers."""
        self._timeout_s = timeout_s
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=[name]) for name in asked or ASKED]
        for thread in self._threads:
            thread.start()

    def _ask(self, name: str) -> None:
        path, body = ASKED[name]
        while not self._is_over.wait(0.01):
            url = self.url
            if not url:
                continue
            with httpx.Client(base_url=url, timeout=self._timeout_s) as client:
                while url == self.url and not self._is_over.is_set():
                    try:
                        answer = client.post(path, content=body)
                    except httpx.TransportError as error:
                        self.heard[name, type(error).__name__] += 1
                        break
                    said = answer.json()  # half an answer would not be JSON
                    is_clean = answer.status_code == 200 or said["type"].startswith("urn:lungct:problem:")
                    self.heard[name, str(answer.status_code) if is_clean else "unclean"] += 1
                    self.answered.append(answer.headers["X-Request-ID"])

    def statuses(self, name: str) -> set[str]:
        return {came for asked, came in self.heard if asked == name}

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def child(service: RunningService, name: str) -> psutil.Process | None:
    """The parent of a kind of child, not those that it forked."""
    for process in service.process.children():
        with contextlib.suppress(psutil.Error):
            if CHILDREN[name] in process.cmdline():
                return process
    return None


def is_running(process: psutil.Process) -> bool:
    """No zombie: who inherits an orphan may take its time to ask how it ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_back(service: RunningService) -> float:
    """Seconds until it is ok and answers slices of either kind; no more than it may take."""
    started = time.monotonic()
    while problems := _problems(service):
        assert time.monotonic() - started < BACK_S, problems
        time.sleep(0.1)
    taken_s = time.monotonic() - started
    assert taken_s < BACK_S
    return taken_s


def _problems(service: RunningService) -> list[str]:
    health = service.health()
    if health["status"] != "ok":
        return [f"health: {health}"]
    answers = {name: service.client.post(ASKED[name][0], content=ASKED[name][1]) for name in ("predict", "dicom")}
    return [f"{name}: {answer.text[:500]}" for name, answer in answers.items() if answer.status_code != 200]


def answers_all(service: RunningService) -> None:
    """Explanations, too, which get the cores that nobody else wants, and so take their time on a busy machine."""
    is_back(service)
    path, body = ASKED["explain"]
    wait_until(lambda: service.client.post(path, content=body).status_code == 200, "an explanation")


def request_ids(folder: Path) -> set[str]:
    lines = [line for file in folder.glob("*.jsonl") for line in file.read_bytes().split(b"\n")[:-1]]
    return {json.loads(line).get("request_id") for line in lines}


# --- kills ------------------------------------------------------------------------------------------------------------


def _kill(service: RunningService, ledger: Path, scratch: Path) -> set[Path]:
    """kill -9: nothing of it goes on, and its ledger is whole but for its end. What it leaves in the scratch folder."""
    children = service.children
    service.signal(signal.SIGKILL)
    service.wait_end()
    wait_until(lambda: not any(is_running(one) for one in children), "its children end")
    assert [one for one in check_ledger(ledger).problems if "ends amid a line" not in one] == []
    return set(scratch.iterdir())


def test_whatever_is_killed_no_answer_lacks_its_line(repository: ModelRepository, tmp_path: Path) -> None:
    """The service or one of its children, at a random moment under load, ledger closed: it returns, and loses nothing.

    Afterwards no folder of a process that has gone is left, and the ledger is whole but for an end that tore.
    """
    chance, ledger, scratch = random.Random(KILLS), tmp_path / "ledger", tmp_path / "scratch"
    scratch.mkdir()
    repository.publish(1)
    repository.publish(2)
    settings: dict[str, Any] = {
        "ledger_dir": ledger, "ledger_policy": "closed", "environment": {"TMPDIR": str(scratch)},
    }  # fmt: skip
    killed: Counter[str] = Counter()
    slowest: dict[str, float] = {}
    victims, wanted = ["service", *CHILDREN], 2
    with contextlib.ExitStack() as stack, Callers() as callers:
        service = stack.enter_context(serving(repository.root, **settings))
        while killed.total() < KILLS:
            callers.url = service.url
            victim = victims.pop() if victims else chance.choice(["service", *CHILDREN])
            if victim == "trial" or (victim == "service" and chance.random() < 0.5):
                wanted = 3 - service.health()["model_version"]
                repository.pin(wanted)
                wait_until(partial(child, service, "trial"), "a version is tried")
            time.sleep(chance.uniform(0, 1.0))
            if victim == "service":
                before = _kill(service, ledger, scratch)
                callers.url = ""
                stack.pop_all().close()
                service = stack.enter_context(serving(repository.root, **settings))
                taken_s = time.monotonic() - service.started
                assert before.isdisjoint(scratch.iterdir())
                assert taken_s < BACK_S
            else:
                process = child(service, victim)
                if process is None:  # the trial has just ended
                    continue
                process.kill()
                if victim == "trial":  # it is tried again, with low priority
                    service.wait_ready(wanted)
                taken_s = is_back(service)
            killed[victim] += 1
            slowest[victim] = max(slowest.get(victim, 0.0), taken_s)
        callers.stop()
        service.signal()
        assert service.wait_end() == 0
    log.info("killed %s; slowest return, s: %s; heard %s", dict(killed), slowest, dict(callers.heard))
    assert check_ledger(ledger).problems == []
    assert set(callers.answered) <= request_ids(ledger)
    assert list(scratch.iterdir()) == []
    for name in ASKED:
        assert "200" in callers.statuses(name)
        assert "unclean" not in callers.statuses(name)


# --- stopped ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHILDREN)
def test_a_stopped_child_keeps_nobody_else(repository: ModelRepository, name: str) -> None:
    """SIGSTOP: who needs that child is answered or refused in time, others as ever; after SIGCONT all is as before."""
    repository.publish(1)
    with serving(repository.root, request_timeout_s=20, load_timeout_s=60) as service:
        answers_all(service)  # and so every child is there
        if name == "trial":
            repository.publish(2)
        process = wait_until(lambda: child(service, name), f"the child for {name} is there")
        with Callers() as callers:
            callers.url = service.url
            process.suspend()
            time.sleep(STOPPED_S)
            process.resume()
            callers.stop()
        log.info("%s stopped for %g s: %s", name, STOPPED_S, dict(callers.heard))
        if name == "trial":
            service.wait_ready(2)
        answers_all(service)
        assert callers.statuses("predict") == {"200"}
        for asked in ("dicom", "explain"):
            allowed = {"200", "503", "504"} if asked == name else {"200"}
            assert callers.statuses(asked) <= allowed


# --- what a service stands on -----------------------------------------------------------------------------------------


@contextmanager
def _mounted(folder: Path, size: str) -> Iterator[Path]:
    """A file system of that size, which only root can mount."""
    folder.mkdir()
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounts a small tmpfs, for which it needs root")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, check=False).returncode:
        pytest.skip("may not mount a tmpfs here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_no_room_for_temporary_files(repository: ModelRepository, tmp_path: Path) -> None:
    """A full volume: what serves goes on, also for DICOM; a new version waits, and comes by itself with room again."""
    repository.publish(1)
    with (
        _mounted(tmp_path / "scratch", "64m") as scratch,
        serving(repository.root, environment={"TMPDIR": str(scratch)}) as service,
        Callers() as callers,
    ):
        answers_all(service)
        callers.url = service.url
        _fill(scratch / "ballast")
        repository.publish(2)
        wait_until(lambda: service.health()["status"] == "degraded", "it is told")
        time.sleep(1)
        assert service.health()["model_version"] == 1
        (scratch / "ballast").unlink()
        callers.stop()
        service.wait_ready(2)
        answers_all(service)
        assert {came for _, came in callers.heard} == {"200"}


def test_a_start_without_room(repository: ModelRepository, tmp_path: Path) -> None:
    """It says what is missing, and serves by itself as soon as there is room."""
    repository.publish(1)
    with _mounted(tmp_path / "scratch", "64m") as scratch:
        _fill(scratch / "ballast")
        with serving(repository.root, environment={"TMPDIR": str(scratch)}, is_ready=False) as service:
            wait_until(lambda: "No space left" in " ".join(service.health()["reasons"]), "it says why")
            assert service.client.post("/predict", content=JPEG).status_code == 503
            (scratch / "ballast").unlink()
            wait_until(lambda: service.health()["status"] == "ok", "back", BACK_S)
            is_back(service)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))


_NO_SHARED_MEMORY = """
set -e
mount -t tmpfs tmpfs "$0"
for name in null zero full random urandom; do touch "$0/$name"; mount --bind /dev/$name "$0/$name"; done
ln -s /proc/self/fd "$0/fd"
mount --rbind "$0" /dev
test ! -e /dev/shm
exec "$@"
"""


def test_no_shared_memory(repository: ModelRepository, tmp_path: Path) -> None:
    """Without /dev/shm, as in some sandboxes, everything is answered, and a version is taken."""
    folder = tmp_path / "dev"
    folder.mkdir()
    prefix = ["unshare", "--mount", "sh", "-c", _NO_SHARED_MEMORY, str(folder)]
    if os.getuid() != 0 or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("may not have mounts of its own here")
    repository.publish(1)
    with serving(repository.root, prefix=prefix) as service:
        answers_all(service)
        repository.publish(2)
        service.wait_ready(2)


_TAKE_EVERY_THREAD = """
import sys, threading
try:
    while True:
        threading.Thread(target=sys.stdin.read, daemon=True).start()
except RuntimeError:
    print("all taken", flush=True)
sys.stdin.read()
"""


@contextmanager
def _threads_taken(prefix: list[str]) -> Iterator[None]:
    """Another program of the same user has all that the limit leaves."""
    command = [*prefix, sys.executable, "-c", _TAKE_EVERY_THREAD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as taker:
        try:
            assert taker.stdout is not None
            assert taker.stdout.readline() == b"all taken\n"
            yield
        finally:
            taker.kill()


def test_no_thread_and_no_process_can_start(repository: ModelRepository, tmp_path: Path) -> None:
    """`ulimit -u` reached: who needs a new one is refused cleanly, others are answered; then all is as before."""
    capabilities = "+dac_override,+dac_read_search"  # another user, to whom this machine's files are open
    prefix = [
        "setpriv", "--reuid=54321", "--clear-groups", f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}",
        "prlimit", "--nproc=256",
    ]  # fmt: skip
    if os.getuid() != 0 or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("starts the service as another user, for which it needs root")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    repository.publish(1)
    with serving(repository.root, prefix=prefix, environment={"TMPDIR": str(scratch)}) as service, Callers() as callers:
        with _threads_taken(prefix):
            callers.url = service.url
            repository.publish(2)
            time.sleep(STOPPED_S)
        callers.stop()
        service.wait_ready(2)
        answers_all(service)
        log.info("no threads for %g s: %s", STOPPED_S, dict(callers.heard))
        assert {came for _, came in callers.heard} <= {"200", "503"}
        assert "200" in callers.statuses("predict")
