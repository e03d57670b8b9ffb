"""Runs a SavedModel with OpenVINO on the CPU: the default engine."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

# OpenVINO sends usage statistics from a forked process unless this package is missing: nothing leaves this machine, and
# a process with threads must not fork. No environment variable switches it off.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import numpy as np
import openvino
from numpy.typing import NDArray

from shared.artifact import INPUT_NAME, OUTPUT_NAME, ArtifactError

_VERSION = openvino.get_version().split("-")[0]


class OpenVINOEngine:
    """One model, compiled twice: all cores for a slice that is alone, and a core for each batch when there are several.

    Cores that share a batch wait for each other at every layer, which costs throughput as soon as anything else runs on
    one of them; a lone slice in turn is answered soonest by all of them.
    """

    def __init__(self, version_dir: Path, threads: int, precision: str | None) -> None:
        hints: dict[str, object] = {"INFERENCE_NUM_THREADS": threads}
        if precision:
            hints["INFERENCE_PRECISION_HINT"] = precision
        try:
            core = openvino.Core()
            model = core.read_model(version_dir)
            self._alone = core.compile_model(model, "CPU", {**hints, "PERFORMANCE_HINT": "LATENCY"})
            self._beside = core.compile_model(model, "CPU", {**hints, "NUM_STREAMS": threads})
            self._output_alone = self._alone.output(OUTPUT_NAME)
            self._output_beside = self._beside.output(OUTPUT_NAME)
        except RuntimeError as error:
            raise ArtifactError(f"OpenVINO cannot compile the model: {str(error).splitlines()[0]}") from error
        self._threads = threads
        self._request_alone = self._alone.create_infer_request()
        self._requests_beside: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(threads):
            self._requests_beside.put(self._beside.create_infer_request())
        self._lock = threading.Lock()
        self._running = 0
        self.precision: str = self._beside.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.name = f"openvino {_VERSION}, {self.precision}"

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [B, H, W, 1] → float32 [B, C]. At most as many calls at a time as there are threads."""
        with self._lock:
            is_alone = self._running == 0 and len(images) == 1
            self._running += 1
        try:
            return self._infer_alone(images) if is_alone else self._infer_beside(images)
        finally:
            with self._lock:
                self._running -= 1

    def _infer_alone(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._request_alone.infer({INPUT_NAME: images}, share_inputs=True)
        return np.array(self._request_alone.get_tensor(self._output_alone).data, np.float32)

    def _infer_beside(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        request = self._requests_beside.get()
        try:
            request.infer({INPUT_NAME: images}, share_inputs=True)
            return np.array(request.get_tensor(self._output_beside).data, np.float32)
        finally:
            self._requests_beside.put(request)

    def warm(self, images: NDArray[np.uint8]) -> None:
        """Run a batch on every stream: the first inference of a size costs 50 to 400 ms, and each stream pays it."""
        if len(images) == 1:
            self._infer_alone(images)
        with ThreadPoolExecutor(self._threads) as streams:
            list(streams.map(self._infer_beside, [images] * self._threads))
