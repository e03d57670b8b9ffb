"""Members → one model: the mean of their calibrated answers, in every engine."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared.artifact import OUTPUT_NAME
from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec
from trainer.data.dataset import AS_IS
from trainer.evaluation.calibration import softmax
from trainer.export.ensemble import NoMembers, assemble
from trainer.export.saved_model import export, load_and_predict, make_golden
from trainer.networks.heads import fit_head
from trainer.networks.openvino_network import compute_features, to_openvino
from trainer.training.frozen_features import feature_extractor
from trainer.training.members import Member

SPEC = PreprocessingSpec(height=32, width=32)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 [24, 32, 32, 1], noise that is brighter the higher the class."""
    generator = np.random.default_rng(2)
    return np.stack([generator.integers(0, 100 + 50 * (n % 3), (32, 32, 1), np.uint8) for n in range(24)])


@pytest.fixture(scope="module", params=["lda", "logistic", "neighbours"])
def members(request: pytest.FixtureRequest, images: np.ndarray) -> list[Member]:
    """Three members that share a small network, each fitted to two thirds of the images."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 1), dtype="uint8", name="image")
    scaled = keras.layers.Rescaling(1 / 255)(image)
    backbone = keras.Model(image, keras.layers.Conv2D(16, 3, activation="relu")(scaled))
    network, blocks = feature_extractor(backbone)
    features, rows = compute_features(to_openvino(network), images, "Features"), np.arange(24)
    return [
        Member(
            network,
            fit_head(
                request.param,
                features[rows % 8 != leave],
                (rows % 3)[rows % 8 != leave],
                rows[rows % 8 != leave],
                blocks=blocks,
                classes=len(LUNG_CT_CLASSES.names),
            ),
            {AS_IS: images},
            shares_network=True,
        )
        for leave in range(3)
    ]


def test_the_model_is_the_mean_of_calibrated_members(members: list[Member], images: np.ndarray) -> None:
    """Its probabilities are those of the members' logits at the temperature, averaged."""
    model = assemble(members, temperature=2.5)
    expected = np.mean([softmax(member.logits(np.arange(24)), 2.5) for member in members], axis=0)
    np.testing.assert_allclose(model.predict_on_batch(images)[OUTPUT_NAME], expected, atol=1e-3)


def test_a_shared_network_is_computed_once(members: list[Member]) -> None:
    """Three members make a graph with one call of their network."""
    names = [layer.name for layer in assemble(members, 1.0).layers]
    assert sum(name.startswith("features") for name in names) == 1
    assert len([op for op in _operations(assemble(members, 1.0)) if op.type == "Conv2D"]) == 1


def test_the_exported_model_answers_alike(members: list[Member], images: np.ndarray, tmp_path: Path) -> None:
    """One SavedModel with one signature gives Keras's probabilities, which are float32 and sum to 1."""
    model = assemble(members, 1.7)
    export(model, SPEC, tmp_path / "model")
    answers = load_and_predict(tmp_path / "model", images)
    np.testing.assert_allclose(answers, model.predict_on_batch(images)[OUTPUT_NAME], atol=1e-5)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert list(tf.saved_model.load(str(tmp_path / "model")).signatures) == ["serving_default"]
    assert make_golden(model, SPEC).probabilities.shape == (8, 3)


def test_openvino_answers_alike(members: list[Member], images: np.ndarray, tmp_path: Path) -> None:
    """The serving engine gives Keras's probabilities from the exported model."""
    openvino = pytest.importorskip("openvino")
    model = assemble(members, 1.7)
    export(model, SPEC, tmp_path / "model")
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(tmp_path / "model"), "CPU", hints)
    answers = compiled({"image": images})[compiled.output("probabilities")]
    np.testing.assert_allclose(answers, model.predict_on_batch(images)[OUTPUT_NAME], atol=2e-3)


def test_a_saved_member_comes_back(members: list[Member], tmp_path: Path) -> None:
    """What a head wrote, read again, gives the same logits."""
    for member in members:
        member.save(tmp_path / "fold.npz")
        again = Member.load(tmp_path / "fold.npz", member.network, member.seen, shares_network=True)
        np.testing.assert_array_equal(again.logits(np.arange(24)), member.logits(np.arange(24)))
    (tmp_path / "other.npz").write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="other"):
        Member.load(tmp_path / "other.npz", members[0].network, members[0].seen)


def test_no_members_no_model() -> None:
    """An empty list of members is an error in words."""
    with pytest.raises(NoMembers, match="at least one"):
        assemble([], 1.0)


def _operations(model: keras.Model) -> list[Any]:
    signature = tf.TensorSpec([None, 32, 32, 1], tf.uint8)
    concrete = tf.function(lambda image: model(image, training=False)).get_concrete_function(signature)
    return list(concrete.graph.get_operations())
