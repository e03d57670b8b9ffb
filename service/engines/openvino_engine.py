"""Runs a SavedModel with OpenVINO on the CPU: the default engine."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import openvino
from numpy.typing import NDArray

from service.engines.base import OUTPUTS, Outputs
from service.engines.openvino_conversion import ALONE_FILE, BATCH_FILE, not_compiled
from service.engines.openvino_explain_worker import ExplainWorker, ports_of
from service.memory import drop_mapped_pages, trim_heap
from shared.artifact import ATTENTION_NAME, INPUT_NAME

_VERSION = openvino.get_version().split("-")[0]
_TIMED_RUNS = 3


class OpenVINOEngine:
    """A converted model, compiled twice: for a lone slice that all cores share, and for batches with a core for each.

    A lone slice is answered soonest when all cores work on it. Under load that wastes them: at the end of each layer
    the faster thread waits for the slower one, and whatever else the process does slows both. So full batches get one
    core each and never wait for each other. Both are compiled for one fixed shape, which is 7 % faster than a free
    one; docs/decisions/006 has the figures.
    """

    def __init__(
        self,
        folder: Path,
        threads: int,
        batch_size: int,
        image_shape: tuple[int, int],
        precision: str | None,
        *,
        pause: Callable[[], None],
    ) -> None:
        """Calls pause() between steps that take a core for a while."""
        hints: dict[str, object] = {"INFERENCE_NUM_THREADS": threads}
        if precision:
            hints["INFERENCE_PRECISION_HINT"] = precision
        self._batch_shape = (batch_size, *image_shape, 1)
        self._threads = threads
        core = openvino.Core()
        explain_hints = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False, **hints}
        self._explain_worker = ExplainWorker(folder, (*OUTPUTS, ATTENTION_NAME), explain_hints)
        try:
            alone = core.compile_model(folder / ALONE_FILE, "CPU", {"PERFORMANCE_HINT": "LATENCY", **hints})
            pause()
            together = core.compile_model(folder / BATCH_FILE, "CPU", {"NUM_STREAMS": threads, **hints})
            self._ports, self._batch_ports = ports_of(alone, OUTPUTS), ports_of(together, OUTPUTS)
        except RuntimeError as error:
            raise not_compiled(error) from error
        self._alone = alone.create_infer_request()
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(2 * threads):  # a batch waits in the engine while another is computed
            self._free.put(together.create_infer_request())
        pause()
        self._warm(threads)
        drop_mapped_pages(folder)
        trim_heap()  # what compiling left
        self.precision: str = alone.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.name = f"openvino {_VERSION}, {self.precision}"

    def infer_single(self, image: NDArray[np.uint8]) -> Outputs:
        """uint8 [1, H, W, 1] → outputs of one slice, on all cores. One call at a time, no infer() beside it."""
        self._alone.infer({INPUT_NAME: image}, share_inputs=True)
        return {name: np.array(self._alone.get_tensor(port).data, np.float32) for name, port in self._ports.items()}

    def infer(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, on one core. B is at most the batch size; as many calls as cores."""
        count = len(images)
        if count < self._batch_shape[0]:
            padded = np.zeros(self._batch_shape, np.uint8)
            padded[:count] = images
            images = padded
        request = self._free.get()
        try:
            request.infer({INPUT_NAME: images}, share_inputs=True)
            ports = self._batch_ports.items()
            return {name: np.array(request.get_tensor(port).data[:count], np.float32) for name, port in ports}
        finally:
            self._free.put(request)

    def infer_with_attention(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, with attention where the model has it. One call at a time.

        In a process of its own, started when first asked for and ended when nobody asks any more: an explanation takes
        neither time nor memory from predictions.
        """
        return self._explain_worker.infer(images)

    def single_threshold(self) -> int:
        """How many slices, one after the other, take no longer than a round of batches with one on each core."""
        batch = np.zeros(self._batch_shape, np.uint8)
        with ThreadPoolExecutor(self._threads, "timing") as pool:
            alone_s = _fastest(lambda: self.infer_single(batch[:1]))
            round_s = _fastest(lambda: list(pool.map(self.infer, [batch] * self._threads)))
        return max(1, min(int(round_s / alone_s), self._threads * len(batch) - 1))

    def _warm(self, threads: int) -> None:
        """Run everything once: a first inference is slower than the next."""
        batch = np.zeros(self._batch_shape, np.uint8)
        self.infer_single(batch[:1])
        with ThreadPoolExecutor(threads, "warming") as pool:
            list(pool.map(self.infer, [batch] * threads))


def _fastest(run: Callable[[], object]) -> float:
    """Seconds."""
    times = []
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)
