"""A SavedModel → the files that the OpenVINO engine compiles: for a lone slice, for batches, and for explanations.

A variant is in OpenVINO's format already, and gets the first two. These have one fixed shape. Of the SavedModel, where
precision is free, the weights of large dense layers are written with 8 bits: a small batch waits longer for such a
layer's weights to come from memory than for its sums, and each compiled model keeps a copy of them. The golden replay
decides whether the answers are still Keras's; docs/decisions/008 has the figures.
"""

from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as operations

from service.scratch import require_room, room_to_convert
from shared.artifact import ATTENTION_NAME, INPUT_NAME, ArtifactError

ALONE_FILE = "alone.xml"
BATCH_FILE = "batch.xml"
EXPLAIN_FILE = "explain.xml"

_Quantized = tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.float32]]
"""Weights, levels and scales."""

_BLOCK = 256
"""Rows of memory that are quantized at a time: they stay in a core's cache."""

_FULL = 1 << 20
"""A volume with less room is taken to be full."""

_LARGE = 1 << 20
"""Weights of a dense layer from which they are written with 8 bits; smaller ones stay in a core's cache."""


def convert(
    version_dir: Path, folder: Path, batch_size: int, image_shape: tuple[int, int], precision: str | None
) -> None:
    """Write the SavedModel to folder, once for one slice [1, H, W, 1] and once for batches [batch_size, H, W, 1].

    Those are without attention, so that predictions do not pay for explanations; a third file has it, for any batch.

    precision: what the engine must compute in, and then the weights stay as they are; None where it is free. Where the
    processor will compute with 16 bits, all other weights are written with 16 bits: from float32 ones each compiled
    model would make, and keep, a copy of its own beside the packed one that it computes with. Raises
    shared.artifact.ArtifactError where it is no model, OSError where there is no room.
    """
    core, published = openvino.Core(), _read(version_dir)
    require_room(folder, room_to_convert(version_dir))  # OpenVINO does not tell when the disk is full
    is_free = precision is None
    has_16_bits = is_free and bool({"BF16", "FP16"} & set(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")))
    models = {**_to_predict(published, batch_size, image_shape), EXPLAIN_FILE: published}
    published.reshape({INPUT_NAME: [-1, *image_shape, 1]})
    if is_free:
        compress_large_weights(*models.values())
    for name, model in models.items():
        openvino.save_model(model, folder / name, compress_to_fp16=has_16_bits)
    require_room(folder, _FULL)  # somebody else may have filled it meanwhile, and the files end early


def convert_variant(model_file: Path, folder: Path, batch_size: int, image_shape: tuple[int, int]) -> None:
    """As convert(), from a variant's model.xml, whose weights stay as they are. It explains nothing.

    folder may be missing. Raises like convert().
    """
    folder.mkdir(parents=True, exist_ok=True)
    published = _read(model_file)
    require_room(folder, room_to_convert(model_file.parent))
    try:
        for name, model in _to_predict(published, batch_size, image_shape).items():
            openvino.save_model(model, folder / name, compress_to_fp16=False)
    except RuntimeError as error:  # it takes no such slices
        raise not_compiled(error) from error
    require_room(folder, _FULL)


def _read(model: Path) -> openvino.Model:
    try:
        return openvino.Core().read_model(model)
    except RuntimeError as error:
        raise not_compiled(error) from error


def _to_predict(published: openvino.Model, batch_size: int, image_shape: tuple[int, int]) -> dict[str, openvino.Model]:
    sizes = {ALONE_FILE: 1, BATCH_FILE: batch_size} if batch_size > 1 else {ALONE_FILE: 1}
    return {name: _without_attention(published, [size, *image_shape, 1]) for name, size in sizes.items()}


def _without_attention(published: openvino.Model, input_shape: list[int]) -> openvino.Model:
    model = published.clone()
    for output in model.outputs:
        if ATTENTION_NAME in output.get_names():
            model.remove_result(output.node)
    model.reshape({INPUT_NAME: input_shape})
    return model


def compress_large_weights(*models: openvino.Model) -> None:
    """Give the large dense layers of clones of a model 8-bit weights, each output with a scale of its own.

    The engine computes as before, with what it multiplies out of these while it reads them. Not before reshape(), which
    would multiply them out at once.
    """
    # clones share their weights' memory; what is kept here cannot be freed and its address given to another
    known: dict[tuple[int, tuple[int, ...], bool], _Quantized] = {}
    for layer in (layer for model in models for layer in model.get_ordered_ops()):
        if layer.get_type_name() != "MatMul":
            continue
        constant, attributes = layer.input_value(1).get_node(), layer.get_attributes()
        if constant.get_type_name() != "Constant" or attributes["transpose_a"]:
            continue
        weights = constant.get_data()
        if weights.ndim != 2 or weights.size < _LARGE or weights.dtype != np.float32:  # noqa: PLR2004 - a matrix
            continue
        key = (weights.ctypes.data, weights.shape, attributes["transpose_b"])
        if key not in known:
            known[key] = (weights, *quantized(weights if attributes["transpose_b"] else weights.T))
        _, levels, scales = known[key]
        compressed = operations.multiply(
            operations.convert(operations.constant(levels), np.float32), operations.constant(scales)
        )
        dense = operations.matmul(layer.input_value(0), compressed, transpose_a=False, transpose_b=True)
        layer.output(0).replace(dense.output(0))


def quantized(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """float32 [outputs, inputs] → levels int8 [outputs, inputs], -127 to 127, and scales float32 [outputs, 1].

    levels * scales differs from the weights by at most half a scale.
    """
    largest = np.maximum(weights.max(axis=1, keepdims=True), -weights.min(axis=1, keepdims=True))
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    levels = np.empty(weights.shape, np.int8)
    by_outputs = weights.flags.c_contiguous
    for start in range(0, len(weights) if by_outputs else weights.shape[1], _BLOCK):
        part = np.s_[start : start + _BLOCK] if by_outputs else np.s_[:, start : start + _BLOCK]
        block = weights[part] / (scales[part] if by_outputs else scales)
        levels[part] = np.rint(block, out=block)
    return levels, scales


def not_compiled(error: RuntimeError) -> ArtifactError:
    """What the engine's complaint means for the version."""
    return ArtifactError(f"OpenVINO cannot compile the model: {str(error).partition(chr(10))[0]}")
