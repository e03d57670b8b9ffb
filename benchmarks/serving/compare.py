"""make bench: the service beside its peers and beside the bare loop, in interleaved rounds."""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from benchmarks.load.closed_loop import LoadFailed, NoLoadGenerator, require_wrk
from benchmarks.load.machine import describe_machine
from benchmarks.load.model import copy_version, publish_networks
from benchmarks.load.servers import (
    LUNGCT,
    MAX_BATCH_SIZE,
    NULL,
    PRECISION,
    SERVERS,
    Precision,
    ServerFailed,
    in_precision,
    running,
)
from benchmarks.load.slices import find_workload
from benchmarks.results.figures import (
    bare_figures,
    generator_cpu_share,
    overload_figures,
    server_figures,
    serving_ratios,
)
from benchmarks.results.report import print_ratios, write_tables
from benchmarks.results.rows import RESULTS, in_order, spread, write_results
from benchmarks.serving.rounds import Plan, Round, load, measure_round


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the results, return the exit code."""
    args = _parse(arguments)
    started = time.monotonic()
    try:
        require_wrk()
        with tempfile.TemporaryDirectory(prefix="lungct-bench-") as folder:
            plan = _prepare(args, Path(folder))
            generator = _measure_generator(plan)
            rounds = []
            for number in range(1, plan.rounds + 1):
                print(f"round {number} of {plan.rounds}", flush=True)
                rounds.append(measure_round(plan))
    except (NoLoadGenerator, LoadFailed, ServerFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    figures = _figures(plan, rounds, generator, time.monotonic() - started)
    print_ratios(figures["ratios"])
    if args.results:
        if plan.precision == PRECISION:
            news = {"serving": figures, "ratios": figures["ratios"]}
        else:
            news = {f"serving_{plan.precision}": figures}
        results = write_results(args.results, news)
        if args.results == RESULTS:
            write_tables(results)
    return 0


def _prepare(args: argparse.Namespace, folder: Path) -> Plan:
    workload = find_workload()
    print(f"{len(workload.jpegs)} {workload.kind}, {workload.mean_bytes / 1e3:.0f} kB each as JPEG", flush=True)
    slices = folder / "slices"
    workload.write(slices)
    wanted = args.servers.split(",") if args.servers else [server.name for server in SERVERS]
    return Plan(
        rounds=args.rounds,
        seconds=args.seconds,
        connections=tuple(args.connections),
        servers=tuple(
            in_precision(server, args.precision) for server in SERVERS if server is LUNGCT or server.name in wanted
        ),
        precision=args.precision,
        workload=workload,
        slices=slices,
        model=copy_version(args.version, folder / "models", slices)
        if args.version
        else publish_networks(folder / "models", slices, 1, args.network),
    )


def _measure_generator(plan: Plan) -> float:
    """Requests a second that wrk sends with the same bodies to a server that does nothing."""
    with running(NULL, plan.model.versions[0], plan.workload.jpegs[0]) as process:
        return load(plan, process, 16, 2.0).throughput


def _figures(plan: Plan, rounds: Sequence[Round], generator: float, duration_s: float) -> dict[str, Any]:
    return {
        "command": f"make bench BENCH_ARGS={shlex.quote(shlex.join(sys.argv[1:]))}" if sys.argv[1:] else "make bench",
        "machine": describe_machine(),
        "rounds": plan.rounds,
        "window_s": plan.seconds,
        "max_batch_size": MAX_BATCH_SIZE,
        "precision": plan.precision,
        "model": plan.model.label,
        "slices": {
            "kind": plan.workload.kind,
            "count": len(plan.workload.jpegs),
            "mean_bytes": round(plan.workload.mean_bytes),
        },
        "duration_s": round(duration_s),
        "idle_share_before_rounds": spread([one.idle_share for one in rounds]),
        "generator": {"limit_per_s": round(generator), "most_cores_taken": round(generator_cpu_share(rounds), 3)},
        "bare": bare_figures(rounds),
        "servers": {server.name: server_figures(server, rounds) for server in plan.servers},
        "overload": overload_figures(rounds),
        "ratios": in_order(serving_ratios(rounds)),
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.compare", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a window (default 4, whole seconds)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4, 16, 64], help="default 1 4 16 64")
    parser.add_argument("--servers", help=f"comma-separated, of: {', '.join(server.name for server in SERVERS)}")
    parser.add_argument("--network", default="cnn", help="network that is published untrained (default cnn)")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default=PRECISION,
        help=f"of OpenVINO everywhere (default {PRECISION})",
    )
    parser.add_argument(
        "--version", type=Path, metavar="DIR", help="a published version to serve instead, models/lung-ct/3"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to write (default benchmarks/results.json)")
    parser.add_argument("--quick", action="store_true", help="one short round that writes no results: does it work?")
    args = parser.parse_args(arguments)
    if args.quick:
        args.rounds, args.seconds, args.connections = 1, 1.0, [1, 16]
        args.results = None if args.results == RESULTS else args.results
    return args


if __name__ == "__main__":
    sys.exit(main())
