"""What each place adds: a sum that is the logit, whatever pools the places."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from shared.imaging import PreprocessingSpec
from trainer.data.dataset import AS_IS
from trainer.export.ensemble import assemble
from trainer.export.saved_model import export
from trainer.networks.heads import FittedHeadName, LinearMap, fit_head
from trainer.networks.openvino_network import compute_features, to_openvino
from trainer.networks.registry import build_network
from trainer.training.fine_tuning import attended
from trainer.training.from_scratch import taken_apart
from trainer.training.frozen_features import feature_extractor
from trainer.training.members import Member

SIDE = 96


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 [12, 96, 96, 1]: noise, and the last one unlike all others, so that a head cuts its features off."""
    generator = np.random.default_rng(5)
    noise = generator.integers(0, 120, (12, SIDE, SIDE, 1), np.uint8)
    noise[-1] = generator.integers(0, 2, (SIDE, SIDE, 1), np.uint8) * 255
    return noise


def from_scratch(network: str) -> Member:
    keras.utils.set_random_seed(3)
    return taken_apart(build_network(network, PreprocessingSpec(height=SIDE, width=SIDE), 3), {})


def convolutions() -> keras.Model:
    """Two feature maps of different size, as the chest network has."""
    image = keras.Input((SIDE, SIDE, 1), dtype="uint8", name="image")
    scaled = keras.layers.Rescaling(1 / 255)(image)
    fine = keras.layers.Conv2D(6, 3, 4, padding="same", activation="relu")(scaled)
    return keras.Model(image, [fine, keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu")(fine)])


def tuned(images: np.ndarray) -> Member:
    keras.utils.set_random_seed(4)
    backbone, generator = convolutions(), np.random.default_rng(1)
    network = keras.Model(backbone.inputs, attended(backbone.outputs[-1]))
    network.get_layer("attention_score").set_weights([generator.normal(0, 3, (8, 1)).astype(np.float32)])
    head = LinearMap(generator.normal(0, 1, (8, 3)).astype(np.float32), np.ones(3, np.float32))
    return Member(network, head, {AS_IS: images})


def frozen(images: np.ndarray, kind: FittedHeadName = "lda") -> Member:
    keras.utils.set_random_seed(2)
    (network, blocks), rows = feature_extractor(convolutions()), np.arange(11)
    features = compute_features(to_openvino(network), images, "Features")
    head = fit_head(kind, features[rows], rows % 3, rows, blocks=blocks, classes=3)
    return Member(network, head, {AS_IS: images})


@pytest.mark.parametrize("kind", ["tiny", "cnn", "tuned", "frozen"])
def test_the_mean_over_places_is_the_logit(kind: str, images: np.ndarray) -> None:
    """For maximum, mean, deviation, attention and dense layers; also where a slice's features are cut off."""
    makers: dict[str, Callable[[], Any]] = {"tuned": lambda: tuned(images), "frozen": lambda: frozen(images)}
    member = makers[kind]() if kind in makers else from_scratch(kind)
    answer = assemble([member], temperature=1.3).predict_on_batch(images)
    expected = member.head.logits(np.asarray(member.network.predict_on_batch(images), np.float32))
    np.testing.assert_allclose(answer["attention"].mean(axis=(1, 2)), expected / 1.3, atol=2e-3, rtol=1e-3)
    assert answer["attention"].std(axis=(1, 2)).min() > 1e-4


def test_features_that_were_cut_off_are_among_them(images: np.ndarray) -> None:
    """The last image reaches the clip, so that the test above covers it."""
    member = frozen(images)
    features = member.features_of(np.arange(12))
    standardised = (features - member.head.standardiser.mean) / member.head.standardiser.scale
    assert np.abs(standardised[-1]).max() > 6


def test_members_are_averaged(images: np.ndarray) -> None:
    """Two members that share a network: the mean of their maps."""
    first, second = frozen(images), frozen(images, "logistic")
    members = [first, Member(first.network, second.head, {AS_IS: images})]  # a shared network has one name
    maps = [assemble([member], 1.0).predict_on_batch(images)["attention"] for member in members]
    together = assemble(members, 1.0).predict_on_batch(images)["attention"]
    np.testing.assert_allclose(together, np.mean(maps, axis=0), atol=1e-3)


def test_neighbours_have_no_places(images: np.ndarray) -> None:
    """A head that votes is no sum over places: the model has no such output."""
    assert set(assemble([frozen(images, "neighbours")], 1.0).output) == {"probabilities"}


def test_other_weights_look_elsewhere(images: np.ndarray) -> None:
    """Randomised weights change the map (Adebayo et al. 2018, arXiv 1810.03292): correlation stays below 0.5."""
    member = tuned(images)
    before = assemble([member], 1.0).predict_on_batch(images)["attention"]
    generator = np.random.default_rng(9)
    member.network.set_weights([generator.normal(0, 0.3, value.shape) for value in member.network.get_weights()])
    after = assemble([member], 1.0).predict_on_batch(images)["attention"]
    pairs = zip(before[..., 0].reshape(12, -1), after[..., 0].reshape(12, -1), strict=True)
    assert np.median([np.corrcoef(*pair)[0, 1] for pair in pairs]) < 0.5


def test_dense_weights_are_exported_once(tmp_path: Path) -> None:
    """The way back through a dense layer uses that layer's weights: the graph holds no copy of them."""
    model = assemble([from_scratch("cnn")], temperature=1.0)
    export(model, PreprocessingSpec(height=SIDE, width=SIDE), tmp_path)
    (weights,) = (tmp_path / "variables").glob("*.data*")
    assert (tmp_path / "saved_model.pb").stat().st_size < weights.stat().st_size / 20
