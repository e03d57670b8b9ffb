"""What of a version serves: a variant where it may, agrees and is faster; the SavedModel otherwise."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.engines.base import Pace
from service.model.serving_model import LoadOptions, ServingModel, load_model
from service.model.trial import fastest, prepare_model
from shared.artifact import CorruptArtifact, variant_dir
from shared.golden import read_golden
from shared.signing import sign_version
from shared.variant import VARIANT_MODEL_FILE, VARIANT_WEIGHTS_FILE
from tests.support.decision_rules import point, rules
from tests.support.published import publish_untrained
from tests.support.signing_keys import make_key_pair
from tests.support.variants import add_variant, list_files_anew, without_variants

OPTIONS = LoadOptions(engine="openvino", precision="auto", threads=2, max_batch_size=2)
XML = f"{variant_dir('int8')}/{VARIANT_MODEL_FILE}"
RULES_OF_VARIANT = rules(operating_points={"high_sensitivity": point(0.35), "specificity_95": point(0.6)})


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version whose network takes several times as long as the small one."""
    repository = tmp_path_factory.mktemp("slow")
    publish_untrained(repository, seed=3, network="cnn", has_attention=True, thresholds=rules())
    return repository / "lung-ct" / "1"


@pytest.fixture
def small(tiny_network_repository: Path) -> Path:
    """The folder of the small network's version; never change it."""
    return tiny_network_repository / "lung-ct" / "1"


@pytest.fixture
def version_dir(slow: Path, tmp_path: Path) -> Path:
    """A copy of the slow one, to be given a variant."""
    return Path(shutil.copytree(slow, tmp_path / "lung-ct" / "1"))


def _proven(version_dir: Path, tmp_path: Path, **options: Any) -> tuple[LoadOptions, Path]:
    folder = tmp_path / "folder"
    folder.mkdir()
    return prepare_model(version_dir, replace(OPTIONS, **options), folder), folder


def _loaded(version_dir: Path, tmp_path: Path, **options: Any) -> ServingModel:
    return load_model(version_dir, *_proven(version_dir, tmp_path, **options))


@pytest.mark.parametrize(
    ("saved_model", "int8", "chosen"),
    [
        (0.262, 0.118, "int8"),
        (0.100, 0.090, "int8"),
        (0.100, 0.091, None),
        (0.100, 0.100, None),
        (0.100, 0.400, None),
        (0.100, None, None),
    ],
)
def test_a_variant_has_to_be_clearly_faster(saved_model: float, int8: float | None, chosen: str | None) -> None:
    """A slice on each core takes a tenth less; where it does not, nobody gains by other answers."""
    variants = {} if int8 is None else {"int8": Pace(one_s=int8, full_s=int8 * 1.5, batch_size=4)}
    assert fastest(Pace(one_s=saved_model), variants) == chosen  # type: ignore[arg-type]


def test_a_variant_that_agrees_and_is_faster_serves(version_dir: Path, small: Path, tmp_path: Path) -> None:
    """Alone, in batches and by its own golden slices; it has its figures, rules, limits and warnings."""
    published = add_variant(version_dir, small, thresholds=RULES_OF_VARIANT)
    proven, folder = _proven(version_dir, tmp_path)
    assert (proven.variant, proven.precision, proven.passed_over) == ("int8", "auto", {})
    shutil.rmtree(version_dir)  # what serves is what the trial left
    model = load_model(version_dir, proven, folder)
    assert (model.version, model.variant, model.pace) == (1, "int8", proven.pace)
    of_small = read_golden(folder, published, variant_dir("int8"))
    for outputs in model.engine.replay(of_small.images):
        of_small.compare(outputs["probabilities"], 0.005)
    assert np.array_equal(model.golden.probabilities, of_small.probabilities)
    assert (model.manifest.thresholds, model.manifest.metrics) == (RULES_OF_VARIANT, {"accuracy": 0.75})
    assert (model.manifest.warnings, model.manifest.golden_tolerance) == (("Quantized.",), 0.005)
    assert model.explaining.manifest == published


def test_the_saved_model_explains_beside_a_variant(version_dir: Path, small: Path, tmp_path: Path) -> None:
    """With its own golden answers and manifest, and with attention, which no variant has."""
    add_variant(version_dir, small)
    model = _loaded(version_dir, tmp_path)
    explaining = model.explaining
    outputs = explaining.infer_with_attention(explaining.golden.images)
    assert (model.variant, explaining.variant, "attention" in outputs) == ("int8", "f32", True)
    explaining.golden.compare(outputs["probabilities"], explaining.manifest.golden_tolerance)
    assert np.abs(explaining.golden.probabilities - model.golden.probabilities).max() > 0.05
    assert explaining.digest == model.digest
    assert explaining.explaining is explaining


