"""Runs a SavedModel with OpenVINO on the CPU: the default engine."""

import os
from pathlib import Path

# Read by OpenVINO at import: no usage statistics leave the machine.
os.environ.setdefault("OPENVINO_TELEMETRY_OPT_OUT", "1")

import numpy as np
import openvino
from numpy.typing import NDArray

from shared.artifact import INPUT_NAME, OUTPUT_NAME, ArtifactError

NAME = f"openvino {openvino.get_version().split('-')[0]}"


class OpenVINOEngine:
    """One compiled model. Latency mode: all threads work on one batch, so a lone request is answered fastest."""

    def __init__(self, version_dir: Path, threads: int) -> None:
        config: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            # left alone, processors with bf16 would answer with other digits than Keras gave
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            core = openvino.Core()
            model = core.read_model(version_dir)
            self._compiled = core.compile_model(model, "CPU", config)
            self._output = self._compiled.output(OUTPUT_NAME)
        except RuntimeError as error:
            raise ArtifactError(f"OpenVINO cannot compile the model: {str(error).splitlines()[0]}") from error
        self._request = self._compiled.create_infer_request()

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [B, H, W, 1] → float32 [B, C]. One call at a time: the request's buffers are reused."""
        self._request.infer({INPUT_NAME: images}, share_inputs=True)
        return np.array(self._request.get_tensor(self._output).data, np.float32)
