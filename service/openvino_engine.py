"""Runs a SavedModel with OpenVINO on the CPU: the default engine."""

import sys
from pathlib import Path

# OpenVINO sends usage statistics from a forked process unless this package is missing: nothing leaves this machine, and
# a process with threads must not fork. No environment variable switches it off.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import numpy as np
import openvino
from numpy.typing import NDArray

from shared.artifact import INPUT_NAME, OUTPUT_NAME, ArtifactError

_VERSION = openvino.get_version().split("-")[0]


class OpenVINOEngine:
    """One compiled model, whose batch is computed by all threads together: a lone slice is answered soonest.

    One call at a time: the request's buffers are reused.
    """

    def __init__(self, version_dir: Path, threads: int, precision: str | None) -> None:
        hints: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        if precision:
            hints["INFERENCE_PRECISION_HINT"] = precision
        try:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(version_dir), "CPU", hints)
            self._output = compiled.output(OUTPUT_NAME)
        except RuntimeError as error:
            raise ArtifactError(f"OpenVINO cannot compile the model: {str(error).splitlines()[0]}") from error
        self._request = compiled.create_infer_request()
        self.precision: str = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.name = f"openvino {_VERSION}, {self.precision}"

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [B, H, W, 1] → float32 [B, C]."""
        self._request.infer({INPUT_NAME: images}, share_inputs=True)
        return np.array(self._request.get_tensor(self._output).data, np.float32)
