"""Runs a SavedModel with TensorFlow: for models that OpenVINO cannot compile (LUNGCT_ENGINE=tensorflow)."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from service.engines.base import OUTPUTS, Outputs
from shared.artifact import ATTENTION_NAME, INPUT_NAME, SIGNATURE, ArtifactError


class TensorFlowEngine:
    """One loaded SavedModel and its serving signature."""

    precision = "f32"
    name = f"tensorflow {tf.__version__}, {precision}"

    def __init__(
        self,
        version_dir: Path,
        threads: int,
        batch_size: int,
        image_shape: tuple[int, int],
        *,
        pause: Callable[[], None],
    ) -> None:
        """Calls pause() between steps that take a core for a while."""
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        try:
            self._loaded = tf.saved_model.load(str(version_dir))  # the signature lives as long as what it came from
            self._whole = self._loaded.signatures[SIGNATURE]
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError from error
        except (ValueError, KeyError, OSError, tf.errors.OpError) as error:
            if isinstance(error, OSError) and error.errno:  # without a number it is TensorFlow's word on the content
                raise
            raise ArtifactError(f"TensorFlow cannot load the model: {str(error).partition(chr(10))[0]}") from error
        self._batch_size = batch_size
        # TensorFlow leaves out what a function does not give back: predictions do not pay for explanations
        shape = tf.TensorSpec([None, *image_shape, 1], tf.uint8)
        self._serve = tf.function(self._to_predict, input_signature=[shape], autograph=False)
        for size in range(1, batch_size + 1):  # the first inference of a size is slow; no request should pay for it
            pause()
            self.infer(np.zeros((size, *image_shape, 1), np.uint8))

    def infer_single(self, image: NDArray[np.uint8]) -> Outputs:
        """uint8 [1, H, W, 1] → outputs of one slice."""
        return self.infer(image)

    def infer(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs."""
        return _arrays(self._serve(tf.constant(images)))

    def replay(self, images: NDArray[np.uint8]) -> Iterator[Outputs]:
        """uint8 [n, H, W, 1] → outputs for all of them, in full batches: whatever waits is computed together."""
        size = self._batch_size
        answers = [self.infer(images[start : start + size]) for start in range(0, len(images), size)]
        yield {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def infer_with_attention(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, with attention. Shares the weights."""
        return _arrays(self._whole(**{INPUT_NAME: tf.constant(images)}))

    def _to_predict(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = self._whole(**{INPUT_NAME: images})
        return {name: answer[name] for name in OUTPUTS if name in answer}


def _arrays(answer: dict[str, tf.Tensor]) -> Outputs:
    return {name: np.asarray(answer[name].numpy(), np.float32) for name in (*OUTPUTS, ATTENTION_NAME) if name in answer}
