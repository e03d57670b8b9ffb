"""Which slices train and which are held out."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from trainer.data.balance import Indices, Labels, undersample
from trainer.data.cases import INFERRED_WARNING, Cases, Groups
from trainer.data.dataset import Slices
from trainer.errors import TrainerError
from trainer.settings import BalanceName

OPTIMISTIC_WARNING = (
    "The figures of this model are optimistic: slices were split one by one, so neighbouring slices of one patient "
    "trained it and tested it. Expect less on new patients."
)
_PARTS_TO_STOP = 5
OPTIMISTIC_NOTE = f"{OPTIMISTIC_WARNING} The epoch that was kept was chosen on the held-out slices, too."


class TooFewSlices(TrainerError):
    """A class cannot be held out and trained on."""

    def __init__(self, smallest: int) -> None:
        super().__init__(f"Each class needs at least 5 slices to be split, the smallest has {smallest}.")


class FoldWithoutClass(TrainerError):
    """A class has fewer cases than there are folds, so a fold could hold none of it out."""

    def __init__(self, counts: dict[str, int], folds: int) -> None:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        super().__init__(
            f"A fold would lack a class: {folds} folds need {folds} cases of each, and there are {listed}. "
            "Ask for fewer folds."
        )


@dataclass(frozen=True)
class Split:
    """Positions of the slices that train and of those held out, and what the manifest says about the choice."""

    training: Indices
    validation: Indices
    record: dict[str, JsonValue]
    warnings: tuple[str, ...]


def split_by_image(labels: Labels, balance: BalanceName, validation_share: float, seed: int) -> Split:
    """The reference's protocol: stratified by class, slice by slice, blind to which patient a slice is of.

    With `undersample` all classes are cut to the smallest one's count before the split, so that the held-out slices are
    balanced too; every other balance leaves the held-out slices as they come. Raises TooFewSlices.
    """
    rng = np.random.default_rng(seed)
    kept = undersample(labels, rng) if balance == "undersample" else np.arange(len(labels))
    smallest = int(np.bincount(labels[kept]).min())
    if smallest < 5:  # noqa: PLR2004 - one of five is the least that 80/20 can hold out
        raise TooFewSlices(smallest)
    training, validation = train_test_split(
        kept, test_size=validation_share, stratify=labels[kept], random_state=int(rng.integers(2**31))
    )
    record: dict[str, JsonValue] = {
        "protocol": "image",
        "optimistic": True,
        "note": OPTIMISTIC_NOTE,
        "seed": seed,
        "validation_share": validation_share,
        "training_slices": len(training),
        "validation_slices": len(validation),
    }
    return Split(np.sort(training), np.sort(validation), record, (OPTIMISTIC_WARNING,))


@dataclass(frozen=True)
class Folds:
    """A partition of all slices that no case crosses. fold_of: int64 [n], the fold in which each slice is held out."""

    fold_of: NDArray[np.int64]
    cases: Cases
    record: dict[str, JsonValue]
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.fold_of.max()) + 1

    def split(self, fold: int) -> Split:
        """The slices that train and those that are held out in one fold."""
        is_held_out = self.fold_of == fold
        return Split(np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out), self.record, self.warnings)


def split_by_case(slices: Slices, cases: Cases, folds: int, seed: int) -> Folds:
    """Stratified grouped folds: each case is held out in exactly one, and each fold has about its share of each class.

    Equal arguments give equal folds, on every machine. The digest in the record is SHA-256 over the sorted lines
    "<file digest> <fold>", so whoever has the files can check which were held out together. Raises FoldWithoutClass.
    """
    labels = slices.labels
    counts = cases.counts(slices)
    if min(counts.values()) < folds:
        raise FoldWithoutClass(counts, folds)
    # With that, no fold lacks a class: a case is of one class, and the splitter puts each where its class is rarest.
    fold_of = np.empty(len(labels), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros((len(labels), 1)), labels, cases.groups)):
        fold_of[held_out] = fold
    record: dict[str, JsonValue] = {
        "protocol": "case",
        "optimistic": False,
        "groups": cases.origin,
        "n_groups": dict(counts),
        "folds": folds,
        "seed": seed,
        "digest": folds_digest(slices.digests, fold_of),
        "held_out_slices": np.bincount(fold_of, minlength=folds).tolist(),
    }
    return Folds(fold_of, cases, record, (INFERRED_WARNING,) if cases.origin == "inferred" else ())


def hold_out_to_stop(labels: Labels, groups: Groups, rows: Indices, seed: int) -> tuple[Indices, Indices | None]:
    """Set a fifth of the rows' cases apart, to tell when training should stop without a look at the test fold.

    None where a class has too few cases to spare one, or would be missing on either side: all rows train then.
    """
    labels, groups = labels[rows], groups[rows]
    parts = min(_PARTS_TO_STOP, *(len(np.unique(groups[labels == label])) for label in np.unique(labels)))
    if parts < 2:  # noqa: PLR2004 - one case to train on, one to stop by
        return rows, None
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    training, to_stop = next(splitter.split(np.zeros((len(rows), 1)), labels, groups))
    if len(np.unique(labels[training])) < len(np.unique(labels)):
        return rows, None
    return rows[training], rows[to_stop]


def folds_digest(digests: tuple[str, ...], fold_of: NDArray[np.int64]) -> str:
    """SHA-256, in hexadecimal, over the sorted lines "<file digest> <fold>"; fold_of: int64 [n]."""
    lines = sorted(f"{digest} {fold}\n" for digest, fold in zip(digests, fold_of.tolist(), strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
