"""Start the real service as its own process, and look at it from outside: HTTP, signals, log, memory."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

DEADLINE_S = 120.0
"""For whatever must happen soon; generous, because machines that run tests are busy."""

_ROOT = Path(__file__).parents[2]
_RUNNING_ON = "Uvicorn running on http://127.0.0.1:"


def wait_until(holds: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of holds(), asked again until the deadline."""
    end = time.monotonic() + deadline_s
    while not (value := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline_s:g} s: {what}")
        time.sleep(0.02)
    return value


class RunningService:
    """One `python -m service` process. Settings are given by field name: poll_interval_s=0.1."""

    def __init__(
        self,
        repository: Path,
        settings: dict[str, Any],
        environment: dict[str, str] | None = None,
        arguments: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        """prefix: a command that runs the service by exec, such as unshare."""
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 - closed by close()
        named = {"model_repository": repository, "port": 0, "poll_interval_s": 0.1, "drain_delay_s": 0, **settings}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUNGCT_")}
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "service", *arguments],
            cwd=_ROOT,
            env={
                **inherited,
                **{f"LUNGCT_{name.upper()}": str(value) for name, value in named.items()},
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )
        try:
            self.port = int(wait_until(self._announced_port, "the service listens"))
        except BaseException:
            self.close()
            raise
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=DEADLINE_S)
        self.process = psutil.Process(self._process.pid)

    def _announced_port(self) -> str | None:
        self._check_alive()
        _, found, after = self.log_text().partition(_RUNNING_ON)
        return after.split()[0] if found and " " in after else None

    def _check_alive(self) -> None:
        if self._process.poll() is not None:
            raise RuntimeError(f"the service ended with {self._process.returncode}:\n{self.log_text()[-5000:]}")

    # --- what it says -------------------------------------------------------------------------------------------------

    def log_text(self) -> str:
        """Everything that it wrote to stderr."""
        return Path(self._log.name).read_text("utf-8")

    def log_lines(self) -> list[dict[str, Any]]:
        """Its complete log lines; raises where one is no JSON object."""
        return [dict(json.loads(line)) for line in self.log_text().split("\n")[:-1]]

    def log_year(self) -> int:
        """The year of its last complete log line."""
        return int(self.log_lines()[-1]["time"][:4])

    def metric(self, name: str, **labels: str) -> float:
        """The value of one sample of /metrics; 0 where it does not exist yet."""
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith((f"{name} ", f"{name}{{")) and all(f'{k}="{v}"' in line for k, v in labels.items()):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def health(self) -> dict[str, Any]:
        """/health as JSON."""
        return dict(self.client.get("/health").json())

    def model_info(self) -> dict[str, Any]:
        """/model-info as JSON."""
        return dict(self.client.get("/model-info").json())

    def wait_ready(self, version: int | None = None) -> Self:
        """Return when it is ready, with this version where one is named."""

        def is_ready() -> bool:
            self._check_alive()
            answer = self.client.get("/health/ready")
            return answer.status_code == 200 and version in (None, answer.json()["model_version"])

        wait_until(is_ready, f"version {version or 'any'} serves")
        return self

    def wait_idle(self) -> None:
        """Return when it holds no place and no byte for anybody."""
        wait_until(
            lambda: self.metric("lungct_queue_depth") == 0 and self.metric("lungct_inflight_bytes") == 0,
            "all places and bytes are given back",
        )

    @property
    def rss_mib(self) -> float:
        """Resident memory."""
        return float(self.process.memory_info().rss) / 2**20

    def forget_peak(self) -> None:
        """Let peak_rss_mib count from now on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def peak_rss_mib(self) -> float:
        """The most resident memory since forget_peak()."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        return next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024

    @property
    def children(self) -> list[psutil.Process]:
        """Its child processes: trial loads, DICOM decoders, explanations."""
        return list(self.process.children(recursive=True))

    # --- what is done to it -------------------------------------------------------------------------------------------

    def connect(self) -> socket.socket:
        """A raw connection, for what no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait_end(self, deadline_s: float = DEADLINE_S) -> int:
        """Its exit code."""
        return self._process.wait(deadline_s)

    def close(self) -> None:
        """End it, gently at first."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if hasattr(self, "client"):
            self.client.close()
        self._log.close()


@contextmanager
def serving(
    repository: Path,
    *,
    environment: dict[str, str] | None = None,
    arguments: Sequence[str] = (),
    prefix: Sequence[str] = (),
    is_ready: bool = True,
    **settings: Any,
) -> Iterator[RunningService]:
    """A running service, ready unless told otherwise; ended on leaving."""
    service = RunningService(repository, settings, environment, arguments, prefix)
    try:
        yield service.wait_ready() if is_ready else service
    finally:
        service.close()
