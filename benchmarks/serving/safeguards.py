"""What keys, ledger and metrics cost: two running services, with and without, loaded in turn in short windows.

Both run all the time, so whatever else the machine does meets both; a round is one window each, in changing order, and
its ratio is one sample. Rounds of several runs are gathered in one file and judged together:

    python -m benchmarks.serving.safeguards --rounds 8 --out rounds.jsonl      (as often as you like)
    python -m benchmarks.serving.safeguards --rounds 0 --out rounds.jsonl      (only the figures)
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.load.closed_loop import LoadFailed, LoadResult, NoLoadGenerator, closed_loop
from benchmarks.load.model import publish_networks
from benchmarks.load.servers import LUNGCT, Running, Server, ServerFailed, module, running
from benchmarks.load.slices import find_workload
from service.auth.api_keys import key_line, make_key
from service.auth.rate_limit import Limit

_CONNECTIONS = 16


def main() -> int:
    """Measure, append the rounds, print what all of them come to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.safeguards", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a window (default 3)")
    parser.add_argument("--version", type=Path, metavar="DIR", help="a published version to serve (default: a new cnn)")
    parser.add_argument("--policy", choices=("closed", "open"), default="closed")
    parser.add_argument("--out", type=Path, required=True, help="file that gathers rounds, one JSON line each")
    args = parser.parse_args()
    try:
        if args.rounds:
            with tempfile.TemporaryDirectory(prefix="lungct-bench-") as folder:
                _measure(args, Path(folder))
    except (LoadFailed, NoLoadGenerator, ServerFailed) as error:
        print(f"safeguards: {error}", file=sys.stderr)
        return 1
    _report([json.loads(line) for line in args.out.read_text("utf-8").splitlines()])
    return 0


def _guarded(folder: Path, policy: str) -> Server:
    keys = [make_key() for _ in range(5)]
    lines = "; ".join(key_line(f"caller-{i}", key, Limit(10**8, 1)) for i, key in enumerate(keys))
    environment = {
        "LUNGCT_API_KEYS": lines, "LUNGCT_LEDGER_DIR": str(folder / "ledger"), "LUNGCT_LEDGER_POLICY": policy,
    }  # fmt: skip
    return replace(LUNGCT, name="with", environment=environment, headers={"X-API-Key": keys[-1]})


def _measure(args: argparse.Namespace, folder: Path) -> None:
    workload = find_workload()
    slices = folder / "slices"
    workload.write(slices)
    version_dir = args.version or publish_networks(folder / "models", slices, 1, "cnn").versions[0]
    servers = (
        _guarded(folder, args.policy),
        replace(LUNGCT, name="without", command=module("benchmarks.serving.unguarded")),
    )
    with ExitStack() as stack:
        pair = [stack.enter_context(running(one, version_dir, workload.jpegs[0])) for one in servers]

        def load(process: Running, seconds: float) -> LoadResult:
            return closed_loop(process, slices, len(workload.jpegs), _CONNECTIONS, seconds)

        for process in pair:
            load(process, 2.0)
        for number in range(args.rounds):
            order = pair if number % 2 else pair[::-1]
            measured = {process.server.name: load(process, args.seconds) for process in order}
            figures = {name: [one.throughput, one.cpu_s_per_request] for name, one in measured.items()}
            line = json.dumps({**figures, "policy": args.policy, "seconds": args.seconds})
            with args.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            print(line, flush=True)


def _report(rounds: list[dict[str, list[float]]]) -> None:
    """Mean loss of throughput and mean growth of CPU time a request, with 95 % intervals by bootstrap over rounds."""
    throughput = np.array([1 - one["with"][0] / one["without"][0] for one in rounds]) * 100
    cpu = np.array([one["with"][1] / one["without"][1] - 1 for one in rounds]) * 100
    for what, losses in {"less throughput": throughput, "more CPU time a request": cpu}.items():
        means = np.random.default_rng(1).choice(losses, (20_000, len(losses))).mean(axis=1)
        low, high = np.percentile(means, (2.5, 97.5))
        print(
            f"{len(rounds)} rounds: with safeguards {losses.mean():.2f} % {what} "
            f"(95 % interval {low:.2f} to {high:.2f}; median {np.median(losses):.2f})"
        )


if __name__ == "__main__":
    sys.exit(main())
