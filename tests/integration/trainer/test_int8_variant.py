"""`trainer run` with a frozen network: a version with an int8 variant beside the SavedModel."""

from pathlib import Path

import numpy as np
import pytest

from shared.artifact import CorruptArtifact, read_manifest, variant_dir, verify_files
from shared.golden import read_golden
from trainer.__main__ import main
from trainer.export.openvino_ir import load_and_predict_ir
from trainer.phantoms.phantom_folder import synthesize

FROZEN = ["--network", "efficientnet_lite0", "--image-side", "64", "--folds", "2"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_environment")]


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cases a class, two slices each, with their table of cases."""
    folder = tmp_path_factory.mktemp("cases") / "slices"
    synthesize(folder, cases_per_class=4, slices_per_case=2, seed=1)
    return folder


@pytest.fixture(scope="module")
def version(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    assert main(["run", "--data", str(slices), *FROZEN, "--model-repository", str(models)]) == 0
    return models / "lung-ct" / "1"


def test_the_manifest_lists_and_describes_it(version: Path) -> None:
    """Model, weights and golden slices, every byte of them; figures, rules and limits of its own."""
    manifest = read_manifest(version)
    verify_files(version, manifest)
    assert {f"variants/int8/{name}" for name in ("model.xml", "model.bin", "golden.npz")} <= manifest.files.keys()
    variant = manifest.variants["int8"]
    served = manifest.as_served("int8")
    assert served.metrics == variant.metrics != manifest.metrics
    assert served.thresholds == variant.thresholds
    assert served.warnings[0] == manifest.warnings[0]  # that no patient was seen
    assert variant.comparison["n"] == manifest.metrics["n"] == 24
    assert variant.may_serve == str(variant.comparison["reason"]).startswith("It may serve")
    assert "## Variant `int8`" in (version / "MODEL_CARD.md").read_text()


def test_it_answers_its_golden_slices(version: Path) -> None:
    """Those of the version, one by one and together; its answers are its own."""
    manifest = read_manifest(version)
    own, of_version = read_golden(version, manifest, variant_dir("int8")), read_golden(version, manifest)
    assert np.array_equal(own.images, of_version.images)
    assert not np.array_equal(own.probabilities, of_version.probabilities)
    for batch_size in (1, 3, 8):
        answers = load_and_predict_ir(version / variant_dir("int8"), own.images, batch_size)
        own.compare(answers, manifest.variants["int8"].golden_tolerance)
        np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_a_changed_weight_is_found(version: Path) -> None:
    """As in every other file."""
    manifest = read_manifest(version)
    weights = version / variant_dir("int8") / "model.bin"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CorruptArtifact, match=r"variants/int8/model\.bin differs from its checksum"):
        verify_files(version, manifest)
    weights.write_bytes(content)


def test_it_can_be_left_out(slices: Path, tmp_path: Path) -> None:
    """A version then has the SavedModel alone."""
    arguments = ["run", "--data", str(slices), *FROZEN, "--variants", "none", "--model-repository", str(tmp_path)]
    assert main(arguments) == 0
    folder = tmp_path / "lung-ct" / "1"
    assert read_manifest(folder).variants == {}
    assert not (folder / "variants").exists()
