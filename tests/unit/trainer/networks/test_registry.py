"""Networks: what they take, what they give, how large they are."""

import keras
import numpy as np
import pytest

from shared.imaging import PreprocessingSpec
from trainer.networks.registry import build_network


def test_cnn_is_the_reference_network() -> None:
    """With three classes at 224 x 224 the cnn has the reference's parameters, layer by layer."""
    network = build_network("cnn", PreprocessingSpec(), 3)
    assert network.count_params() == 19_395_395
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == [
        *("InputLayer", "Rescaling", "Concatenate"),
        *("Conv2D", "MaxPooling2D") * 4,
        "Flatten",
        *("Dense", "Dropout") * 2,
        "Dense",
    ]
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [32, 64, 128, 256]
    assert {layer.padding for layer in convolutions} == {"valid"}
    assert [layer.rate for layer in network.layers if isinstance(layer, keras.layers.Dropout)] == [0.5, 0.5]


@pytest.mark.parametrize("name", ["cnn", "tiny"])
def test_grey_bytes_in_probabilities_out(name: str) -> None:
    """Every network takes uint8 [B, H, W, 1] of any spec and gives rows that sum to 1 over any number of classes."""
    network = build_network(name, PreprocessingSpec(height=64, width=96), 5)
    probabilities = network.predict_on_batch(np.full((2, 64, 96, 1), 200, np.uint8))
    assert probabilities.shape == (2, 5)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_scaling_is_inside_the_graph() -> None:
    """The first thing that happens to a pixel is division by 255, so that a caller cannot forget it."""
    network = build_network("tiny", PreprocessingSpec(height=32, width=32), 2)
    scale = keras.Model(network.input, network.layers[1].output)
    np.testing.assert_allclose(scale.predict_on_batch(np.full((1, 32, 32, 1), 255, np.uint8)), 1.0)
