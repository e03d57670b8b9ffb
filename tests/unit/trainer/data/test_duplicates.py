"""Duplicates, and labels that contradict each other."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec
from tests.support.inputs.labelled import of_cases
from trainer.__main__ import main
from trainer.data.dataset import Dataset, index_folder
from trainer.data.duplicates import (
    CONFLICT_REASON,
    LabelConflict,
    across_classes,
    conflict_warning,
    copies,
    near_duplicates,
    settle_conflicts,
)
from trainer.data.input_pipeline import read_dataset


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (40, 48), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three slices a class; normal/2 is benign/1 byte for byte, normal/0 is normal/1."""
    for label, name in enumerate(("normal", "benign", "malignant")):
        for number in range(3):
            write(tmp_path / name / f"{number}.png", seed=10 * label + number)
    write(tmp_path / "normal" / "2.png", seed=11)
    write(tmp_path / "normal" / "1.png", seed=0)
    return tmp_path


def dataset_of(folder: Path) -> Dataset:
    return read_dataset(index_folder(folder, LUNG_CT_CLASSES), PreprocessingSpec(height=32, width=32))


def test_copies_are_found_by_their_bytes(folder: Path) -> None:
    """Sets of rows with equal files, within a class and across."""
    assert copies(dataset_of(folder)) == ((0, 1), (2, 4))


def test_a_label_conflict_is_an_error(folder: Path) -> None:
    """Both files are named, and so is the way out."""
    with pytest.raises(LabelConflict, match=r"normal/2\.png = benign/1\.png.*--on-label-conflict drop"):
        settle_conflicts(dataset_of(folder), folder, "error")


def test_files_in_conflict_can_be_left_out(folder: Path) -> None:
    """With drop, all files in conflict are listed as skipped with the reason, and every field stays in step."""
    before = dataset_of(folder)
    after = settle_conflicts(before, folder, "drop")
    assert after.files == tuple(file for file in before.files if file not in ("normal/2.png", "benign/1.png"))
    assert after.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    np.testing.assert_array_equal(after.images, before.images[[0, 1, 3, 5, 6, 7, 8]])
    np.testing.assert_array_equal(after.thumbnails, before.thumbnails[[0, 1, 3, 5, 6, 7, 8]])
    assert {(skipped.path, skipped.reason) for skipped in after.skipped} == {
        (folder / "normal/2.png", CONFLICT_REASON),
        (folder / "benign/1.png", CONFLICT_REASON),
    }
    assert after.describe()["skipped"]["reasons"] == {CONFLICT_REASON: 2}


def test_without_conflict_nothing_changes(folder: Path) -> None:
    """Copies within a class are no conflict."""
    (folder / "normal" / "2.png").unlink()
    dataset = dataset_of(folder)
    assert settle_conflicts(dataset, folder, "error") is dataset


def test_near_duplicates_with_different_labels_make_a_warning() -> None:
    """One sentence: how many pairs, which classes; no file name. Nothing to say, no warning."""
    slices, _ = of_cases({0: [2], 1: [2], 2: [2]})
    assert conflict_warning(slices, near_duplicates(slices)) is None
    slices.thumbnails[2] = slices.thumbnails[0]
    pairs = across_classes(near_duplicates(slices), slices.labels)
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == [(0, 2), (1, 2)]
    warning = conflict_warning(slices, near_duplicates(slices))
    assert "2 pairs" in warning
    assert "Normal cases and Benign cases" in warning
    assert "slice (" not in warning


def test_a_run_stops_at_a_label_conflict(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is trained or published; the sentence says what to do."""
    repository = tmp_path / "models"
    assert main(["run", "--data", str(folder), "--model-repository", str(repository)]) == 1
    assert "Byte-identical files lie in different classes: normal/2.png = benign/1.png" in capsys.readouterr().err
    assert not repository.exists()
