"""What a normal caller notices of each attacker, and what the service holds meanwhile.

    python -m benchmarks.serving.attacks [--attacks png-bomb,trailers] [--seconds 60] [--quick] [--version DIR]

The normal caller has one connection, on which it posts one slice after the other to /predict, and asks for /health
once a second. For each attack a service is started; the caller's time alone and beside the attacker alternates in
blocks, so that both see the same machine. What must hold: p99 beside at most three times p99 alone, no answer but 200
and 503, /health ok, and memory (PSS: a shared page counts once) of the whole process tree at most idle +
LUNGCT_MAX_INFLIGHT_BYTES + 64 MiB. Exit code 1 where a bar is missed.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.load.closed_loop import LoadFailed
from benchmarks.load.machine import describe_machine
from benchmarks.load.model import publish_networks
from benchmarks.load.processes import memory_mb
from benchmarks.load.servers import LUNGCT, Running, ServerFailed, running
from benchmarks.load.slices import Workload, find_workload
from benchmarks.serving import hostile_files
from benchmarks.serving.attackers import ATTACKERS, BEGUN
from service.settings import ServiceSettings
from trainer.phantoms.phantom import draw_phantom

MAX_RATIO = 3.0
MAX_MORE_MIB = ServiceSettings.model_fields["max_inflight_bytes"].default / 2**20 + 64
_BLOCKS = 3
_MEMORY_EVERY_S = 0.25
_HEALTH_EVERY_S = 1.0
_SETTLE_S = 30.0
"""After an attack, so long at most until the service holds no place and no byte for anybody."""
_TIMEOUT_S = 120.0
_BROKEN = "no answer"
_COLUMNS = (
    "attack", "p50 alone, ms", "beside", "p99 alone, ms", "beside", "answers beside", "/health", "MiB idle", "most",
    "attacker", "verdict",
)  # fmt: skip


@dataclass
class Heard:
    """What a normal caller was told."""

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    health: Counter[str] = field(default_factory=Counter)

    def percentile(self, percent: float) -> float:
        """Of the time from a request to its whole answer, ms."""
        return float(np.percentile(self.latencies_ms or [float("inf")], percent))


@dataclass(frozen=True)
class Attacked:
    """One attack, and what it did."""

    name: str
    alone: Heard
    beside: Heard
    idle_mib: float
    most_mib: float
    attackers: list[dict[str, Any]]

    def missed(self) -> list[str]:
        """The bars that do not hold."""
        alone, beside = self.alone.percentile(99), self.beside.percentile(99)
        bad = (self.alone.statuses.keys() - {"200"}) | (self.beside.statuses.keys() - {"200", "503"})
        misses = {
            f"p99 {beside / alone:.1f} times alone": beside > MAX_RATIO * alone,
            f"answers {sorted(bad)}": bool(bad),
            f"health {dict(self.beside.health)}": self.beside.health.keys() - {"ok"},
            f"{self.most_mib - self.idle_mib:.0f} MiB more": self.most_mib - self.idle_mib > MAX_MORE_MIB,
        }
        return [miss for miss, is_missed in misses.items() if is_missed]


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack, print a row each, return the exit code."""
    args = _parse(arguments)
    rows: list[dict[str, Any]] = []
    is_missed = False
    print(f"{args.seconds:g} s beside each attacker and as long alone; {json.dumps(describe_machine())}")
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="lungct-attacks-") as folder:
        workload, slices = find_workload(), Path(folder) / "slices"
        workload.write(slices)
        version = args.version or publish_networks(Path(folder) / "models", slices, 1, args.network).versions[0]
        for name in args.attacks:
            attacked = _attacked(name, version, workload, args.seconds)
            is_missed = bool(attacked.missed()) or is_missed
            _print(attacked)
            rows.append(_facts(attacked))
    if args.json:
        args.json.write_text(
            json.dumps({"machine": describe_machine(), "seconds": args.seconds, "attacks": rows}, indent=2)
        )
    return 1 if is_missed else 0


def _attacked(name: str, version: Path, workload: Workload, seconds: float) -> Attacked:
    dicom = hostile_files.dicom(draw_phantom(0, 1000, 0, 512))
    slice_ = dicom if name.endswith("-beside-dicom") else workload.jpegs[0]
    kind = name.removesuffix("-beside-dicom")
    alone, beside = Heard(), Heard()
    attackers: list[Any] = []
    try:
        with running(LUNGCT, version, workload.jpegs[0]) as service:
            for path, body in (
                ("/predict", dicom),
                ("/explain", slice_),
                ("/render", slice_),
                ("/predict", slice_),
            ):
                _ask(service.port, path, body)  # what starts with the first such request is there
            _ask_for(service, slice_, 1.0)
            _settle(service)
            with _memory(service) as memory:
                time.sleep(2 * _MEMORY_EVERY_S)
                idle_mib = max(memory)
                blocks = _BLOCKS if seconds >= 2 * _BLOCKS else 1
                for _ in range(blocks):
                    _ask_for(service, slice_, seconds / blocks, alone)
                    with _attacking(service, kind, attackers):
                        _ask_for(service, slice_, seconds / blocks, beside)
                    _settle(service)
    except ServerFailed as error:
        beside.statuses[_BROKEN] += 1
        print(f"{name}: {error}", file=sys.stderr)
        return Attacked(name, alone, beside, 0, 0, attackers)
    return Attacked(name, alone, beside, idle_mib, max(memory), attackers)


