"""Datasets: which folder is which class, what is refused, and what the manifest learns of it."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES, ClassSet
from shared.imaging import PreprocessingSpec
from trainer.data.dataset import PHANTOM_MARKER, ClassWithoutSlices, NoSuchFolder, has_class_folders, index_folder
from trainer.data.input_pipeline import read_dataset

SPEC = PreprocessingSpec(height=32, width=32)


def write_slice(path: Path, seed: int = 0) -> None:
    """A grey PNG of 40 x 48 noise pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (40, 48), np.uint8))


def write_class_folders(
    folder: Path, names: Sequence[str] = ("Normal cases", "Bengin cases", "Malignant cases"), count: int = 2
) -> None:
    for number, name in enumerate(names):
        for index in range(count):
            write_slice(folder / name / f"{index}.png", seed=10 * number + index)


def test_folders_are_found_by_alias(tmp_path: Path) -> None:
    """The public set's misspelling, bare words and nested folders all reach their class; other folders are named."""
    for number, name in enumerate(("normal", "Bengin cases", "MALIGNANT/case 1", "notes")):
        write_slice(tmp_path / name / "1.png", seed=number)
    index = index_folder(tmp_path, LUNG_CT_CLASSES)
    assert [(file.path.parent.name, file.label) for file in index.files] == [
        ("normal", 0),
        ("Bengin cases", 1),
        ("case 1", 2),
    ]
    assert index.ignored_folders == ("notes",)


def test_two_folders_of_one_class_are_joined(tmp_path: Path) -> None:
    """`benign` beside `Bengin cases` adds slices to the one class."""
    write_class_folders(tmp_path)
    write_slice(tmp_path / "benign" / "more.png", seed=99)
    assert read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), SPEC).counts()["Benign cases"] == 3


def test_a_missing_class_is_named_with_what_was_seen(tmp_path: Path) -> None:
    """The error says which class has no folder and which folders there are."""
    write_class_folders(tmp_path, ("Normal cases", "cancer"))
    with pytest.raises(ClassWithoutSlices, match=r"'Benign cases' has no slices.*'Normal cases', 'cancer'"):
        index_folder(tmp_path, LUNG_CT_CLASSES)


def test_an_empty_class_folder_is_an_error(tmp_path: Path) -> None:
    """A folder that is there and holds no file counts as no slices of its class."""
    write_class_folders(tmp_path, ("normal", "benign"))
    (tmp_path / "malignant").mkdir()
    with pytest.raises(ClassWithoutSlices, match="'Malignant cases' has no slices: 'malignant' holds no file"):
        index_folder(tmp_path, LUNG_CT_CLASSES)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(NoSuchFolder, match="nowhere"):
        index_folder(tmp_path / "nowhere", LUNG_CT_CLASSES)


def test_evaluation_may_lack_classes(tmp_path: Path) -> None:
    """Where not every class is needed one folder is enough, and none is still an error."""
    write_class_folders(tmp_path, ("malignant",))
    index = index_folder(tmp_path, LUNG_CT_CLASSES, needs_every_class=False)
    assert {file.label for file in index.files} == {2}
    with pytest.raises(ClassWithoutSlices):
        index_folder(tmp_path / "malignant", LUNG_CT_CLASSES, needs_every_class=False)


def test_other_class_sets_work(tmp_path: Path) -> None:
    """Folder names of any class set are matched, index order being the set's."""
    write_class_folders(tmp_path, ("cat", "DOGS"))
    index = index_folder(tmp_path, ClassSet(names=("Dogs", "Cat"), target="Cat"))
    assert [file.label for file in index.files] == [0, 0, 1, 1]


