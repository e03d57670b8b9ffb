"""What explanations cost: each beside a prediction, all of them beside predictions under load, and in memory.

Alone: one caller, the addresses in turn, medians. Under load: predictions leave at 70 % of capacity, whether or not
somebody asks for one explanation after the other; blocks with and without that caller alternate.
"""

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from benchmarks.load.closed_loop import closed_loop
from benchmarks.load.open_loop import OpenLoop, Sample
from benchmarks.load.processes import memory_mb
from benchmarks.load.servers import LUNGCT, Running, running
from benchmarks.load.slices import find_workload

_LOAD = 0.7
_WARM_TURNS = 2


def measure(version_dir: Path, rounds: int, seconds: float, rate: float | None = None) -> dict[str, object]:
    """All figures. rounds and seconds: of blocks under load; rate: of predictions, None is 70 % of capacity.

    Raises LoadFailed, NoLoadGenerator or ServerFailed.
    """
    workload = find_workload()
    with tempfile.TemporaryDirectory() as folder, running(LUNGCT, version_dir, workload.jpegs[0]) as service:
        slices = Path(folder) / "slices"
        workload.write(slices)
        capacity = [closed_loop(service, slices, len(workload.jpegs), 16, 3.0).throughput for _ in range(2)][-1]
        rss_mb = memory_mb(service.process.pid)[0]
        alone = _alone(service, workload.jpegs[0])
        rss_explained_mb = memory_mb(service.process.pid)[0]
        samples: dict[bool, list[Sample]] = {False: [], True: []}
        explained = 0
        for number in range(2 * rounds):
            has_caller = number % 2 == 1
            load = OpenLoop(service, slices, rate or _LOAD * capacity, seconds)
            with _caller(service, workload.jpegs[1], is_there=has_caller) as answered:
                samples[has_caller] += load.samples()
            explained += len(answered)
    return {
        **alone,
        "rss_mb": round(rss_mb),
        "rss_mb_explained": round(rss_explained_mb),
        "capacity_per_s": round(capacity, 1),
        "without_caller": _latency(samples[False]),
        "with_caller": _latency(samples[True]),
        "explained_per_s": round(explained / (rounds * seconds), 1),
    }


def _alone(service: Running, slice_: bytes) -> dict[str, object]:
    asked: dict[str, tuple[str, dict[str, str]]] = {
        "predict": ("/predict", {}), "json": ("/explain", {"format": "json"}), "png": ("/explain", {}),
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in asked}
    method = ""
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60) as client:
        for turn in range(25 + _WARM_TURNS):
            for name, (path, query) in asked.items():
                started = time.perf_counter()
                answer = client.post(path, params=query, content=slice_).raise_for_status()
                if turn >= _WARM_TURNS:  # the first compile and warm
                    times[name].append((time.perf_counter() - started) * 1e3)
                if name == "json":
                    method = answer.json()["method"]
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "method": method,
        **{f"{name}_ms": round(median, 2) for name, median in medians.items()},
        "json_over_predict": round(medians["json"] / medians["predict"], 2),
        "png_over_predict": round(medians["png"] / medians["predict"], 2),
    }


@contextmanager
def _caller(service: Running, slice_: bytes, *, is_there: bool) -> Iterator[list[int]]:
    """Somebody who asks for one explanation after the other; the statuses that came."""
    statuses: list[int] = []
    stopped = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        while not stopped.is_set():
            connection.request("POST", "/explain?format=json", slice_)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()

    thread = threading.Thread(target=ask)
    if is_there:
        thread.start()
    try:
        yield statuses
    finally:
        stopped.set()
        if is_there:
            thread.join()


def _latency(samples: list[Sample]) -> dict[str, float]:
    times = [sample.latency_ms for sample in samples]
    return {
        "requests": len(samples),
        "failed": sum(sample.status != http.client.OK for sample in samples),
        "p50_ms": round(float(np.percentile(times, 50)), 2),
        "p99_ms": round(float(np.percentile(times, 99)), 2),
    }


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version_dir", type=Path, help="a published version: models/lung-ct/1")
    parser.add_argument("--rounds", type=int, default=3, help="blocks with and without a caller (default: 3 of each)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a block (default: 8)")
    parser.add_argument("--rate", type=float, help="predictions a second under load (default: 70 %% of capacity)")
    args = parser.parse_args()
    print(json.dumps(measure(args.version_dir, args.rounds, args.seconds, args.rate), indent=2))


if __name__ == "__main__":
    _main()
