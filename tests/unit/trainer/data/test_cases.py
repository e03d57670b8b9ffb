"""Cases: known from a table, or inferred."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec
from tests.support.inputs.labelled import of_cases
from trainer.data.cases import CaseInTwoClasses, PatientInTwoClasses, find_cases, infer_groups, known_cases, natural_key
from trainer.data.dataset import index_folder
from trainer.data.input_pipeline import read_dataset

SIZES = {0: [5, 3, 4], 1: [6, 2], 2: [1, 7, 3]}


def partition(groups: np.ndarray) -> set[frozenset[int]]:
    """Groups as a set of sets of rows, whatever their numbers are."""
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)}


def test_cases_that_look_different_are_told_apart() -> None:
    """Slices of one case that follow each other and look alike are one group; groups are numbered as they appear."""
    slices, truth = of_cases(SIZES)
    groups = infer_groups(slices)
    np.testing.assert_array_equal(groups, truth)


def test_alike_slices_are_joined_wherever_their_files_lie() -> None:
    """A slice of the first case at the end of the folder finds its case by likeness, in its class alone."""
    slices, truth = of_cases({0: [4, 4, 4], 1: [4, 4]})
    order = [*range(1, 12), 0, *range(12, 20)]  # row 0 becomes the last of class 0
    moved = dataclasses.replace(slices, thumbnails=slices.thumbnails[order])
    assert partition(infer_groups(moved)) == partition(truth[order])
    moved.thumbnails[12:16] = moved.thumbnails[0]  # a case of the other class that looks the same
    groups = infer_groups(moved)
    assert not set(groups[:12]) & set(groups[12:])


def test_neighbours_are_joined_by_their_order_in_the_folder() -> None:
    """A case whose slices drift apart, ends not alike, is held together by its chain of neighbours: 2 before 10."""
    slices, _ = of_cases({0: [12, 4], 1: [4]})
    random = np.random.default_rng(5)
    first, last = random.integers(40, 216, (2, 64, 64)).astype(float)
    for row, share in enumerate(np.linspace(0, 1, 12)):
        slices.thumbnails[row] = first * (1 - share) + last * share
    shuffled = [*range(0, 12, 3), *range(1, 12, 3), *range(2, 12, 3), *range(12, 20)]
    moved = dataclasses.replace(
        slices,
        thumbnails=slices.thumbnails[shuffled],
        files=tuple(slices.files[row] for row in shuffled),
    )
    groups = infer_groups(moved)
    assert len(set(groups[:12])) == 1
    assert len(set(groups)) == 3


def test_a_known_number_of_cases_cuts_the_weakest_links() -> None:
    """With the counts given, neighbours below the threshold stay joined unless theirs are the weakest links."""
    slices, truth = of_cases(SIZES)
    assert len(set(infer_groups(slices, (3, 2, 3)))) == 8
    fewer = infer_groups(slices, (2, 1, 1))
    assert [len(set(fewer[slices.labels == label])) for label in range(3)] == [2, 1, 1]
    assert partition(infer_groups(slices, (100, 100, 100))) == partition(truth)  # alike slices stay joined


def test_folders_are_cut_apart() -> None:
    """The last file of a folder is no neighbour of the first one of the next."""
    slices, _ = of_cases({0: [6], 1: [2]}, jitter=90)  # alike enough for neighbours, not for being joined by likeness
    assert len(set(infer_groups(slices)[:6])) in (1, 6)
    linked, _ = of_cases({0: [6], 1: [2]}, jitter=22)
    assert len(set(infer_groups(linked)[:6])) == 1
    files = tuple(f"normal/{'ab'[row // 3]}/{row}.png" for row in range(6)) + linked.files[6:]
    assert len(set(infer_groups(dataclasses.replace(linked, files=files))[:6])) == 2


def test_copies_share_a_group_even_where_they_are_blank() -> None:
    """Byte-identical files are one case, though blank slices correlate with nothing."""
    slices, _ = of_cases({0: [1, 1, 1], 1: [2]})
    slices.thumbnails[[0, 2]] = 0
    same = dataclasses.replace(slices, digests=("x", "y", "x", "z", "w"))
    groups = infer_groups(same)
    assert groups[0] == groups[2] != groups[1]


def test_names_sort_by_their_numbers() -> None:
    """A person's order: 2 before 10."""
    names = ["a/s (10).jpg", "a/s (2).jpg", "a/s.jpg", "a/3.jpg", "b/1.jpg"]
    assert sorted(names, key=natural_key) == ["a/3.jpg", "a/s (2).jpg", "a/s (10).jpg", "a/s.jpg", "b/1.jpg"]


def test_the_table_in_the_folder_is_found(phantom_folder: Path) -> None:
    """cases.csv beside the class folders makes the cases known; each phantom case is one group."""
    dataset = read_dataset(index_folder(phantom_folder, LUNG_CT_CLASSES), PreprocessingSpec(height=32, width=32))
    cases = find_cases(dataset, phantom_folder)
    assert cases.origin == "known"
    assert len(cases) == 12
    assert cases.names[0] == "case-001"
    assert cases.counts(dataset) == {"Normal cases": 4, "Benign cases": 4, "Malignant cases": 4}


