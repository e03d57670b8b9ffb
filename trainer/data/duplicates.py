"""Slices that are there more than once, byte for byte or nearly, and those that contradict each other's label."""

import dataclasses
import logging
from collections import defaultdict
from pathlib import Path

import numpy as np

from trainer.data.balance import Labels
from trainer.data.dataset import Dataset, SkippedFile, Slices
from trainer.data.similarity import Pairs, similar_pairs
from trainer.errors import TrainerError
from trainer.settings import OnLabelConflict
from trainer.terminal import counted

logger = logging.getLogger(__name__)

NEAR = 0.90
"""Correlation of two slices' thumbnails above which both are taken to show one patient."""

CONFLICT_REASON = "The same bytes lie in another class, too."
_SHOWN = 3


class LabelConflict(TrainerError):
    """Byte-identical files lie in different classes: at least one label is wrong."""

    def __init__(self, examples: list[str], count: int) -> None:
        more = f" and {count - len(examples)} more" if count > len(examples) else ""
        super().__init__(
            f"Byte-identical files lie in different classes: {'; '.join(examples)}{more}. Correct the folders, or "
            "leave all such files out with --on-label-conflict drop."
        )


def copies(slices: Slices) -> tuple[tuple[int, ...], ...]:
    """Sets of rows, two and more, whose files are byte for byte the same; each in ascending order."""
    rows = defaultdict(list)
    for row, digest in enumerate(slices.digests):
        rows[digest].append(row)
    return tuple(tuple(same) for same in rows.values() if len(same) > 1)


def conflicting_copies(slices: Slices) -> tuple[tuple[int, ...], ...]:
    """Sets of rows, two and more, whose files are byte for byte the same and whose labels differ."""
    return tuple(same for same in copies(slices) if len({int(slices.labels[row]) for row in same}) > 1)


def near_duplicates(slices: Slices) -> Pairs:
    """Pairs of slices that correlate above NEAR, copies included; shows progress, and says what was left out.

    It takes long: ask once.
    """
    pairs = similar_pairs(slices.thumbnails, NEAR)
    for sentence in pairs.left_out:
        logger.warning("%s", sentence)
    return pairs


def across_classes(pairs: Pairs, labels: Labels) -> Pairs:
    """The pairs of slices whose labels, int64 [n], differ."""
    return pairs.where(labels[pairs.first] != labels[pairs.second])


def settle_conflicts(dataset: Dataset, folder: Path, on_conflict: OnLabelConflict) -> Dataset:
    """The dataset without label conflicts between copies.

    `error`: raises LabelConflict where there is one. `drop`: all of the files in conflict are left out and listed as
    skipped; none of them can be trusted. ClassWithoutSlices is not checked for: a split finds a class too small.
    """
    conflicts = conflicting_copies(dataset)
    if not conflicts:
        return dataset
    if on_conflict == "error":
        examples = [" = ".join(dataset.files[row] for row in same) for same in conflicts[:_SHOWN]]
        raise LabelConflict(examples, len(conflicts))
    dropped = np.sort(np.concatenate(conflicts))
    kept = np.setdiff1d(np.arange(len(dataset)), dropped)
    skipped = tuple(
        SkippedFile(folder / dataset.files[row], int(dataset.labels[row]), CONFLICT_REASON, dataset.digests[row])
        for row in dropped
    )
    return dataclasses.replace(dataset.only(kept), skipped=(*dataset.skipped, *skipped))


def conflict_warning(slices: Slices, near: Pairs) -> str | None:
    """A sentence on near-duplicates whose labels differ, without file names; None where there are none."""
    pairs = across_classes(near, slices.labels)
    if not len(pairs):
        return None
    names = slices.classes.names
    labels = np.sort(np.stack([slices.labels[pairs.first], slices.labels[pairs.second]], axis=1), axis=1)
    both = np.unique(labels, axis=0).tolist()
    classes = "; ".join(" and ".join(names[label] for label in pair) for pair in both)
    return (
        f"{counted(len(pairs), 'pair')} of slices with different labels look like one patient (correlation above "
        f"{NEAR}): {classes}. `trainer audit` shows them; at least one label may be wrong."
    )
