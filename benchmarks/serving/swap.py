"""make bench-swap: steady load while the served version is swapped again and again.

Blocks with swaps and pauses without any alternate in one run under one unbroken load, so both see the same machine.
"""

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.load.closed_loop import LoadFailed, NoLoadGenerator, closed_loop, require_wrk
from benchmarks.load.machine import describe_machine
from benchmarks.load.model import BenchModel, publish_networks
from benchmarks.load.open_loop import OpenLoop, Sample
from benchmarks.load.processes import memory_mb
from benchmarks.load.servers import LUNGCT, PRECISION, Precision, Running, ServerFailed, in_precision, running
from benchmarks.load.slices import find_workload
from benchmarks.results.report import print_ratios, write_tables
from benchmarks.results.rows import RESULTS, spread, write_results
from trainer.publishing.repository import pin

_BLOCK = 10
"""Swaps in a row, before a pause a quarter as long."""
_SETTLE_S = 5.0
_LET_GO_S = 2.0
"""The old version goes with its last request, also where a load took all the time there was."""
_SWAP_DEADLINE_S = 60.0


@dataclass
class SwapLog:
    """What happened when, in Unix time."""

    with_swaps: list[tuple[float, float]] = field(default_factory=list)
    without: list[tuple[float, float]] = field(default_factory=list)
    rss_mb: dict[int, float] = field(default_factory=dict)
    """By number of swaps asked for so far."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the results, return the exit code."""
    args = _parse(arguments)
    try:
        require_wrk()
        with tempfile.TemporaryDirectory(prefix="lungct-bench-") as folder:
            figures = _measure(args, Path(folder))
    except (NoLoadGenerator, LoadFailed, ServerFailed) as error:
        print(f"bench-swap: {error}", file=sys.stderr)
        return 1
    ratios = {
        "swap_failed": figures["failed"],
        "swap_p99_ratio": figures["p99_ms_with"] / figures["p99_ms_without"],
        "swap_rss_ratio_100": _last(figures["rss_mb_after"]) / figures["rss_mb_after"]["1"],
    }
    print_ratios(ratios)
    if args.results:
        results = write_results(args.results, {"swap": figures, "ratios": ratios})
        if args.results == RESULTS:
            write_tables(results)
    return 0


def _measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    workload, slices = find_workload(), folder / "slices"
    workload.write(slices)
    model = publish_networks(folder / "models", slices, 2, args.network)
    pin(model.versions[0].parent, 1)
    with running(in_precision(LUNGCT, args.precision), model.versions[0], workload.jpegs[0]) as process:
        windows_s = [1.0, 1.0] if args.quick else [2.0, 4.0, 4.0, 4.0]
        rates = [closed_loop(process, slices, len(workload.jpegs), 16, window).throughput for window in windows_s]
        capacity = statistics.median(rates[1:])  # the first warms up
        rate = args.load * capacity
        print(f"capacity {capacity:.0f}/s, load {rate:.0f}/s", flush=True)
        log, samples = _swap_under_load(args, process, slices, model, rate)
        loads = _loads(process.log)[1:]  # the first was the start
    return {
        "command": shlex.join(
            ["make", "bench-swap", *([f"BENCH_ARGS={shlex.join(sys.argv[1:])}"] if sys.argv[1:] else [])]
        ),
        "machine": describe_machine(),
        "precision": args.precision,
        "capacity_per_s": capacity,
        "load": args.load,
        "rate_per_s": rate,
        "swap_every_s": args.every,
        "swaps_asked": args.swaps,
        "swaps_done": len(loads),
        "requests": len(samples),
        "failed": sum(sample.status != HTTPStatus.OK for sample in samples),
        "failed_by_status": _failed(samples),
        "failed_by_status_without": _failed(_within(samples, log.without)),
        "p50_ms_without": _percentile(samples, log.without, 50),
        "p50_ms_with": _percentile(samples, log.with_swaps, 50),
        "p99_ms_without": _percentile(samples, log.without, 99),
        "p99_ms_with": _percentile(samples, log.with_swaps, 99),
        "p99_ms_loading": _percentile(samples, loads, 99),
        "load_s": spread([end - start for start, end in loads]),
        "rss_mb_after": {str(number): value for number, value in log.rss_mb.items()},
    }


