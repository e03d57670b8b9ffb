"""Features by OpenVINO: Keras's, slice by slice."""

import sys

import numpy as np
import pytest

from tests.support.inputs.networks import small_features
from trainer.networks.openvino_network import compute_features, to_openvino


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (9, 32, 32, 1), np.uint8)


def test_features_are_those_that_keras_computes(images: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the slices, float32, with progress shown on standard error."""
    network, blocks = small_features()
    features = compute_features(to_openvino(network), images, "Features, acquired")
    assert (features.dtype, features.shape) == (np.float32, (9, sum(blocks)))
    np.testing.assert_allclose(features, network.predict_on_batch(images), atol=1e-5)
    assert "Features, acquired: 9 to do" in capsys.readouterr().err


def test_what_is_computed_beside_a_slice_changes_nothing(images: np.ndarray) -> None:
    """Another order, another number: bit by bit the same."""
    network = to_openvino(small_features()[0])
    features = compute_features(network, images, "Features")
    assert np.array_equal(compute_features(network, images[::-1][:4], "Features"), features[::-1][:4])


def test_the_network_takes_batches_of_any_size(images: np.ndarray) -> None:
    """Computing features slice by slice leaves it as it was."""
    network = to_openvino(small_features()[0])
    compute_features(network, images, "Features")
    assert network.input(0).get_partial_shape().to_string() == "[?,32,32,1]"


def test_nothing_is_told_to_anybody() -> None:
    """The package through which OpenVINO and NNCF send statistics cannot be imported."""
    assert sys.modules["openvino_telemetry"] is None
