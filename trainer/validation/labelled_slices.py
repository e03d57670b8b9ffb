"""A folder of labelled slices as a version sees it, with the case of each slice and how that is known."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel

from shared.artifact import Manifest
from trainer.data.case_table import CASE_TABLE_FILE
from trainer.data.cases import Groups, PatientInTwoClasses, find_cases
from trainer.data.dataset import Dataset, index_folder
from trainer.data.input_pipeline import read_dataset

CaseOrigin = Literal["table", "patient-id", "guessed", "unknown"]

_ORIGINS: dict[CaseOrigin, str] = {
    "table": "known from the table of cases",
    "patient-id": "known from PatientID",
    "guessed": "guessed from how alike slices are and from the order of their files",
    "unknown": "of which nothing can be told: files in two classes have one PatientID, so each slice counts as a case, "
    "and intervals are too narrow",
}


class Data(BaseModel, frozen=True):
    """What was read. skipped: how many files are no whole slice, by reason; no file's name."""

    n: int
    n_cases: int
    case_origin: CaseOrigin
    counts: dict[str, int]
    case_counts: dict[str, int]
    formats: dict[str, int]
    skipped: dict[str, int]

    @property
    def origin_in_words(self) -> str:
        """How cases are known."""
        return _ORIGINS[self.case_origin]


@dataclass(frozen=True)
class LabelledSlices:
    """paths: each slice's file; groups: its case."""

    dataset: Dataset
    paths: tuple[Path, ...]
    groups: Groups
    origin: CaseOrigin

    def describe(self) -> Data:
        """Counts for reports."""
        labels, names = self.dataset.labels, self.dataset.classes.names
        return Data(
            n=len(self.dataset),
            n_cases=len(np.unique(self.groups)),
            case_origin=self.origin,
            counts=self.dataset.counts(),
            case_counts={name: len(np.unique(self.groups[labels == label])) for label, name in enumerate(names)},
            formats=dict(Counter(self.dataset.kinds)),
            skipped=dict(Counter(one.reason for one in self.dataset.skipped).most_common()),
        )


def read_slices(folder: Path, manifest: Manifest, table: Path | None, threads: int | None) -> LabelledSlices:
    """Read the class folders, prepared as the version asks. table: of cases, the user's.

    Raises DatasetError, CaseTableError or CaseInTwoClasses.
    """
    index = index_folder(folder, manifest.classes, needs_every_class=False)
    dataset = read_dataset(index, manifest.preprocessing, threads)
    skipped = {one.path for one in dataset.skipped}
    paths = tuple(file.path for file in index.files if file.path not in skipped)
    groups, origin = _cases(dataset, folder, table)
    return LabelledSlices(dataset, paths, groups, origin)


def _cases(dataset: Dataset, folder: Path, table: Path | None) -> tuple[Groups, CaseOrigin]:
    has_table = table is not None or (folder / CASE_TABLE_FILE).is_file()
    try:
        cases = find_cases(dataset, folder, table)
    except PatientInTwoClasses:
        return np.arange(len(dataset)), "unknown"
    if has_table:
        return cases.groups, "table"
    return cases.groups, "guessed" if cases.origin == "inferred" else "patient-id"
