"""Closed-loop load: so many connections, each sending its next slice as soon as it has its answer. wrk generates it."""

import json
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.processes import cpu_seconds
from benchmarks.load.servers import Running
from benchmarks.load.slices import CONTENT_TYPE

_SCRIPT = Path(__file__).parent / "wrk.lua"
_TIMEOUT_S = 60


class NoLoadGenerator(Exception):
    """wrk is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "wrk is not installed. It generates the load: `apt-get install wrk` on Debian or Ubuntu, "
            "`brew install wrk` on macOS."
        )


class LoadFailed(Exception):
    """Requests failed that should not, so that the figures would not be about answers."""


@dataclass(frozen=True)
class LoadResult:
    """What one window of load measured."""

    connections: int
    throughput: float
    """Right answers a second."""
    p50_ms: float
    p99_ms: float
    cpu_s_per_request: float
    """Of the server's whole process tree."""
    generator_cpu_share: float
    """Cores that wrk itself took, on average."""


def require_wrk() -> str:
    """The path of wrk. Raises NoLoadGenerator."""
    path = shutil.which("wrk")
    if path is None:
        raise NoLoadGenerator
    return path


def closed_loop(running: Running, slices: Path, n_slices: int, connections: int, seconds: float) -> LoadResult:
    """Load a server for that long. slices: folder of bodies (Workload.write). Raises LoadFailed, NoLoadGenerator."""
    pid = running.process.pid
    server_before, generator_before, started = cpu_seconds(pid), _children_cpu_s(), time.monotonic()
    finished = subprocess.run(
        [
            require_wrk(), "--threads", "1", "--connections", str(connections), "--duration", f"{round(seconds)}s",
            "--timeout", f"{_TIMEOUT_S}s", "--script", str(_SCRIPT),
            *[f"--header={name}: {value}" for name, value in running.server.headers.items()], running.url,
            "--", str(slices), str(n_slices), CONTENT_TYPE,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    server_cpu_s = cpu_seconds(pid) - server_before
    generator_cpu_s, elapsed_s = _children_cpu_s() - generator_before, time.monotonic() - started
    line = next((line for line in finished.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise LoadFailed(f"wrk gave no result: {finished.stdout}{finished.stderr}")
    result = json.loads(line.removeprefix("RESULT "))
    if result["bad_status"] or result["broken"] or not result["answers"]:
        raise LoadFailed(f"{running.server.name} with {connections} connections: {result}")
    return LoadResult(
        connections=connections,
        throughput=result["answers"] / result["seconds"],
        p50_ms=result["p50_ms"],
        p99_ms=result["p99_ms"],
        cpu_s_per_request=server_cpu_s / result["answers"],
        generator_cpu_share=generator_cpu_s / elapsed_s,
    )


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
