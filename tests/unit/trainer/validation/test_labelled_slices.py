"""A folder as a version sees it: how cases are known, and which slices trained the version."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from shared.artifact import Manifest
from tests.support.version_folder import manifest_of, write_version
from trainer.data.dataset import file_name
from trainer.evaluation.out_of_fold import OUT_OF_FOLD_FILE, out_of_fold
from trainer.validation.labelled_slices import LabelledSlices, read_slices
from trainer.validation.validation import trained_on


@pytest.fixture(scope="module")
def version_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lung-ct") / "1"
    write_version(folder)
    return folder


@pytest.fixture
def manifest(version_dir: Path) -> Manifest:
    return manifest_of(version_dir)


@pytest.fixture
def slices(phantom_folder: Path, manifest: Manifest) -> LabelledSlices:
    """Three classes, four cases each, two slices a case, with their table."""
    return read_slices(phantom_folder, manifest, None, 1)


def test_a_table_tells_the_cases(slices: LabelledSlices) -> None:
    """cases.csv in the data; every slice keeps its own file."""
    data = slices.describe()
    assert (data.n, data.n_cases, data.case_origin) == (24, 12, "table")
    assert data.case_counts == {"Normal cases": 4, "Benign cases": 4, "Malignant cases": 4}
    assert data.formats == {"png": 24}
    folder = slices.paths[0].parents[1]
    assert tuple(file_name(path, folder) for path in slices.paths) == slices.dataset.files


def test_without_a_table_cases_are_guessed_and_it_is_said(
    phantom_folder: Path, tmp_path: Path, manifest: Manifest
) -> None:
    """A class may be missing, and a file that is no slice is left out and counted with its reason."""
    copy = shutil.copytree(phantom_folder, tmp_path / "slices")
    (copy / "cases.csv").unlink()
    shutil.rmtree(copy / "Benign cases")
    (copy / "Normal cases" / "a.txt").write_text("no image")
    slices = read_slices(copy, manifest, None, 1)
    data = slices.describe()
    assert data.case_origin == "guessed"
    assert "guessed from how alike slices are" in data.origin_in_words
    assert (data.n, data.counts["Benign cases"], sum(data.skipped.values())) == (16, 0, 1)
    assert all(path.name != "a.txt" for path in slices.paths)
    assert "a.txt" not in data.model_dump_json()


def keep(version_dir: Path, slices: LabelledSlices, rows: slice) -> None:
    """Have the version keep these slices as its training slices."""
    data = slices.dataset
    kept = out_of_fold(
        data.classes.names, data.digests[rows], data.labels[rows], slices.groups[rows], np.full((24, 3), 1 / 3)[rows]
    )
    (version_dir / OUT_OF_FOLD_FILE).write_text(kept.model_dump_json())


def test_slices_that_trained_the_version_are_counted(
    tmp_path: Path, manifest: Manifest, slices: LabelledSlices
) -> None:
    """By the digests of their files, whatever these are called: all of them, or one."""
    for rows, n, were in ((slice(None), 24, "24 of 24 slices were"), (slice(1), 1, "1 of 24 slices was")):
        keep(tmp_path, slices, rows)
        found = trained_on(slices, manifest, tmp_path)
        assert (found.n, found.of) == (n, 24)
        assert found.sentence == f"{were} trained on: these figures are no validation."


def test_other_slices_are_a_validation(tmp_path: Path, manifest: Manifest, slices: LabelledSlices) -> None:
    """No digest in common: 0, and it is said how that is known."""
    data = slices.dataset
    kept = out_of_fold(data.classes.names, ("f" * 64,), data.labels[:1], slices.groups[:1], np.full((1, 3), 1 / 3))
    (tmp_path / OUT_OF_FOLD_FILE).write_text(kept.model_dump_json())
    found = trained_on(slices, manifest, tmp_path)
    assert (found.n, found.sentence) == (0, "None of 24 slices was trained on, by the digests of their files.")


def test_a_version_without_a_list_is_known_by_its_whole_data_or_not_at_all(
    tmp_path: Path, manifest: Manifest, slices: LabelledSlices
) -> None:
    """The digest of the data set tells when all are the same; else nobody can tell, and that is said."""
    same = manifest.model_copy(update={"dataset": {"digest": slices.dataset.digest()}})
    assert trained_on(slices, same, tmp_path).n == 24
    unknown = trained_on(slices, manifest, tmp_path)
    assert unknown.n is None
    assert "cannot be told" in unknown.sentence
