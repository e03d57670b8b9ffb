"""Which slices are of one case: known from the user's table or from PatientID in DICOM files, or guessed from likeness
and the order of the files.

The guess errs towards joining: two cases taken for one cost a little of the figure's precision, one case taken for two
puts a patient on both sides of a split.
"""

import itertools
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trainer.data.balance import Indices
from trainer.data.case_table import CASE_TABLE_FILE, read_case_table
from trainer.data.dataset import Slices
from trainer.data.duplicates import near_duplicates
from trainer.data.similarity import Pairs, neighbour_correlations
from trainer.errors import TrainerError
from trainer.terminal import counted

Groups = NDArray[np.int64]
"""int64 [n]: the number of each slice's case, from 0 in the order of first appearance."""

WEAK_LINK = 0.70
"""Neighbours in a folder that correlate below this are taken for two cases.

On 858 slices of IQ-OTH/NCCD the published numbers of cases cut at 0.83, 0.71 and 0.73 (normal, benign, malignant): with
0.70 no class is cut where they would not cut it. It leaves 52 groups, they leave 64.
"""

INFERRED_WARNING = (
    "No table of cases was given: cases were guessed from how alike slices are and from the order of their files."
)


class CaseInTwoClasses(TrainerError):
    """A case of the user's table has slices in more than one class."""

    def __init__(self, case: str, counts: dict[str, int], others: int) -> None:
        where = " and ".join(f"{count} of {name!r}" for name, count in counts.items())
        more = f" So it is with {counted(others, 'other case')}." if others else ""
        super().__init__(f"The case {case!r} has slices in {len(counts)} classes: {where}; expected one class.{more}")


class PatientInTwoClasses(TrainerError):
    """DICOM files in more than one class have the same PatientID."""

    def __init__(self, file: str, other: str) -> None:
        super().__init__(
            f"{file} and {other} have the same PatientID and lie in two classes; expected one class for a patient. "
            f"Where PatientID was blanked out, give each slice's case in {CASE_TABLE_FILE}."
        )


@dataclass(frozen=True)
class Cases:
    """The case of each slice. names: what the user's table calls each case, empty where it was guessed."""

    groups: Groups
    origin: Literal["known", "inferred"]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.groups.max(initial=-1)) + 1

    def counts(self, slices: Slices) -> dict[str, int]:
        """How many cases each class has, by its name."""
        return {
            name: len(np.unique(self.groups[slices.labels == label])) for label, name in enumerate(slices.classes.names)
        }


def find_cases(
    slices: Slices,
    folder: Path,
    table: Path | None = None,
    case_counts: tuple[int, ...] | None = None,
    near: Pairs | None = None,
) -> Cases:
    """The cases of slices that lie below the folder.

    table: the user's; without one, `cases.csv` in the folder; without that, the patients that DICOM files name; where
    not every file does, the rest is inferred, case_counts saying how many each class has where that is known. near:
    near_duplicates(slices), where they are known already. Raises CaseTableError, CaseInTwoClasses or
    PatientInTwoClasses.
    """
    if table is None and not (folder / CASE_TABLE_FILE).is_file():
        return _cases_without_table(slices, case_counts, near)
    case_of = read_case_table(table or folder / CASE_TABLE_FILE, folder, slices.files)
    return known_cases(slices, tuple(case_of[file] for file in slices.files))


def _cases_without_table(slices: Slices, case_counts: tuple[int, ...] | None, near: Pairs | None) -> Cases:
    """Patients, as far as files name them; the rest is guessed, which may join patients and never parts one."""
    named = [row for row, patient in enumerate(slices.patients) if patient is not None]
    if not named:
        return Cases(infer_groups(slices, case_counts, near), "inferred")
    first_of: dict[str | None, int] = {}
    for row in named:
        first = first_of.setdefault(slices.patients[row], row)
        if slices.labels[first] != slices.labels[row]:
            raise PatientInTwoClasses(slices.files[first], slices.files[row])
    links = [_equal([patient or row for row, patient in enumerate(slices.patients)]), _copies(slices)]
    if len(named) == len(slices):
        return Cases(_joined(links), "known")
    return Cases(_joined([*links, _equal(infer_groups(slices, case_counts, near).tolist())]), "inferred")


