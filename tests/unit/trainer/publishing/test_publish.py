"""Publishing: the next number, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from shared.artifact import Manifest, read_manifest, verify_files
from shared.classes import LUNG_CT_CLASSES, ClassSet
from shared.golden import GoldenMismatch, read_golden
from shared.imaging import PreprocessingSpec
from shared.versions import published_versions
from tests.support.published import publish_untrained
from trainer.export.golden import golden_images
from trainer.export.saved_model import load_and_predict
from trainer.networks.registry import build_network
from trainer.publishing.model_record import ModelRecord
from trainer.publishing.publish import PublishingFailed, publish

SMALL = PreprocessingSpec(height=32, width=32)


@pytest.fixture(scope="module")
def published(tiny_network_repository: Path) -> tuple[Path, Manifest]:
    """The folder of a published version, and its manifest."""
    folder = tiny_network_repository / "lung-ct" / "1"
    return folder, read_manifest(folder)


RECORD = ModelRecord(
    architecture="tiny",
    classes=LUNG_CT_CLASSES,
    preprocessing=SMALL,
    dataset={},
    split={},
    metrics={},
    seed=1,
    duration_s=2.0,
)


def test_a_published_version_is_valid_and_complete(published: tuple[Path, Manifest]) -> None:
    """Every file of the layout is there and listed; nothing else lies in the folder or beside it."""
    folder, manifest = published
    verify_files(folder, manifest)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {*manifest.files, "manifest.json"}
    assert names >= {"saved_model.pb", "fingerprint.pb", "golden.npz", "class_names.json", "MODEL_CARD.md"}
    assert json.loads((folder / "class_names.json").read_text()) == list(manifest.classes.names)
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    assert {"python", "tensorflow", "keras", "numpy"} <= set(manifest.libraries)


def test_the_saved_model_answers_as_keras_did(published: tuple[Path, Manifest]) -> None:
    """The signature takes uint8 [B, H, W, 1], gives float32 [B, C], and repeats the golden probabilities."""
    folder, manifest = published
    golden = read_golden(folder, manifest)
    golden.compare(load_and_predict(folder, golden.images, batch_size=3), 1e-6)


@pytest.mark.slow
def test_a_trained_model_leaves_its_optimizer_behind(tmp_path: Path) -> None:
    """Adam's moments would triple the files: the variables hold about four bytes a parameter and no more."""
    network = build_network("tiny", SMALL, 3)
    network.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    network.train_on_batch(np.zeros((2, 32, 32, 1), np.uint8), np.array([0, 1]))
    publish(network, RECORD, tmp_path)
    size = (tmp_path / "1" / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert 4 * network.count_params() <= size < 6 * network.count_params()


@pytest.mark.slow
def test_versions_count_up(tmp_path: Path) -> None:
    """Each publication takes the next integer, also where one in between was taken away by hand."""
    assert [publish_untrained(tmp_path, seed=seed, preprocessing=SMALL) for seed in (1, 2)] == [1, 2]
    (tmp_path / "lung-ct" / "1").rename(tmp_path / "elsewhere")
    assert publish_untrained(tmp_path, seed=3, preprocessing=SMALL) == 3
    assert published_versions(tmp_path / "lung-ct") == (2, 3)


def test_a_number_that_is_taken_is_never_written_over(tmp_path: Path) -> None:
    """A file in the place of the next version is passed by, and the manifest says the number that was got."""
    (tmp_path / "lung-ct").mkdir()
    (tmp_path / "lung-ct" / "1").write_text("not a version")
    assert publish_untrained(tmp_path, seed=1, preprocessing=SMALL) == 2
    assert read_manifest(tmp_path / "lung-ct" / "2").model_version == 2
    assert (tmp_path / "lung-ct" / "1").read_text() == "not a version"


def test_other_classes_specs_and_figures_travel(tmp_path: Path) -> None:
    """Class set, spec, warnings and figures come out as they went in."""
    pair = ClassSet(names=("Cat", "Dog"), target="Dog")
    publish_untrained(tmp_path, 1, classes=pair, preprocessing=SMALL, warnings=("Careful.",), figures={"a.png": b"png"})
    manifest = read_manifest(tmp_path / "lung-ct" / "1")
    assert (manifest.classes, manifest.preprocessing, manifest.warnings) == (pair, SMALL, ("Careful.",))
    assert (tmp_path / "lung-ct" / "1" / "figures" / "a.png").read_bytes() == b"png"
    assert "figures/a.png" in manifest.files


def test_a_repository_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """A file where the model's folder should be: the error says so and blames no one else."""
    (tmp_path / "lung-ct").write_text("in the way")
    with pytest.raises(PublishingFailed, match="repository is as it was: File exists"):
        publish_untrained(tmp_path, seed=1, preprocessing=SMALL)


class Moody(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """A layer that answers otherwise each time it is traced, as a broken export would."""

    times_traced = 0

    def call(self, probabilities: Any) -> Any:
        self.times_traced += 1
        return probabilities * self.times_traced


def test_an_export_that_answers_otherwise_is_not_published(tmp_path: Path) -> None:
    """What is read back must repeat what the model said; otherwise nothing is published and nothing left behind."""
    network = build_network("tiny", SMALL, 3)
    moody = keras.Model(network.input, Moody()(network.output))
    with pytest.raises(PublishingFailed, match="the exported model is not the trained one"):
        publish(moody, RECORD, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_golden_slices_are_drawn_alike_each_time() -> None:
    """Eight synthetic slices of the spec's size, the same on every call, each unlike the others."""
    images = golden_images(SMALL)
    assert images.shape == (8, 32, 32, 1)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, golden_images(SMALL))
    assert len({image.tobytes() for image in images}) == 8


def test_golden_tells_two_networks_apart(published: tuple[Path, Manifest]) -> None:
    """Weights of another seed do not pass for these."""
    folder, manifest = published
    golden = read_golden(folder, manifest)
    keras.utils.set_random_seed(99)
    other = build_network("tiny", manifest.preprocessing, 3).predict_on_batch(golden.images)
    with pytest.raises(GoldenMismatch):
        golden.compare(other, manifest.golden_tolerance)
