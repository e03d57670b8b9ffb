"""What every peer serves: the project's own preprocessing, and the SavedModel in one of the engines.

The engines are set up here and not taken from the service. What they have from it is what it does to the model before
OpenVINO compiles it, so that what differs is the server.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.artifact import INPUT_NAME, OUTPUT_NAME, SIGNATURE, read_manifest
from shared.imaging import PreprocessingSpec, SliceTensor, to_tensor
from shared.raster.decode import decode_grey

Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 [B, H, W, 1] → float32 [B, C]."""


@dataclass(frozen=True)
class PeerModel:
    """One version as a peer holds it."""

    names: tuple[str, ...]
    spec: PreprocessingSpec
    infer: Infer

    def read(self, body: bytes) -> SliceTensor:
        """JPEG bytes → uint8 [H, W, 1]."""
        return to_tensor(decode_grey(body), self.spec)

    def predict(self, slices: Sequence[SliceTensor]) -> list[dict[str, object]]:
        """One inference for all slices; one answer each."""
        return [self.answer(row) for row in self.infer(np.stack(slices))]

    def answer(self, probabilities: NDArray[np.float32]) -> dict[str, object]:
        """The same body as the service's, without what only the service knows."""
        every = dict(zip(self.names, probabilities.tolist(), strict=True))
        prediction = self.names[int(probabilities.argmax())]
        return {"prediction": prediction, "confidence": every[prediction], "all_predictions": every}

    def warm(self, max_batch_size: int) -> None:
        """Run every batch size once: the first inference of a size is slow in both engines."""
        for size in range(1, max_batch_size + 1):
            self.infer(np.zeros((size, self.spec.height, self.spec.width, 1), np.uint8))


def max_batch_size() -> int:
    """The limit that every batching peer is started with."""
    return int(os.environ["BENCH_MAX_BATCH_SIZE"])


def load_model() -> PeerModel:
    """The version BENCH_MODEL in the engine BENCH_ENGINE ("tensorflow" or "openvino"), warmed."""
    version_dir = Path(os.environ["BENCH_MODEL"])
    manifest = read_manifest(version_dir)
    infer = (load_openvino if os.environ["BENCH_ENGINE"] == "openvino" else load_tensorflow)(version_dir)
    model = PeerModel(manifest.classes.names, manifest.preprocessing, infer)
    model.warm(max_batch_size())
    return model


def compile_openvino(
    version_dir: Path, hint: str, precision: str, streams: int = 0, shape: tuple[int, ...] | None = None
) -> Any:
    """A compiled model with that performance hint.

    precision: "f32", or "auto" for OpenVINO's own choice and the service's 8-bit weights. streams: one thread each; 0
    leaves their number to OpenVINO. shape: of the input, where it is to be compiled for that one only.
    """
    import openvino  # noqa: PLC0415 - each process has one engine only

    from service.engines.openvino_conversion import compress_large_weights  # noqa: PLC0415

    config: dict[str, object] = {"PERFORMANCE_HINT": hint}
    if precision != "auto":
        config["INFERENCE_PRECISION_HINT"] = precision
    if streams:
        config |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams}
    core = openvino.Core()
    model = core.read_model(version_dir)
    if shape:
        model.reshape({INPUT_NAME: list(shape)})
    if precision == "auto":
        compress_large_weights(model)
    return core.compile_model(model, "CPU", config)


def load_openvino(version_dir: Path) -> Infer:
    """All cores on one batch, in BENCH_PRECISION. Not for several threads at once: the request's buffers are reused."""
    request = compile_openvino(version_dir, "LATENCY", os.environ["BENCH_PRECISION"]).create_infer_request()

    def infer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array(request.infer({INPUT_NAME: images}, share_inputs=True)[OUTPUT_NAME])

    return infer


def load_tensorflow(version_dir: Path) -> Infer:
    """The serving signature, with TensorFlow's own choice of threads."""
    import tensorflow as tf  # noqa: PLC0415 - each process has one engine only

    loaded = tf.saved_model.load(str(version_dir))
    serve = loaded.signatures[SIGNATURE]

    def infer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(serve(**{INPUT_NAME: tf.constant(images)})[OUTPUT_NAME])

    infer.keep = loaded  # type: ignore[attr-defined] # the signature lives as long as what it came from
    return infer
