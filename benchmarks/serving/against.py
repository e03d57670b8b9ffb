"""This checkout beside another one: two running services, loaded in turn in short windows.

    git worktree add /tmp/before HEAD~1
    python -m benchmarks.serving.against /tmp/before [--rounds 12] [--seconds 5] [--connections 16,1]

Both run all the time, so whatever else the machine does meets both; a round is one window each, in changing order, and
its ratios are one sample. Both use this environment's packages and serve the same new cnn. Then each is started ten
times, in turn, until its first answer. Prints the ratios, this one divided by the other, as medians with 95 %
intervals by bootstrap over rounds.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.load.closed_loop import LoadFailed, LoadResult, NoLoadGenerator, closed_loop
from benchmarks.load.machine import describe_machine
from benchmarks.load.model import publish_networks
from benchmarks.load.servers import LUNGCT, Server, ServerFailed, running
from benchmarks.load.slices import Workload, find_workload

_STARTS = 10


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.against",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("other", type=Path, metavar="DIR", help="another checkout of this project")
    parser.add_argument("--rounds", type=int, default=12, help="pairs of windows (default 12)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a window (default 5)")
    parser.add_argument("--connections", default="16,1", help="separated by commas (default 16,1)")
    args = parser.parse_args()
    pair = replace(LUNGCT, name="this"), replace(LUNGCT, name="other", root=args.other.resolve())
    print(describe_machine())
    try:
        with tempfile.TemporaryDirectory(prefix="lungct-bench-") as folder:
            workload, slices = find_workload(), Path(folder) / "slices"
            workload.write(slices)
            version = publish_networks(Path(folder) / "models", slices, 1, "cnn").versions[0]
            _windows(pair, version, workload, slices, args)
            _starts(pair, version, workload)
    except (LoadFailed, NoLoadGenerator, ServerFailed) as error:
        print(f"against: {error}", file=sys.stderr)
        return 1
    return 0


def _windows(
    pair: tuple[Server, Server], version: Path, workload: Workload, slices: Path, args: argparse.Namespace
) -> None:
    with ExitStack() as stack:
        services = [stack.enter_context(running(one, version, workload.jpegs[0])) for one in pair]
        for connections in map(int, args.connections.split(",")):
            measured: dict[str, list[LoadResult]] = {server.name: [] for server in pair}
            for number in range(-1, args.rounds):  # the first one warms up
                for service in services if number % 2 else services[::-1]:
                    result = closed_loop(service, slices, len(workload.jpegs), connections, args.seconds)
                    if number >= 0:
                        measured[service.server.name].append(result)
            for what in ("throughput", "p50_ms", "p99_ms", "cpu_s_per_request"):
                this, other = ([getattr(one, what) for one in measured[server.name]] for server in pair)
                _print(f"{connections} connections, {what}", this, other)


def _starts(pair: tuple[Server, Server], version: Path, workload: Workload) -> None:
    seconds: dict[str, list[float]] = {server.name: [] for server in pair}
    for number in range(_STARTS):
        for server in pair if number % 2 else pair[::-1]:
            with running(server, version, workload.jpegs[0]) as service:
                seconds[server.name].append(service.first_answer_s)
    _print("seconds to the first answer", seconds["this"], seconds["other"])


def _print(what: str, this: list[float], other: list[float]) -> None:
    ratios = np.array(this) / np.array(other)
    medians = np.median(np.random.default_rng(1).choice(ratios, (20_000, len(ratios))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    print(
        f"{what}: {np.median(this):.4g} and {np.median(other):.4g}, "
        f"ratio {np.median(ratios):.3f} ({low:.3f} to {high:.3f})",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
