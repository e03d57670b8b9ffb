"""Whether a new model may be published: not where it is worse than the one in force, beyond chance.

Both are judged by their out-of-fold probabilities for the slices that both have, paired by case.
"""

from pathlib import Path

import numpy as np
from pydantic import BaseModel

from trainer.errors import TrainerError
from trainer.evaluation.comparison import Comparison, paired_by_case
from trainer.evaluation.out_of_fold import OutOfFold, read_out_of_fold
from trainer.publishing.repository import EmptyRepository, RepositoryError, read_version

MIN_CASES = 3
"""Cases of each class that must be common: with fewer, draws of cases say nothing."""
MIN_SLICES = 30


class Verdict(BaseModel, frozen=True):
    """What the gate found, as the manifest records it. is_worse is only ever published by force."""

    is_worse: bool = False
    is_forced: bool = False
    reason: str
    version: int | None = None
    """The version in force; None where there was none."""
    comparison: Comparison | None = None


class WorseThanPublished(TrainerError):
    """The gate stays shut; str() has the figures."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Not published: {reason} --force publishes it all the same; with --resume too, at once.")


def judge(new: OutOfFold | None, model_dir: Path, *, is_forced: bool = False) -> Verdict:
    """Compare with the pinned version, or else the newest valid one.

    Where there is nothing to compare with, or too little, the verdict says so and lets pass.
    """
    try:
        version = read_version(model_dir).model_version
    except EmptyRepository:
        return Verdict(reason="There is no version yet to compare with.")
    except RepositoryError as error:
        return Verdict(reason=f"Nothing to compare with: {error}")
    published = read_out_of_fold(model_dir / str(version))
    if new is None or published is None:
        which = "this run" if new is None else f"version {version}"
        return Verdict(version=version, reason=f"Not compared: {which} has no out-of-fold probabilities.")
    if new.class_names != published.class_names:
        return Verdict(version=version, reason=f"Not compared: version {version} has other classes.")
    comparison = compare(new, published)
    if comparison is None:
        return Verdict(
            version=version,
            reason=f"Not compared: fewer than {MIN_SLICES} slices, or {MIN_CASES} cases of a class, have out-of-fold "
            f"probabilities here and in version {version}.",
        )
    gain = comparison.balanced_accuracy
    return Verdict(
        is_worse=gain.is_worse,
        is_forced=gain.is_worse and is_forced,
        version=version,
        comparison=comparison,
        reason=f"{'Worse' if gain.is_worse else 'Not worse'} than version {version} beyond chance: balanced accuracy "
        f"{gain.value:+.3f} (95 % {gain.interval[0]:+.3f} to {gain.interval[1]:+.3f}) on {comparison.n} slices of "
        f"{comparison.n_cases} cases that both judged unseen.",
    )


def compare(new: OutOfFold, published: OutOfFold) -> Comparison | None:
    """The new one against the published one, labels and cases as the new one has them; None where too little."""
    row_of = {digest: row for row, digest in enumerate(published.sha256)}
    common = [row for row, digest in enumerate(new.sha256) if digest in row_of]
    there = [row_of[new.sha256[row]] for row in common]
    labels, cases = np.array(new.labels, np.int64)[common], np.array(new.cases, np.int64)[common]
    of_class = [len(np.unique(cases[labels == label])) for label in range(len(new.class_names))]
    if len(common) < MIN_SLICES or min(of_class) < MIN_CASES:
        return None
    first, second = np.array(new.probabilities)[common], np.array(published.probabilities)[there]
    return paired_by_case(labels, first, second, cases)
