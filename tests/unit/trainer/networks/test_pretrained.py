"""Networks with weights: the numbers that the original PyTorch networks gave for a drawn pattern."""

from pathlib import Path

import keras
import numpy as np
import pytest

from shared.imaging import PreprocessingSpec
from trainer.networks.pickled_weights import WeightsError
from trainer.networks.pretrained import NoImageNetWeights, UnfitWeights, UnknownNetwork, build_backbone

# Keras 3.15 converts variables in a way that NumPy 2 is about to drop
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SPEC = PreprocessingSpec(height=64, width=64)


def pattern() -> np.ndarray:
    """uint8 [1, 64, 64, 1], the picture that the reference values below belong to."""
    at = np.arange(64)
    grey = 3 * at[:, np.newaxis] + 5 * at + at[:, np.newaxis] * at // 7
    return (grey % 256).astype(np.uint8)[np.newaxis, :, :, np.newaxis]


def test_efficientnet_lite0_is_the_imagenet_network() -> None:
    """Features agree with those that PyTorch computed from the same weights, to float32's precision."""
    network = build_backbone("efficientnet_lite0", SPEC)
    features = network.predict_on_batch(pattern())
    assert features.shape == (1, 2, 2, 1280)
    np.testing.assert_allclose(features[0, 0, 1, :8], [0, 0, 0, 0, 0, 0, 5.30693, 6.0], atol=1e-4)
    np.testing.assert_allclose(features[0].mean(axis=(0, 1))[:2], [0.1705, 0], atol=1e-4)
    assert features.mean() == pytest.approx(0.757322, abs=1e-5)


@pytest.mark.slow
def test_chest_resnet_is_the_chest_ct_network() -> None:
    """Three feature maps agree with the volume network's on a volume of equal slices, turned as slices are shown."""
    taps = build_backbone("chest_resnet", SPEC).predict_on_batch(pattern())
    assert [tap.shape for tap in taps] == [(1, 8, 8, 512), (1, 4, 4, 1024), (1, 4, 4, 1024)]
    for tap, total, means, values in zip(
        taps,
        (0.235942, 0.161409, 0.134276),
        ([0.11721, 0.02686, 0.20964], [0.25459, 0.01147, 0.04803], [0.06121, 0.00001, 0.00202]),
        ([0, 0, 0.05596, 0], [0.71194, 0, 0.03885, 0], [0.0263, 0, 0, 0]),
        strict=True,
    ):
        assert tap.mean() == pytest.approx(total, abs=1e-5)
        np.testing.assert_allclose(tap[0].mean(axis=(0, 1))[:3], means, atol=1e-4)
        np.testing.assert_allclose(tap[0, 1, 2, :4], values, atol=1e-4)


def test_lite0_keeps_its_normalization_layers() -> None:
    """Fine-tuning needs them: one after each of its 49 convolutions."""
    layers = build_backbone("efficientnet_lite0", SPEC, "none").layers
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in layers) == 49


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras:MobileNetV2"])
def test_networks_of_keras_take_grey_bytes(name: str, tmp_path: Path) -> None:
    """By name, with random weights or those of a file, which give the same features again."""
    first = build_backbone(name, SPEC, "none")
    features = first.predict_on_batch(pattern())
    assert features.ndim == 4
    network = next(layer for layer in first.layers if isinstance(layer, keras.Model))
    network.save_weights(tmp_path / "own.weights.h5")
    again = build_backbone(name, SPEC, str(tmp_path / "own.weights.h5"))
    np.testing.assert_array_equal(again.predict_on_batch(pattern()), features)


def test_an_unknown_network_is_named() -> None:
    """The error says which networks there are."""
    with pytest.raises(UnknownNetwork, match=r"no network keras:LeNet; expected one of .*EfficientNetB0"):
        build_backbone("keras:LeNet", SPEC)


@pytest.mark.slow
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """A file that is missing, or was written for another network, is an error that names both."""
    with pytest.raises(UnfitWeights, match=r"missing\.h5 does not fit keras:MobileNetV2: there is no such file"):
        build_backbone("keras:MobileNetV2", SPEC, "missing.h5")
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UnfitWeights, match="does not fit efficientnet_lite0"):
        build_backbone("efficientnet_lite0", SPEC, str(tmp_path / "other.weights.h5"))


def test_imagenet_weights_that_cannot_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, the error says what else can be done."""
    for variable in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NoImageNetWeights, match="Give a weights file, or none, or use efficientnet_lite0"):
        build_backbone("keras:MobileNet", PreprocessingSpec())


def test_a_network_that_is_too_small_for_its_slices() -> None:
    """A side that a network cannot take is reported with the network's name."""
    with pytest.raises(WeightsError, match="keras:InceptionV3 cannot be built for 32 x 32"):
        build_backbone("keras:InceptionV3", PreprocessingSpec(height=32, width=32), "none")
