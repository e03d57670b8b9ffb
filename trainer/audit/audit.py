"""Look first: what a folder of labelled slices holds, and what in it would mislead training or its figures."""

import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from shared.familiarity import acquisition_of
from shared.imaging import place
from shared.slices import DecodedSlice
from trainer.data.cases import Cases, find_cases
from trainer.data.dataset import Slices, file_name, index_folder
from trainer.data.duplicates import NEAR, across_classes, conflicting_copies, copies, near_duplicates
from trainer.data.image_measures import MEASURES, columns, measure
from trainer.data.input_pipeline import read_files
from trainer.data.similarity import Pairs
from trainer.evaluation.shortcuts import Shortcut, find_shortcuts
from trainer.settings import TrainerSettings
from trainer.terminal import counted, printable

_MAX_PAIRS = 200


class Unreadable(BaseModel, frozen=True):
    """A file in a class folder that is no whole slice, and why."""

    file: str
    reason: str


class AlikePair(BaseModel, frozen=True):
    """Two slices of different classes that look like one patient's."""

    files: tuple[str, str]
    classes: tuple[str, str]
    correlation: float


class CaseGroup(BaseModel, frozen=True):
    """The slices of one case. name: the user's, None where it was inferred."""

    number: int
    name: str | None
    class_name: str
    files: tuple[str, ...]


class Audit(BaseModel, frozen=True):
    """Everything that was found, as audit.json holds it. It names files, which may name patients.

    Names are as trainer.data.dataset.file_name() gives them.
    """

    folder: str
    n: int
    counts: dict[str, int]
    ignored_folders: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    copies: tuple[tuple[str, ...], ...]
    """Files that are byte for byte the same, within a class or across."""
    conflicts: tuple[tuple[str, ...], ...]
    """The copies that lie in different classes."""
    near_duplicate_pairs: int
    """Pairs within a class that correlate above the bound, copies included."""
    alike_across_classes: tuple[AlikePair, ...]
    """The most alike pairs of different classes, 200 at most."""
    n_alike_across_classes: int
    pairs_left_out: tuple[str, ...] = ()
    """What was not compared, or not counted, among the pairs: a sentence each."""
    image_sizes: dict[str, dict[str, int]]
    """Of each class: how many slices have each size, "width x height", the commonest first."""
    medians: dict[str, dict[str, float]]
    """Of each class: median of each measure."""
    shortcuts: tuple[Shortcut, ...]
    case_origin: Literal["known", "inferred"]
    case_counts: dict[str, int]
    cases: tuple[CaseGroup, ...]


@dataclass(frozen=True)
class Audited:
    """What an audit found, and the slices, cases and pairs that its page is drawn from."""

    audit: Audit
    slices: Slices
    cases: Cases
    alike: Pairs
    """Pairs across classes, the most alike first."""


