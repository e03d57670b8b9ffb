"""Every engine reads all that a model says for a prediction, and nothing that is for explanations."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from service.engines.base import Engine, Pace
from service.engines.openvino_conversion import convert
from service.engines.openvino_engine import OpenVINOEngine
from service.engines.tensorflow_engine import TensorFlowEngine
from shared.artifact import ATTENTION_NAME, DISTANCE_NAME, FAMILIARITY_NAME, INPUT_NAME, OUTPUT_NAME, SIGNATURE

SIDE = 32
SLICES = np.stack([np.full((SIDE, SIDE, 1), grey, np.uint8) for grey in (0, 102, 255)])


class _Grey(tf.Module):  # type: ignore[misc] # TensorFlow ships no types
    """All outputs that a version may have, each another multiple of the mean grey from 0 to 1."""

    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        grey = tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3]) / 255
        return {
            OUTPUT_NAME: tf.stack([grey, 1 - grey], 1),
            DISTANCE_NAME: 2 * grey,
            FAMILIARITY_NAME: 3 * grey,
            ATTENTION_NAME: tf.cast(image, tf.float32)[:, ::8, ::8],
        }


@pytest.fixture(scope="module")
def version_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of that."""
    folder = tmp_path_factory.mktemp("version")
    grey = _Grey()
    serve = tf.function(grey.serve, input_signature=[tf.TensorSpec([None, SIDE, SIDE, 1], tf.uint8, name=INPUT_NAME)])
    tf.saved_model.save(grey, str(folder), signatures={SIGNATURE: serve.get_concrete_function()})
    return folder


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
def test_a_prediction_has_both_distances(version_dir: Path, tmp_path: Path, name: str) -> None:
    """Alone and in a batch; what they are not given, the gate and familiarity cannot ask about."""
    if name == "openvino":
        convert(version_dir, tmp_path, 4, (SIDE, SIDE), "f32")
        pace = Pace(batch_size=4)
        engine: Engine = OpenVINOEngine(tmp_path, 1, (SIDE, SIDE), "f32", pace, pause=lambda: None)
    else:
        threads = tf.config.threading.get_intra_op_parallelism_threads()  # once TensorFlow runs, it cannot change
        engine = TensorFlowEngine(version_dir, threads, batch_size=4, image_shape=(SIDE, SIDE), pause=lambda: None)
    alone = [engine.infer_single(one[np.newaxis]) for one in SLICES]
    grey = np.array([0, 0.4, 1])
    for outputs in (engine.infer(SLICES), {name: np.concatenate([one[name] for one in alone]) for name in alone[0]}):
        assert set(outputs) == {OUTPUT_NAME, DISTANCE_NAME, FAMILIARITY_NAME}
        np.testing.assert_allclose(outputs[DISTANCE_NAME], 2 * grey, atol=1e-5)
        np.testing.assert_allclose(outputs[FAMILIARITY_NAME], 3 * grey, atol=1e-5)
