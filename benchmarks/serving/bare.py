"""The limit: decode + preprocess + infer on all cores, with no server around it.

Nobody knows beforehand which arrangement of threads and batches is fastest on a machine, so several are measured, and
the fastest is the limit. Runs as a process of its own and prints JSON.
"""

import argparse
import itertools
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.peers.model import compile_openvino, load_tensorflow
from shared.artifact import INPUT_NAME, read_manifest
from shared.imaging import PreprocessingSpec, SliceTensor, to_tensor
from shared.raster.decode import decode_grey

_WARM_UP_S = 0.7
_BATCH = 8

Step = Callable[[], int]
"""Does a piece of work and returns how many slices it finished."""


class _Work:
    """The slices, taken in turn by any thread, and the model."""

    def __init__(self, version_dir: Path, jpegs: Sequence[bytes], precision: str) -> None:
        self.version_dir = version_dir
        self._precision = precision
        self.spec: PreprocessingSpec = read_manifest(version_dir).preprocessing
        self._turns = itertools.cycle(jpegs)  # next() on it is atomic under the GIL

    def compile(self, hint: str, streams: int = 0, batch: int | None = None) -> Any:
        """The model in OpenVINO, for any batch size or for one."""
        shape = None if batch is None else (batch, self.spec.height, self.spec.width, 1)
        return compile_openvino(self.version_dir, hint, self._precision, streams, shape)

    def read(self) -> SliceTensor:
        """Decode and preprocess the next slice."""
        return to_tensor(decode_grey(next(self._turns)), self.spec)

    def read_batch(self) -> np.ndarray:
        """The next uint8 [8, H, W, 1]."""
        return np.stack([self.read() for _ in range(_BATCH)])


def _one_by_one(work: _Work) -> list[Step]:
    """All cores on one slice, one slice after the other: what a lone caller could get at best."""
    request = work.compile("LATENCY", batch=1).create_infer_request()

    def step() -> int:
        request.infer({INPUT_NAME: work.read()[np.newaxis]}, share_inputs=True)
        return 1

    return [step]


def _batches_decoded_beside(work: _Work) -> list[Step]:
    """All cores on one batch of 8 while threads decode the next ones."""
    request = work.compile("LATENCY").create_infer_request()
    return _decoded_beside(work, lambda batch: request.infer({INPUT_NAME: batch}, share_inputs=True))


def _tensorflow_batches(work: _Work) -> list[Step]:
    """The same with TensorFlow: what servers that run it could get at best."""
    return _decoded_beside(work, load_tensorflow(work.version_dir))


def _decoded_beside(work: _Work, infer: Callable[[np.ndarray], object]) -> list[Step]:
    pool = ThreadPoolExecutor(os.cpu_count())  # idle when nobody asks for steps any more
    decoded: deque[Future[SliceTensor]] = deque(pool.submit(work.read) for _ in range(2 * _BATCH))

    def step() -> int:
        batch = np.stack([decoded.popleft().result() for _ in range(_BATCH)])
        decoded.extend(pool.submit(work.read) for _ in range(_BATCH))
        infer(batch)
        return _BATCH

    return [step]


def _core_for_each(
    work: _Work, read: Callable[[], np.ndarray], size: int, *, fixed: int | None = None, threads_a_core: int = 1
) -> list[Step]:
    cores = os.cpu_count() or 1
    compiled = work.compile("THROUGHPUT", streams=cores, batch=fixed)

    def stream() -> Step:
        request = compiled.create_infer_request()

        def step() -> int:
            request.infer({INPUT_NAME: read()}, share_inputs=True)
            return size

        return step

    return [stream() for _ in range(threads_a_core * cores)]


def _core_for_each_slice(work: _Work) -> list[Step]:
    """Each core decodes and infers slices of its own, one at a time."""
    return _core_for_each(work, lambda: work.read()[np.newaxis], 1)


def _core_for_each_batch(work: _Work) -> list[Step]:
    """Each core decodes and infers batches of 8 of its own."""
    return _core_for_each(work, work.read_batch, _BATCH)


def _core_for_each_fixed_batch(work: _Work) -> list[Step]:
    """The same, compiled for batches of 8 only, and as many batches decoded meanwhile as are inferred."""
    return _core_for_each(work, work.read_batch, _BATCH, fixed=_BATCH, threads_a_core=2)


ONE_BY_ONE = "one_by_one"
ARRANGEMENTS: dict[str, Callable[[_Work], list[Step]]] = {
    ONE_BY_ONE: _one_by_one,
    "batches_decoded_beside": _batches_decoded_beside,
    "core_for_each_slice": _core_for_each_slice,
    "core_for_each_batch": _core_for_each_batch,
    "core_for_each_fixed_batch": _core_for_each_fixed_batch,
    "tensorflow_batches": _tensorflow_batches,  # last: its threads are there from then on
}


def measure(work: _Work, name: str, seconds: float) -> dict[str, float]:
    """Slices per second over all threads, latency of a step, CPU seconds a slice."""
    steps = ARRANGEMENTS[name](work)
    _run(steps, _WARM_UP_S)
    cpu = time.process_time()
    rates, durations, count = _run(steps, seconds)
    cpu = time.process_time() - cpu
    return {
        "throughput": sum(rates),
        "p50_ms": float(np.percentile(durations, 50)) * 1e3,
        "p99_ms": float(np.percentile(durations, 99)) * 1e3,
        "cpu_s_per_request": cpu / count,
    }


def _run(steps: Sequence[Step], seconds: float) -> tuple[list[float], list[float], int]:
    """Repeat each step in a thread of its own: (slices per second of each, durations of all steps, slices in all)."""
    rates: list[float] = []
    durations: list[float] = []
    counts: list[int] = []

    def repeat(step: Step) -> None:
        started = now = time.perf_counter()
        count = 0
        while now - started < seconds:
            count += step()
            before, now = now, time.perf_counter()
            durations.append(now - before)
        rates.append(count / (now - started))
        counts.append(count)

    threads = [threading.Thread(target=repeat, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rates, durations, sum(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version_dir", type=Path)
    parser.add_argument("slices", type=Path, help="folder of <n>.jpg")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--precision", choices=("f32", "auto"), default="f32")
    parser.add_argument("--only", nargs="*", choices=ARRANGEMENTS, default=list(ARRANGEMENTS))
    args = parser.parse_args()
    cv2.setNumThreads(1)  # the arrangement decides which core does what
    work = _Work(args.version_dir, [path.read_bytes() for path in sorted(args.slices.glob("*.jpg"))], args.precision)
    print(json.dumps({name: measure(work, name, args.seconds) for name in args.only}))


if __name__ == "__main__":
    main()