def test_a_table_that_is_given_wins(phantom_folder: Path, tmp_path: Path) -> None:
    """--cases names another table than the folder's own; without any, cases are inferred."""
    dataset = read_dataset(index_folder(phantom_folder, LUNG_CT_CLASSES), PreprocessingSpec(height=32, width=32))
    table = tmp_path / "mine.csv"
    rows = "".join(f"{file},{file.split('/')[0]}\n" for file in dataset.files)
    table.write_text("file,case\n" + rows)
    assert len(find_cases(dataset, phantom_folder, table)) == 3
    inferred = find_cases(dataset, tmp_path)
    assert inferred.origin == "inferred"
    assert inferred.names == ()


def test_a_case_in_two_classes_is_refused() -> None:
    """The error names the case, its classes with their counts, and how many others are like it."""
    slices, _ = of_cases({0: [3, 1], 1: [2], 2: [2]})
    with pytest.raises(CaseInTwoClasses, match=r"'p1'.*3 of 'Normal cases' and 2 of 'Benign cases'.*1 other case"):
        known_cases(slices, ("p1", "p1", "p1", "p2", "p1", "p1", "p2", "p3"))


def test_copies_make_one_case_of_two() -> None:
    """The same bytes under two cases are one patient: the cases are joined, under the first one's name."""
    slices, _ = of_cases({0: [2, 2], 1: [1]})
    same = dataclasses.replace(slices, digests=("x", "y", "x", "z", "w"))
    cases = known_cases(same, ("p1", "p1", "p2", "p2", "p3"))
    assert cases.groups.tolist() == [0, 0, 0, 0, 1]
    assert cases.names == ("p1", "p3")


@pytest.mark.real_data
def test_the_cautious_groups_of_the_public_set(real_slices: Path) -> None:
    """858 slices: 64 groups with the published numbers of cases; without them 52, which tear none of those apart."""
    dataset = read_dataset(index_folder(real_slices, LUNG_CT_CLASSES), PreprocessingSpec(height=32, width=32))
    if len(dataset) != 858:
        pytest.skip(f"the figures are of 858 slices, there are {len(dataset)}")
    told, guessed = find_cases(dataset, real_slices, None, (55, 15, 40)), find_cases(dataset, real_slices)
    assert list(told.counts(dataset).values()) == [30, 12, 22]
    assert list(guessed.counts(dataset).values()) == [21, 11, 20]
    assert all(len(set(guessed.groups[told.groups == case])) == 1 for case in range(len(told)))
    for cases in (told, guessed):
        group_of: dict[str, int] = {}
        for digest, group in zip(dataset.digests, cases.groups.tolist(), strict=True):
            assert group_of.setdefault(digest, group) == group


# --- patients that DICOM files name -----------------------------------------------------------------------------------


def test_slices_of_one_patient_are_one_case_however_they_look(tmp_path: Path) -> None:
    """Every file names its patient: nothing is guessed."""
    slices, truth = of_cases({0: [2, 2], 1: [2], 2: [2]})
    named = dataclasses.replace(slices, patients=("a", "b", "a", "b", "c", "c", "d", "d"))
    cases = find_cases(named, tmp_path)
    assert cases.origin == "known"
    assert cases.groups.tolist() == [0, 1, 0, 1, 2, 2, 3, 3]
    assert cases.names == ()
    assert truth.tolist() != cases.groups.tolist()


def test_patients_join_what_would_be_guessed_apart(tmp_path: Path) -> None:
    """Some files only name their patient: those are joined, the rest is guessed, and it counts as a guess."""
    slices, _ = of_cases({0: [2, 2, 2], 1: [2], 2: [2]})
    named = dataclasses.replace(slices, patients=("a", None, None, None, "a", None, None, None, None, None))
    cases = find_cases(named, tmp_path)
    assert cases.origin == "inferred"
    assert partition(cases.groups) == {frozenset(rows) for rows in ({0, 1, 4, 5}, {2, 3}, {6, 7}, {8, 9})}


def test_a_patient_in_two_classes_is_an_error_that_names_files_and_no_patient(tmp_path: Path) -> None:
    """As where anonymisation wrote one PatientID everywhere; a table settles it."""
    slices, _ = of_cases({0: [2], 1: [2]})
    named = dataclasses.replace(slices, patients=("anon",) * 4)
    with pytest.raises(PatientInTwoClasses, match=r"slice \(1\)\.png and .* cases\.csv") as raised:
        find_cases(named, tmp_path)
    assert "anon" not in str(raised.value)
    rows = "".join(f"{file},{file}\n" for file in named.files)
    (tmp_path / "cases.csv").write_text(f"file,case\n{rows}", "utf-8")
    assert len(find_cases(named, tmp_path)) == 4
