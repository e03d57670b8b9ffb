"""A network with 8 bits: nearly the same features, the same each time, and no noise on the way."""

import logging

import numpy as np
import openvino as ov
import pytest

from tests.support.inputs.networks import small_features
from trainer.networks.openvino_network import compute_features, to_openvino
from trainer.networks.quantization import quantize


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (24, 32, 32, 1), np.uint8)


@pytest.fixture(scope="module")
def network() -> ov.Model:
    return to_openvino(small_features()[0])


def features_of(network: ov.Model, images: np.ndarray) -> np.ndarray:
    return compute_features(network, images, "Features")


def test_features_differ_a_little(network: ov.Model, images: np.ndarray) -> None:
    """By some hundredths of their size at most: it is another network, of the same slices."""
    exact, rounded = features_of(network, images), features_of(quantize(network, images), images)
    off = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    assert 1e-4 < off < 0.05
    assert rounded.shape == exact.shape


def test_equal_slices_give_an_equal_network(network: ov.Model, images: np.ndarray) -> None:
    """Its features are the same bit by bit."""
    first, second = (features_of(quantize(network, images), images) for _ in range(2))
    assert np.array_equal(first, second)


def test_few_or_many_slices_tell_the_ranges(network: ov.Model, images: np.ndarray) -> None:
    """One slice is enough; of many some hundred are asked."""
    many = np.tile(images, (20, 1, 1, 1))
    for asked in (images[:1], many):
        assert np.isfinite(features_of(quantize(network, asked), images[:3])).all()


def test_the_network_stays_and_the_new_one_takes_batches_of_any_size(network: ov.Model, images: np.ndarray) -> None:
    before = features_of(network, images)
    quantized = quantize(network, images)
    assert quantized.input(0).get_partial_shape().to_string() == "[?,32,32,1]"
    assert np.array_equal(features_of(network, images), before)


def test_nothing_is_drawn_on_the_terminal(
    network: ov.Model, images: np.ndarray, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Our own lines say what takes how long, and loggers are what they were."""
    with caplog.at_level(logging.INFO):
        quantize(network, images)
    assert capfd.readouterr().out == ""
    assert [record.name for record in caplog.records] == ["trainer.networks.quantization"] * 2
    assert "24 slices" in caplog.text
    assert logging.getLoggerClass() is logging.Logger
