"""Fine-tuning: which layers learn, that batch normalization does not, and that a member comes back from its file."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from shared.artifact import OUTPUT_NAME
from shared.classes import LUNG_CT_CLASSES
from trainer.data.dataset import AS_IS, Dataset
from trainer.evaluation.calibration import softmax
from trainer.export.ensemble import assemble
from trainer.export.saved_model import export, load_and_predict
from trainer.networks.pretrained import build_backbone
from trainer.settings import TrainerSettings
from trainer.training.fine_tuning import FineTuning, attended, unfreeze
from trainer.training.members import Member

# Keras 3.15 converts variables in a way that NumPy 2 is about to drop
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SETTINGS = TrainerSettings(
    network="efficientnet_lite0", learning="fine-tuning", image_side=64, epochs=4, batch_size=6, balance="batches",
    learning_rate=0.01, augmentation="none", unfrozen=0.1,
)  # fmt: skip


@pytest.fixture(scope="module")
def stripes() -> Dataset:
    """Eighteen slices of 64 x 64 with stripes whose direction is their class."""
    at = np.arange(64)
    kinds = [at[:, np.newaxis] + 0 * at, 0 * at[:, np.newaxis] + at, at[:, np.newaxis] + at]
    images = np.stack([((kinds[n % 3] // 8 + n) % 2 * 150 + 50).astype(np.uint8)[..., np.newaxis] for n in range(18)])
    digests = tuple(f"{index:064x}" for index in range(18))
    thumbnails = np.zeros((18, 64, 64), np.uint8)
    return Dataset(
        images=images,
        labels=np.arange(18) % 3,
        digests=digests,
        files=digests,
        skipped=(),
        classes=LUNG_CT_CLASSES,
        kind="slices",
        thumbnails=thumbnails,
    )


@pytest.fixture(scope="module")
def member(stripes: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Member, Path]:
    """A member fitted to twelve slices with the other six held out, and where its curves went."""
    logs = tmp_path_factory.mktemp("logs")
    settings = SETTINGS.model_copy(update={"log_dir": logs})
    return FineTuning(stripes, settings).fit(np.arange(12), np.arange(12, 18), seed=1), logs


def test_it_learns(member: tuple[Member, Path], stripes: Dataset) -> None:
    """Four epochs are enough for stripes; logits are float64 and come for any rows."""
    logits = member[0].logits(np.array([17, 3, 4]))
    assert logits.shape == (3, 3)
    assert logits.dtype == np.float64
    assert (member[0].logits(np.arange(12)).argmax(axis=1) == stripes.labels[:12]).mean() > 0.8


@pytest.mark.slow
def test_it_lies_in_a_model_as_it_was(member: tuple[Member, Path], stripes: Dataset, tmp_path: Path) -> None:
    """The assembled model gives the mean of its members' calibrated probabilities, exported too; members are networks
    of their own.
    """
    member[0].save(tmp_path / "fold.npz")
    again = FineTuning(stripes, SETTINGS).load(tmp_path / "fold.npz")
    model = assemble([member[0], again], 1.5)
    expected = softmax(member[0].logits(np.arange(18)), 1.5)
    np.testing.assert_allclose(model.predict_on_batch(stripes.images)[OUTPUT_NAME], expected, atol=1e-4)
    export(model, SETTINGS.preprocessing, tmp_path / "model")
    np.testing.assert_allclose(load_and_predict(tmp_path / "model", stripes.images), expected, atol=1e-4)


def test_a_member_computes_each_slice_once(member: tuple[Member, Path], stripes: Dataset) -> None:
    """Rows that were asked for before come from memory: in any order, some twice, beside others that are new."""
    network = member[0].network
    images = stripes.images.copy()
    fold = Member(network, member[0].head, {AS_IS: images})
    first = fold.features_of(np.array([3, 5]))
    images[[3, 5]] = 0
    again = fold.features_of(np.array([5, 7, 3, 5]))
    np.testing.assert_array_equal(again[[2, 0]], first)
    np.testing.assert_array_equal(again[3], again[0])
    np.testing.assert_allclose(again[1:2], network.predict_on_batch(images[7:8]), atol=1e-5)
    assert fold.features_of(np.empty(0, np.int64)).shape == (0, first.shape[1])


def test_a_saved_member_comes_back(member: tuple[Member, Path], stripes: Dataset, tmp_path: Path) -> None:
    """Read again, it gives the same logits; a file of something else is refused."""
    member[0].save(tmp_path / "fold.npz")
    again = FineTuning(stripes, SETTINGS).load(tmp_path / "fold.npz")
    np.testing.assert_allclose(again.logits(np.arange(18)), member[0].logits(np.arange(18)), atol=1e-5)
    np.savez(tmp_path / "other.npz", weights=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"other\.npz holds no fitted member"):
        FineTuning(stripes, SETTINGS).load(tmp_path / "other.npz")


def test_curves_are_written_for_tensorboard(member: tuple[Member, Path]) -> None:
    """One event file a phase; epochs go on counting; loss and accuracy of both parts are there."""
    found: dict[str, list[int]] = {}
    for file in sorted(member[1].rglob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    assert set(found) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert found["loss"] == [0, 1, 2, 3]


@pytest.mark.slow
def test_normalization_never_learns_and_early_layers_stay(stripes: Dataset) -> None:
    """After fitting, statistics and early kernels are the pretrained ones; late kernels and attention are not."""
    fitted = FineTuning(stripes, SETTINGS).fit(np.arange(12), None, seed=2).network
    before = {
        weight.path: weight.numpy() for weight in build_backbone("efficientnet_lite0", SETTINGS.preprocessing).weights
    }
    changed = {
        weight.path
        for weight in fitted.weights
        if weight.path in before and (before[weight.path] != weight.numpy()).any()
    }
    assert changed
    assert not any("_bn" in path for path in changed)
    assert all(path.startswith(("lite0_blocks-15", "lite0_blocks-14", "lite0_conv_head")) for path in changed)


def test_unfreezing_counts_from_the_end() -> None:
    """With a share of 0 only attention learns; with 1 all but normalization."""
    backbone = build_backbone("efficientnet_lite0", SETTINGS.preprocessing, "none")
    network = keras.Model(backbone.inputs, attended(backbone.outputs[-1]))
    unfreeze(network, 0.0)
    assert [weight.path for weight in network.trainable_weights] == ["attention_score/kernel"]
    unfreeze(network, 1.0)
    assert len(network.trainable_weights) == 49 + 1


def test_layers_of_nested_networks_are_frozen_too() -> None:
    """A network of keras.applications lies in the model as one layer; its own layers are counted."""
    backbone = build_backbone("keras:MobileNetV2", SETTINGS.preprocessing, "none")
    network = keras.Model(backbone.inputs, attended(backbone.outputs[-1]))
    unfreeze(network, 0.0)
    assert len(network.trainable_weights) == 1
    unfreeze(network, 0.2)
    assert 1 < len(network.trainable_weights) < 30


def test_attention_is_the_mean_at_first() -> None:
    """Untrained attention weighs every place alike."""
    feature_map = keras.Input((3, 4, 5))
    model = keras.Model(feature_map, attended(feature_map))
    values = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    np.testing.assert_allclose(model.predict_on_batch(values), values.mean(axis=(1, 2)), atol=1e-6)
