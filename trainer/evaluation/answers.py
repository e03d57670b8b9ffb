"""What a version, as it is served, said to labelled slices: refused or answered, decided, familiar."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.chest_ct import Check
from shared.classes import ClassSet
from shared.decisions import Verdict
from shared.raster.decode import ImageType
from trainer.data.balance import Labels
from trainer.data.cases import Groups

Mask = NDArray[np.bool_]
"""bool [n], a slice each."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Entry i of every field but the first being one slice.

    labels, groups: int64 [n], class and case. probabilities: float64 [n, classes]; those of a refused slice are
    answered to nobody. doubts: the checks of the chest gate that a slice failed, each of which refuses it. verdicts and
    in_set, bool [n, classes]: None where the version has no decision rules. is_familiar: all True where the version
    does not ask.
    """

    classes: ClassSet
    labels: Labels
    groups: Groups
    kinds: tuple[ImageType, ...]
    doubts: tuple[tuple[Check, ...], ...]
    probabilities: NDArray[np.float64]
    is_familiar: Mask
    verdicts: NDArray[np.str_] | None
    in_set: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_answered(self) -> Mask:
        """Which slices the chest gate lets pass."""
        return np.array([not doubts for doubts in self.doubts], np.bool_)

    @property
    def is_right(self) -> Mask:
        """Of which slices the top class is the label."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels)

    @property
    def is_target(self) -> Mask:
        """Which slices are of the target class."""
        return np.asarray(self.labels == self.classes.names.index(self.classes.target))

    def failed(self, check: Check) -> Mask:
        """Which slices failed this check of the chest gate."""
        return np.array([check in doubts for doubts in self.doubts], np.bool_)

    def has_verdict(self, verdict: Verdict) -> Mask | None:
        """Which slices got this verdict; None without decision rules."""
        return None if self.verdicts is None else np.asarray(self.verdicts == verdict)

    def of_kind(self, kind: str) -> "Answers":
        """The answers to slices of one kind of file."""
        return self.only(np.array(self.kinds) == kind)

    def only(self, rows: Mask) -> "Answers":
        """The answers to these slices, in their order."""
        kept = np.flatnonzero(rows).tolist()
        return replace(
            self,
            labels=self.labels[kept],
            groups=self.groups[kept],
            kinds=tuple(self.kinds[row] for row in kept),
            doubts=tuple(self.doubts[row] for row in kept),
            probabilities=self.probabilities[kept],
            is_familiar=self.is_familiar[kept],
            verdicts=None if self.verdicts is None else self.verdicts[kept],
            in_set=None if self.in_set is None else self.in_set[kept],
        )