def _swap_under_load(
    args: argparse.Namespace, process: Running, slices: Path, model: BenchModel, rate: float
) -> tuple[SwapLog, list[Sample]]:
    pause_s = min(_BLOCK, args.swaps) * args.every / 4
    log = SwapLog()
    load = OpenLoop(process, slices, rate)
    try:
        time.sleep(_SETTLE_S)
        done = 0
        while done < args.swaps:
            log.without.append(_during(pause_s))
            started = time.time()
            for _ in range(min(_BLOCK, args.swaps - done)):
                done += 1
                _swap(args, process, model, done, log)
            log.with_swaps.append((started, time.time()))
        log.without.append(_during(pause_s))
        return log, load.samples()
    finally:
        load.stop()


def _swap(args: argparse.Namespace, process: Running, model: BenchModel, number: int, log: SwapLog) -> None:
    """Pin the other version, wait for it and for the end of its time, and then read memory: the old one has gone.

    Raises ServerFailed where the service does not take it.
    """
    at = time.monotonic()
    version = int(model.versions[number % len(model.versions)].name)
    pin(model.versions[0].parent, version)
    while process.health()["model_version"] != version:
        if time.monotonic() - at > _SWAP_DEADLINE_S:
            raise ServerFailed(f"version {version} was not taken within {_SWAP_DEADLINE_S:g} s: {process.health()}")
        time.sleep(0.25)
    time.sleep(max(_LET_GO_S, at + args.every - time.monotonic()))
    if number in {1, 50, 100, args.swaps}:
        log.rss_mb[number] = memory_mb(process.process.pid)[0]
        print(f"  after {number} swaps: {log.rss_mb[number]:.0f} MB", flush=True)


def _loads(log: Path) -> list[tuple[float, float]]:
    """Begin and end of every load of a model, in Unix time, as the service's log tells."""
    loads = []
    for line in log.read_text("utf-8", "replace").splitlines():
        if '"model loaded"' in line:
            entry = json.loads(line)
            end = datetime.fromisoformat(entry["time"]).timestamp()
            loads.append((end - entry["load_s"], end))
    return loads


def _during(seconds: float) -> tuple[float, float]:
    started = time.time()
    time.sleep(seconds)
    return started, time.time()


def _percentile(samples: Sequence[Sample], windows: Sequence[tuple[float, float]], percent: float) -> float:
    """Latency of the requests that were due within any of the windows, ms."""
    return float(np.percentile([sample.latency_ms for sample in _within(samples, windows)], percent))


def _within(samples: Sequence[Sample], windows: Sequence[tuple[float, float]]) -> list[Sample]:
    return [sample for sample in samples if any(start <= sample.due <= end for start, end in windows)]


def _failed(samples: Sequence[Sample]) -> dict[str, int]:
    """How many requests were answered otherwise than with 200, by status; 0 is no answer."""
    return dict(Counter(str(sample.status) for sample in samples if sample.status != HTTPStatus.OK))


def _last(by_number: dict[str, float]) -> float:
    return by_number[max(by_number, key=int)]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.swap", description=__doc__)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--every", type=float, default=10.0, help="seconds from one swap to the next (default 10)")
    parser.add_argument("--load", type=float, default=0.7, help="share of the measured capacity (default 0.7)")
    parser.add_argument("--network", default="cnn", help="network that is published untrained (default cnn)")
    parser.add_argument("--precision", choices=get_args(Precision), default=PRECISION, help=f"default {PRECISION}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to write (default benchmarks/results.json)")
    parser.add_argument("--quick", action="store_true", help="two swaps, and no results written: does it work?")
    args = parser.parse_args(arguments)
    if args.quick:
        args.swaps, args.every = 2, 3.0
        args.results = None if args.results == RESULTS else args.results
    return args


if __name__ == "__main__":
    sys.exit(main())