def known_cases(slices: Slices, case_of: tuple[str, ...]) -> Cases:
    """Cases from the name of each slice's case. Copies of one file that are listed under two cases make them one.

    Raises CaseInTwoClasses.
    """
    of_case: dict[str, Counter[int]] = {}
    for case, label in zip(case_of, slices.labels.tolist(), strict=True):
        of_case.setdefault(case, Counter())[label] += 1
    torn = [case for case, labels in of_case.items() if len(labels) > 1]
    if torn:
        counts = {slices.classes.names[label]: count for label, count in sorted(of_case[torn[0]].items())}
        raise CaseInTwoClasses(torn[0], counts, len(torn) - 1)
    groups = _joined([_equal(case_of), _copies(slices)])
    _, first_rows = np.unique(groups, return_index=True)
    return Cases(groups, "known", tuple(case_of[row] for row in first_rows))


def infer_groups(slices: Slices, case_counts: tuple[int, ...] | None = None, near: Pairs | None = None) -> Groups:
    """Join slices of one class that correlate above duplicates.NEAR, copies, and runs of neighbouring files.

    The files of a class stand in the natural order of their names ("2" before "10"). The order is cut between folders
    and at its weak links: those below WEAK_LINK, or, where the number of cases is known (case_counts, in class order),
    the weakest ones, until as many runs are left. All of this is joined, so fewer groups than that may come out. near:
    near_duplicates(slices), where they are known already.
    """
    pairs = near_duplicates(slices) if near is None else near
    pairs = pairs.where(slices.labels[pairs.first] == slices.labels[pairs.second])
    links = [(pairs.first, pairs.second), _copies(slices)]
    for label in np.unique(slices.labels).tolist():
        rows = np.flatnonzero(slices.labels == label).tolist()
        order = np.array(sorted(rows, key=lambda row: natural_key(slices.files[row])), np.int64)
        is_linked = _linked(slices, order, None if case_counts is None else case_counts[label])
        links.append((order[:-1][is_linked], order[1:][is_linked]))
    return _joined(links)


def _linked(slices: Slices, order: Indices, count: int | None) -> NDArray[np.bool_]:
    """Whether each slice and the next one count as one case: bool [len(order) - 1]."""
    strength = neighbour_correlations(slices.thumbnails, order)
    folders = [slices.files[row].rpartition("/")[0] for row in order.tolist()]
    strength[[a != b for a, b in itertools.pairwise(folders)]] = -1
    if count is None:
        return strength >= WEAK_LINK
    is_linked = strength > -1
    is_linked[np.argsort(strength, kind="stable")[: count - 1]] = False
    return is_linked


def natural_key(path: str) -> tuple[str, list[str | int]]:
    """Sorts paths by folder, then by name with its numbers as numbers."""
    folder, _, name = path.rpartition("/")
    return folder, [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]


def _equal(keys: Sequence[Hashable]) -> tuple[Indices, Indices]:
    """Each row, linked to the first one that has an equal key."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(key, row) for row, key in enumerate(keys)], np.int64), np.arange(len(keys))


def _copies(slices: Slices) -> tuple[Indices, Indices]:
    """Each slice, linked to the first one of its class whose file is the same byte for byte."""
    return _equal(list(zip(slices.labels.tolist(), slices.digests, strict=True)))


def _joined(links: Sequence[tuple[Indices, Indices]]) -> Groups:
    """The number of each row's group, from pairs of rows that belong together; each row is in one pair at least."""
    first, second = (np.concatenate(side) for side in zip(*links, strict=True))
    count = int(second.max()) + 1
    graph = coo_array((np.ones(len(first)), (first, second)), (count, count))
    _, groups = connected_components(graph, directed=False)
    return np.asarray(groups, np.int64)