def _ask_for(service: Running, slice_: bytes, seconds: float, heard: Heard | None = None) -> None:
    """One request after the other on one connection, for that long."""
    heard = heard or Heard()
    stopped = threading.Event()
    watching = threading.Thread(target=_watch_health, args=[service, heard, stopped])
    watching.start()
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=_TIMEOUT_S)
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            started = time.perf_counter()
            try:
                connection.request("POST", "/predict", slice_, {"Content-Type": "application/octet-stream"})
                answer = connection.getresponse()
                answer.read()
                heard.statuses[str(answer.status)] += 1
            except (OSError, http.client.HTTPException):
                connection.close()  # and opened again by the next request
                heard.statuses[_BROKEN] += 1
                time.sleep(0.05)
            heard.latencies_ms.append((time.perf_counter() - started) * 1e3)
    finally:
        connection.close()
        stopped.set()
        watching.join()


def _watch_health(service: Running, heard: Heard, stopped: threading.Event) -> None:
    while not stopped.wait(_HEALTH_EVERY_S):
        try:
            status, body = _ask(service.port, "/health", None)
            heard.health[json.loads(body)["status"] if status == http.client.OK else str(status)] += 1
        except (OSError, http.client.HTTPException, ValueError):
            heard.health[_BROKEN] += 1


def _ask(port: int, path: str, body: bytes | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    with closing(connection):
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _settle(service: Running) -> None:
    """Return when it holds nothing for anybody, or after _SETTLE_S: what it keeps then is the next block's, too."""
    end = time.monotonic() + _SETTLE_S
    while time.monotonic() < end:
        with suppress(OSError, http.client.HTTPException):
            samples = [line.split() for line in _ask(service.port, "/metrics", None)[1].decode().splitlines()]
            held = {
                words[0]: float(words[1])
                for words in samples
                if words[0] in ("lungct_queue_depth", "lungct_inflight_bytes")
            }
            if not any(held.values()):
                return
        time.sleep(0.2)


@contextmanager
def _memory(service: Running) -> Iterator[list[float]]:
    """PSS of the tree in MiB, looked at again and again; a process that ends meanwhile counts as nothing."""
    samples: list[float] = []
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(_MEMORY_EVERY_S):
            with suppress(psutil.Error):
                samples.append(memory_mb(service.process.pid)[1] * 1e6 / 2**20)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        stopped.set()
        thread.join()


@contextmanager
def _attacking(service: Running, kind: str, told: list[dict[str, Any]]) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.serving.attackers", str(service.port), kind]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as attacker:
        try:
            if attacker.stdout is None or attacker.stdout.readline().strip() != BEGUN:
                raise LoadFailed(f"the attacker {kind} did not begin")
            yield
            attacker.terminate()
            told.append(json.loads(attacker.stdout.read()))
        finally:
            attacker.kill()


def _facts(one: Attacked) -> dict[str, Any]:
    def of(heard: Heard) -> dict[str, Any]:
        return {
            "requests": len(heard.latencies_ms), "p50_ms": heard.percentile(50), "p99_ms": heard.percentile(99),
            "max_ms": heard.percentile(100), "statuses": heard.statuses, "health": heard.health,
        }  # fmt: skip

    return {
        "name": one.name, "alone": of(one.alone), "beside": of(one.beside), "idle_mib": one.idle_mib,
        "most_mib": one.most_mib, "bound_mib": one.idle_mib + MAX_MORE_MIB, "attackers": one.attackers,
        "missed": one.missed(),
    }  # fmt: skip


def _print(one: Attacked) -> None:
    answers: Counter[str] = sum((Counter(part["answers"]) for part in one.attackers), Counter())
    sent, cores = (
        sum(part["sent_mib"] for part in one.attackers),
        max((part["cores"] for part in one.attackers), default=0),
    )
    cells = [
        one.name, *(f"{heard.percentile(percent):.1f}" for percent in (50, 99) for heard in (one.alone, one.beside)),
        _told(one.beside.statuses), _told(one.beside.health), f"{one.idle_mib:.0f}", f"{one.most_mib:.0f}",
        f"{sent} MiB, {cores:.2f} cores, heard {_told(answers)}", "; ".join(one.missed()) or "holds",
    ]  # fmt: skip
    print(f"| {' | '.join(cells)} |", flush=True)


def _told(counted: Counter[str]) -> str:
    return ", ".join(f"{key}: {count}" for key, count in sorted(counted.items())) or "none"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    known = [*ATTACKERS, *(f"{name}-beside-dicom" for name in ATTACKERS if name.startswith("dicom"))]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.attacks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--attacks", default=",".join(known), help="names, separated by commas (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, help="beside each attacker (default 60)")
    parser.add_argument("--quick", action="store_true", help="5 s each")
    parser.add_argument("--version", type=Path, metavar="DIR", help="a published version (default: a new one)")
    parser.add_argument(
        "--network", choices=("tiny", "cnn"), default="tiny", help="of the new one (default tiny, the demo's)"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file, too")
    args = parser.parse_args(arguments)
    args.seconds = 5.0 if args.quick else args.seconds
    args.attacks = args.attacks.split(",")
    if unknown := set(args.attacks) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return args


if __name__ == "__main__":
    sys.exit(main())
