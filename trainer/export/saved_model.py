"""A Keras model → a SavedModel with one signature, and the proof that it answers as the model did.

A model gives probabilities alone, or a dictionary of named outputs, `probabilities` among them: each becomes an output
of the signature.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.artifact import INPUT_NAME, OUTPUT_NAME, SIGNATURE
from shared.golden import Golden
from shared.imaging import PreprocessingSpec
from trainer.export.golden import golden_images


class _Servable(tf.Module):  # type: ignore[misc] # TensorFlow ships no types
    """The model without its optimizer, whose moments would triple the files."""

    def __init__(self, model: keras.Model, spec: PreprocessingSpec) -> None:
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        image = tf.TensorSpec([None, spec.height, spec.width, 1], tf.uint8, name=INPUT_NAME)
        self.serve = tf.function(
            lambda image: _named(model(image, training=False)), input_signature=[image], autograph=False
        )


def export(model: keras.Model, spec: PreprocessingSpec, folder: Path) -> None:
    """Write saved_model.pb, fingerprint.pb and variables/ into the folder. Raises tf.errors.OpError or OSError."""
    servable = _Servable(model, spec)
    tf.saved_model.save(servable, str(folder), signatures={SIGNATURE: servable.serve.get_concrete_function()})


def load_and_predict(folder: Path, images: NDArray[np.uint8], batch_size: int = 8) -> NDArray[np.float32]:
    """Probabilities float32 [n, classes] that an exported SavedModel gives for uint8 [n, H, W, 1]."""
    return np.concatenate([answer[OUTPUT_NAME] for answer in load_and_answer(folder, images, batch_size)])


def load_and_answer(
    folder: Path, images: NDArray[np.uint8], batch_size: int = 8
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """All named outputs of an exported SavedModel for uint8 [n, H, W, 1], a batch at a time, in their order."""
    signature = (loaded := tf.saved_model.load(str(folder))).signatures[SIGNATURE]
    for start in range(0, len(images), batch_size):
        answer = signature(**{INPUT_NAME: tf.constant(images[start : start + batch_size])})
        yield {name: output.numpy() for name, output in answer.items()}
    del loaded  # its variables live as long as it does, and the signature needs them


def make_golden(model: keras.Model, spec: PreprocessingSpec) -> Golden:
    """Golden slices uint8 [8, H, W, 1] and what Keras says to them, float32 [8, classes]."""
    images = golden_images(spec)
    return Golden(
        images=images, probabilities=np.asarray(_named(model.predict_on_batch(images))[OUTPUT_NAME], np.float32)
    )


def _named(answer: Any) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else {OUTPUT_NAME: answer}