def audit_folder(folder: Path, settings: TrainerSettings) -> Audited:
    """Read a folder of class folders once and judge it. Raises DatasetError, CaseTableError or CaseInTwoClasses."""
    index = index_folder(folder, settings.class_set)

    def look(slice_: DecodedSlice) -> NDArray[np.float64]:
        grey, air = slice_.grey, slice_.air_grey
        return measure(grey, acquisition_of(grey, place(grey, settings.preprocessing, air), air))

    read = read_files(index, look, settings.decode_threads)
    slices = Slices(**read.fields(), measures=np.stack([one.seen for one in read.whole]))
    near = near_duplicates(slices)
    cases = find_cases(slices, folder, settings.cases, settings.expected_cases, near)
    alike = across_classes(near, slices.labels)
    alike = alike.where(np.argsort(-alike.correlation, kind="stable"))
    names, of_class = slices.classes.names, [slices.labels == label for label in range(len(slices.classes.names))]
    sizes = columns(slices.measures, "image width", "image height")
    shown = zip(alike.first, alike.second, alike.correlation.tolist(), strict=True)
    audit = Audit(
        folder=printable(folder),
        n=len(slices),
        counts=slices.counts(),
        ignored_folders=index.ignored_folders,
        unreadable=tuple(Unreadable(file=file_name(one.path, folder), reason=one.reason) for one in slices.skipped),
        copies=_named(slices, copies(slices)),
        conflicts=_named(slices, conflicting_copies(slices)),
        near_duplicate_pairs=len(near) - len(alike),
        alike_across_classes=tuple(
            AlikePair(
                files=(slices.files[one], slices.files[other]),
                classes=(names[slices.labels[one]], names[slices.labels[other]]),
                correlation=round(correlation, 4),
            )
            for one, other, correlation in itertools.islice(shown, _MAX_PAIRS)
        ),
        n_alike_across_classes=len(alike),
        pairs_left_out=near.left_out,
        image_sizes={
            name: dict(Counter(f"{width:.0f} x {height:.0f}" for width, height in sizes[rows]).most_common())
            for name, rows in zip(names, of_class, strict=True)
        },
        medians={
            name: dict(zip(MEASURES, np.median(slices.measures[rows], axis=0).round(2).tolist(), strict=True))
            for name, rows in zip(names, of_class, strict=True)
        },
        shortcuts=find_shortcuts(slices, cases, settings.seed),
        case_origin=cases.origin,
        case_counts=cases.counts(slices),
        cases=_groups(slices, cases),
    )
    return Audited(audit, slices, cases, alike)


def summary(audit: Audit) -> str:
    """An audit as lines for a terminal: counts, copies, alike pairs, shortcuts; five files at most of each kind."""
    lines = [f"{counted(audit.n, 'slice')} of {counted(len(audit.cases), 'case')} ({audit.case_origin})"]
    lines += [
        f"  {name}: {counted(count, 'slice')}, {counted(audit.case_counts[name], 'case')}"
        for name, count in audit.counts.items()
    ]
    if audit.ignored_folders:
        lines.append(f"Folders that are no class: {', '.join(audit.ignored_folders)}")
    lines.append(f"Unreadable files: {len(audit.unreadable)}")
    lines += [f"  {one.file}: {one.reason}" for one in audit.unreadable[:5]]
    sets = counted(len(audit.copies), "set")
    lines.append(f"Byte-identical files: {sets}, {len(audit.conflicts)} of them in different classes")
    lines += [f"  LABEL CONFLICT {' = '.join(same)}" for same in audit.conflicts[:5]]
    lines.append(
        f"Near-duplicates (correlation above {NEAR}): {counted(audit.near_duplicate_pairs, 'pair')} within a class, "
        f"{audit.n_alike_across_classes} across classes"
    )
    lines += [f"  {sentence}" for sentence in audit.pairs_left_out]
    lines += [f"  {' ~ '.join(pair.files)} ({pair.correlation:.3f})" for pair in audit.alike_across_classes[:5]]
    lines.append("What tells the class of a new case without a look at the lungs (balanced accuracy, 95 %):")
    lines += [
        f"  {one.clue}: {one.balanced_accuracy:.2f} ({one.interval[0]:.2f} to {one.interval[1]:.2f}), chance "
        f"{one.chance:.2f}{'  SHORTCUT' if one.is_telling else ''}"
        for one in audit.shortcuts
    ]
    if not audit.shortcuts:
        lines.append("  not tested: a class has fewer than two cases")
    return "\n".join(lines)


def _named(slices: Slices, sets: tuple[tuple[int, ...], ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(slices.files[row] for row in same) for same in sets)


def _groups(slices: Slices, cases: Cases) -> tuple[CaseGroup, ...]:
    rows_of = [np.flatnonzero(cases.groups == number).tolist() for number in range(len(cases))]
    return tuple(
        CaseGroup(
            number=number,
            name=cases.names[number] if cases.names else None,
            class_name=slices.classes.names[slices.labels[rows[0]]],
            files=tuple(slices.files[row] for row in rows),
        )
        for number, rows in enumerate(rows_of)
    )