@pytest.mark.parametrize("broken", ["golden", "truncated", "no golden", "other input"])
def test_a_variant_that_cannot_be_proven_gives_way(version_dir: Path, small: Path, tmp_path: Path, broken: str) -> None:
    """Whatever was published wrongly of it, the SavedModel serves as ever, and why is told."""
    add_variant(version_dir, small, lie=0.01 if broken == "golden" else 0)
    folder = version_dir / variant_dir("int8")
    if broken == "truncated":
        content = (version_dir / XML).read_text()
        (version_dir / XML).write_text(content[: len(content) // 2])
    if broken == "no golden":
        (folder / "golden.npz").write_bytes(b"PK")
    if broken == "other input":
        (version_dir / XML).write_text((version_dir / XML).read_text().replace('"image"', '"slice"'))
    list_files_anew(version_dir)
    proven, converted = _proven(version_dir, tmp_path)
    assert proven.variant is None
    model = load_model(version_dir, proven, converted)
    assert model.variant == "f32"
    assert model.explaining is model
    reason = {
        "golden": "golden replay differs by 0.01; the manifest allows 0.005",
        "truncated": "OpenVINO cannot compile the model: ",
        "no golden": "variants/int8/golden.npz cannot be read",
        "other input": "OpenVINO cannot compile the model: ",
    }[broken]
    assert proven.passed_over["int8"].startswith(reason)


def test_a_variant_that_is_slower_gives_way(slow: Path, small: Path, tmp_path: Path) -> None:
    """The reason gives both times."""
    version_dir = Path(shutil.copytree(small, tmp_path / "lung-ct" / "1"))
    add_variant(version_dir, slow)
    proven, folder = _proven(version_dir, tmp_path)
    assert proven.variant is None
    assert proven.passed_over["int8"].startswith("too little is gained: ")
    assert not (folder / variant_dir("int8")).exists()
    model = load_model(version_dir, proven, folder)
    assert (model.variant, model.manifest.warnings) == ("f32", ("Untrained network of the tests.",))


@pytest.mark.parametrize(("may_serve", "precision"), [(False, "auto"), (True, "f32")])
def test_what_may_not_serve_is_not_tried(
    version_dir: Path, small: Path, tmp_path: Path, may_serve: bool, precision: str
) -> None:
    """By the trainer's word or the operator's: nothing of it is converted, and nothing told."""
    add_variant(version_dir, small, may_serve=may_serve, lie=1)
    proven, folder = _proven(version_dir, tmp_path, precision=precision)
    assert (proven.variant, proven.passed_over) == (None, {})
    assert not (folder / variant_dir("int8")).exists()
    assert load_model(version_dir, proven, folder).variant == "f32"


@pytest.mark.parametrize("file", [VARIANT_MODEL_FILE, VARIANT_WEIGHTS_FILE, "golden.npz"])
@pytest.mark.parametrize("may_serve", [True, False])
def test_a_damaged_file_of_a_variant_is_a_damaged_version(
    version_dir: Path, small: Path, tmp_path: Path, file: str, may_serve: bool
) -> None:
    """Its digest stands in the manifest like any other, whether it may serve or not."""
    add_variant(version_dir, small, may_serve=may_serve)
    with (version_dir / variant_dir("int8") / file).open("r+b") as opened:
        opened.write(b"\xff")
    with pytest.raises(CorruptArtifact, match=f"^variants/int8/{file} differs from its checksum$"):
        _proven(version_dir, tmp_path)


def test_versions_without_variants_serve_as_ever(version_dir: Path, tmp_path: Path) -> None:
    """A manifest from before says nothing of variants."""
    without_variants(version_dir)
    proven, _ = _proven(version_dir, tmp_path)
    assert (proven.variant, proven.passed_over) == (None, {})


def test_a_signature_covers_a_variant(version_dir: Path, small: Path, tmp_path: Path) -> None:
    """What serves is the copy that was checked; nothing is left of that."""
    add_variant(version_dir, small)
    keys = make_key_pair(tmp_path / "keys")
    sign_version(version_dir, keys.private)
    proven, folder = _proven(version_dir, tmp_path, trusted_key=str(keys.public))
    assert proven.variant == "int8"
    assert [path.name for path in folder.rglob("*.pb")] == []
    assert load_model(version_dir, proven, folder).variant == "int8"
