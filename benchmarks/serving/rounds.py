"""One round: every server and the bare loop, one after the other, in random order.

Only one server is alive at a time, and each is started anew, so that whatever else the machine does, or how warm it is,
meets all of them alike.
"""

import json
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.load.closed_loop import LoadResult, closed_loop
from benchmarks.load.model import BenchModel
from benchmarks.load.processes import memory_mb
from benchmarks.load.servers import LUNGCT, Precision, Running, Server, ServerFailed, running
from benchmarks.load.slices import Workload
from benchmarks.serving.overload import OverloadResult, overload
from shared.artifact import read_manifest

MAX_QUEUE = 128
"""The service's default for LUNGCT_MAX_QUEUE."""

_WARM_UP_S = 1.0
_OVERLOAD_FACTOR, _OVERLOAD_S = 2.0, 5.0


@dataclass(frozen=True)
class Plan:
    """What a run measures, and with what."""

    rounds: int
    seconds: float
    connections: tuple[int, ...]
    servers: tuple[Server, ...]
    precision: Precision
    workload: Workload
    slices: Path
    """The workload as files."""
    model: BenchModel


@dataclass
class ServerRound:
    """One server in one round; levels by number of connections."""

    first_answer_s: float
    levels: dict[int, LoadResult] = field(default_factory=dict)
    rss_mb: float = 0.0
    pss_mb: float = 0.0
    overload: OverloadResult | None = None


@dataclass(frozen=True)
class Round:
    """All servers by name, and the bare loop by arrangement and figure."""

    servers: dict[str, ServerRound]
    bare: dict[str, dict[str, float]]
    idle_share: float
    """Of all cores just before the round; near 1 where the machine does nothing else."""


def measure_round(plan: Plan) -> Round:
    """Measure everything once. Raises ServerFailed, LoadFailed or NoLoadGenerator."""
    idle_share = psutil.cpu_times_percent(interval=2.0).idle / 100
    servers: dict[str, ServerRound] = {}
    bare: dict[str, dict[str, float]] = {}
    for job in random.sample([*plan.servers, None], len(plan.servers) + 1):
        if job is None:
            bare = _measure_bare(plan)
        else:
            servers[job.name] = _measure_server(plan, job)
    return Round(servers, bare, idle_share)


def load(plan: Plan, process: Running, connections: int, seconds: float) -> LoadResult:
    """Warm the server up with that many connections, then measure."""
    closed_loop(process, plan.slices, len(plan.workload.jpegs), connections, _WARM_UP_S)
    return closed_loop(process, plan.slices, len(plan.workload.jpegs), connections, seconds)


def _measure_bare(plan: Plan) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", "benchmarks.serving.bare", str(plan.model.versions[0]), str(plan.slices)]
    finished = subprocess.run(
        [*command, f"--seconds={plan.seconds}", f"--precision={plan.precision}"],
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    bare = dict(json.loads(finished.stdout))
    for name, figures in bare.items():
        print(f"  bare, {name}: {figures['throughput']:.1f}/s", flush=True)
    return bare


def _measure_server(plan: Plan, server: Server) -> ServerRound:
    with running(server, plan.model.versions[0], plan.workload.jpegs[0]) as process:
        _check_answers(plan, process)
        measured = ServerRound(process.first_answer_s)
        for connections in plan.connections:
            measured.levels[connections] = result = load(plan, process, connections, plan.seconds)
            print(
                f"  {server.name}, {connections} connections: {result.throughput:.1f}/s, p50 {result.p50_ms:.1f} ms, "
                f"p99 {result.p99_ms:.1f} ms, {result.cpu_s_per_request * 1e3:.2f} ms CPU",
                flush=True,
            )
        measured.rss_mb, measured.pss_mb = memory_mb(process.process.pid)
        if server.name == LUNGCT.name:
            capacity = max(level.throughput for level in measured.levels.values())
            measured.overload = overload(
                process,
                plan.slices,
                capacity=capacity,
                factor=_OVERLOAD_FACTOR,
                max_queue=MAX_QUEUE,
                seconds=_OVERLOAD_S,
            )
    return measured


def _check_answers(plan: Plan, process: Running) -> None:
    """A server that answers otherwise than TensorFlow does is not measured. Raises ServerFailed."""
    manifest = read_manifest(plan.model.versions[0])
    for jpeg, expected in zip(plan.workload.jpegs, plan.model.expected, strict=False):
        answers = process.ask(jpeg)["all_predictions"]
        answer = [answers[name] for name in manifest.classes.names]
        if not np.allclose(answer, expected, rtol=0, atol=manifest.golden_tolerance):
            raise ServerFailed(f"{process.server.name} answers {answer}; TensorFlow answers {list(expected)}")