def test_files_that_are_no_slice_are_listed_with_their_reason(tmp_path: Path) -> None:
    """Empty, truncated, text and unreadable files are skipped one by one; the others are read."""
    write_class_folders(tmp_path)
    bad = tmp_path / "Normal cases"
    (bad / "empty.png").touch()
    (bad / "notes.txt").write_text("not an image")
    whole = (bad / "0.png").read_bytes()
    (bad / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (bad / "small.png").write_bytes(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())
    dataset = read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), SPEC)
    reasons = {skipped.path.name: skipped.reason for skipped in dataset.skipped}
    assert set(reasons) == {"empty.png", "notes.txt", "truncated.png", "small.png"}
    assert reasons["empty.png"] == "The file is empty."
    assert "got text" in reasons["notes.txt"]
    assert "ends early" in reasons["truncated.png"]
    assert dataset.counts() == {"Normal cases": 2, "Benign cases": 2, "Malignant cases": 2}


def test_a_class_whose_files_are_all_bad_is_an_error(tmp_path: Path) -> None:
    """The error names the class, how many files it had, and what is wrong with the first."""
    write_class_folders(tmp_path)
    for file in (tmp_path / "Bengin cases").iterdir():
        file.write_bytes(b"")
    with pytest.raises(ClassWithoutSlices, match=r"'Benign cases' has no slices: none of its 2 files.*0\.png.*empty"):
        read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), SPEC)


def test_the_manifest_learns_counts_reasons_and_digests_but_no_file_name(tmp_path: Path) -> None:
    """What describe() gives is JSON, and a patient's name in a file name does not reach it."""
    write_class_folders(tmp_path)
    (tmp_path / "Normal cases" / "Doe_Jane.png").write_text("text")
    write_slice(tmp_path / "Normal cases" / "Doe_John.png", seed=0)  # the same bytes as 0.png
    description = read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), SPEC).describe()
    text = json.dumps(description)
    assert "Doe" not in text
    assert description["counts"] == {"Normal cases": 3, "Benign cases": 2, "Malignant cases": 2}
    assert description["duplicate_files"] == 1
    assert description["skipped"]["n"] == 1
    assert len(str(description["skipped"]["files"][0]["sha256"])) == 64
    assert description["kind"] == "slices"


def test_the_digest_is_of_content_and_label(tmp_path: Path) -> None:
    """Renaming a file keeps the dataset's digest; moving it to another class changes it."""
    write_class_folders(tmp_path, count=3)
    before = read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), SPEC).digest()
    (tmp_path / "Normal cases" / "0.png").rename(tmp_path / "Normal cases" / "z.png")
    renamed = read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), SPEC).digest()
    (tmp_path / "Normal cases" / "z.png").rename(tmp_path / "Bengin cases" / "z.png")
    moved = read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), SPEC).digest()
    assert before == renamed != moved


def test_twins_are_held_out_copies_of_training_slices(tmp_path: Path) -> None:
    """Byte-identical files on both sides of a split are counted."""
    write_class_folders(tmp_path)
    write_slice(tmp_path / "Normal cases" / "again.png", seed=0)
    dataset = read_dataset(index_folder(tmp_path, LUNG_CT_CLASSES), SPEC)
    rows = {file.rsplit("/", 1)[1]: row for row, file in enumerate(dataset.files) if file.startswith("Normal")}
    training, others = np.array([rows["0.png"]]), np.array([rows["again.png"], rows["1.png"]])
    assert dataset.twins(training, others) == 1


def test_the_marker_makes_phantoms_of_slices(tmp_path: Path) -> None:
    """A folder that says it is drawn is never taken for scans."""
    write_class_folders(tmp_path)
    (tmp_path / PHANTOM_MARKER).touch()
    assert index_folder(tmp_path, LUNG_CT_CLASSES).kind == "phantoms"


def test_empty_and_missing_folders_hold_no_class(tmp_path: Path) -> None:
    """has_class_folders() is the difference between data and a mounted folder with nothing in it."""
    assert not has_class_folders(tmp_path, LUNG_CT_CLASSES)
    assert not has_class_folders(tmp_path / "missing", LUNG_CT_CLASSES)
    (tmp_path / "benign").mkdir()
    assert has_class_folders(tmp_path, LUNG_CT_CLASSES)
