"""A quantized network and its heads → one model in OpenVINO's format, with the inputs and outputs of the SavedModel."""

from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from shared.artifact import OUTPUT_NAME
from shared.golden import Golden
from shared.imaging import PreprocessingSpec
from shared.variant import VARIANT_MODEL_FILE
from trainer.export.golden import golden_images


def join(network: ov.Model, heads: ov.Model) -> ov.Model:
    """One model, image uint8 [B, H, W, 1] → named outputs: those of the heads, features → outputs, behind a network."""
    first, second = network.clone(), heads.clone()
    features = first.get_results()[0].input_value(0)
    second.get_parameters()[0].output(0).replace(features)
    return ov.Model(second.get_results(), first.get_parameters(), "ensemble")


def export_ir(model: ov.Model, folder: Path) -> None:
    """Write model.xml and model.bin into the folder, numbers as they are. Raises OSError."""
    try:
        ov.save_model(model, folder / VARIANT_MODEL_FILE, compress_to_fp16=False)
    except RuntimeError as error:  # which says nothing of what the system said
        raise OSError(f"{VARIANT_MODEL_FILE} could not be written") from error


def load_and_predict_ir(folder: Path, images: NDArray[np.uint8], batch_size: int = 1) -> NDArray[np.float32]:
    """Probabilities float32 [n, classes] that the model in a folder gives for uint8 [n, H, W, 1].

    In batches, of which the last may be smaller.
    """
    return predict(ov.Core().read_model(folder / VARIANT_MODEL_FILE), images, batch_size)


def predict(model: ov.Model, images: NDArray[np.uint8], batch_size: int = 1) -> NDArray[np.float32]:
    """Probabilities float32 [n, classes] for uint8 [n, H, W, 1]; what is not quantized is computed in float32."""
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    starts = range(0, len(images), batch_size)
    return np.concatenate([compiled([images[start : start + batch_size]])[OUTPUT_NAME] for start in starts])


def make_variant_golden(model: ov.Model, spec: PreprocessingSpec) -> Golden:
    """The version's golden slices, and what this variant says to each by itself, float32 [8, classes]."""
    images = golden_images(spec)
    return Golden(images=images, probabilities=predict(model, images))
