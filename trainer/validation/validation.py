"""External validation: a published version, as it is served, judged by labelled slices; or two of them, paired."""

import logging
from pathlib import Path

from pydantic import BaseModel

from shared.artifact import Manifest
from trainer.errors import TrainerError
from trainer.evaluation.answers import Answers
from trainer.evaluation.comparison import ServedComparison, compare_served
from trainer.evaluation.out_of_fold import read_out_of_fold
from trainer.evaluation.resampling import DRAWS
from trainer.evaluation.served_figures import ServedFigures, served_figures
from trainer.validation.labelled_slices import Data, LabelledSlices, read_slices
from trainer.validation.served_answers import served_answers

logger = logging.getLogger(__name__)


class OtherClasses(TrainerError):
    """Two versions that answer different questions cannot be compared."""

    def __init__(self, versions: tuple[int, int]) -> None:
        super().__init__(f"Versions {versions[0]} and {versions[1]} have different classes or targets; expected equal.")


class TrainedOn(BaseModel, frozen=True):
    """How many of the slices the version was trained on, by SHA-256 of their files; n is None where nobody can tell."""

    n: int | None
    of: int
    sentence: str


class Validation(BaseModel, frozen=True):
    """What the slices say of one version as it is served."""

    model_name: str
    version: int
    architecture: str
    target: str
    operating_point: str | None
    trained_on: TrainedOn
    missing: tuple[str, ...]
    """What the version has not, and what follows, a sentence each."""
    data: Data
    figures: ServedFigures
    by_kind: dict[str, ServedFigures]
    """The same of each kind of file; empty where there is one kind."""
    warnings: tuple[str, ...]
    """The version's own."""


class ComparedVersions(BaseModel, frozen=True):
    """Two versions judged by the same slices, and the first minus the second."""

    first: Validation
    second: Validation
    difference: ServedComparison


def validate(
    folder: Path, model_dir: Path, manifest: Manifest, table: Path | None = None, threads: int | None = None
) -> tuple[Validation, Answers]:
    """Judge the version that a manifest is of, as trainer.publishing.repository.read_version() gives it.

    Classes and preprocessing are the version's own. table: of cases. Raises DatasetError, CaseTableError,
    CaseInTwoClasses or UnusableModel.
    """
    return _judge(read_slices(folder, manifest, table, threads), model_dir, manifest, threads)


def compare(
    folder: Path,
    model_dir: Path,
    manifests: tuple[Manifest, Manifest],
    table: Path | None = None,
    threads: int | None = None,
) -> ComparedVersions:
    """Judge two versions by the same slices. Raises OtherClasses, or what validate() does."""
    first, second = manifests
    if first.classes != second.classes:
        raise OtherClasses((first.model_version, second.model_version))
    slices = read_slices(folder, first, table, threads)
    one, answers = _judge(slices, model_dir, first, threads)
    if first.preprocessing != second.preprocessing:
        theirs = read_slices(folder, second, table, threads)
        slices = LabelledSlices(theirs.dataset, theirs.paths, slices.groups, slices.origin)
    other, other_answers = _judge(slices, model_dir, second, threads)
    return ComparedVersions(first=one, second=other, difference=compare_served(answers, other_answers))


def _judge(
    slices: LabelledSlices, model_dir: Path, manifest: Manifest, threads: int | None
) -> tuple[Validation, Answers]:
    version_dir = model_dir / str(manifest.model_version)
    answers, asks = served_answers(manifest, version_dir, slices, threads), manifest.familiarity is not None
    kinds = sorted(set(answers.kinds))
    logger.info("Drawing cases %d times for each figure", DRAWS)
    rules = manifest.thresholds
    validation = Validation(
        model_name=manifest.model_name,
        version=manifest.model_version,
        architecture=manifest.architecture,
        target=manifest.classes.target,
        operating_point=rules.operating_point if rules else None,
        trained_on=trained_on(slices, manifest, version_dir),
        missing=_missing(manifest, slices, asks_familiarity=asks),
        data=slices.describe(),
        figures=served_figures(answers, asks_familiarity=asks),
        by_kind={kind: served_figures(answers.of_kind(kind), asks_familiarity=asks) for kind in kinds}
        if len(kinds) > 1
        else {},
        warnings=manifest.warnings,
    )
    return validation, answers


def trained_on(slices: LabelledSlices, manifest: Manifest, version_dir: Path) -> TrainedOn:
    """How many slices are among those that the version keeps from its training, or whether all are its very data."""
    dataset, n = slices.dataset, len(slices.dataset)
    if manifest.dataset.get("digest") == dataset.digest():
        seen = n
    elif kept := read_out_of_fold(version_dir):
        known = set(kept.sha256)
        seen = sum(digest in known for digest in dataset.digests)
    else:
        sentence = f"Whether the version was trained on some of these {n} slices cannot be told: it keeps no list."
        return TrainedOn(n=None, of=n, sentence=sentence)
    if seen:
        verb = "was" if seen == 1 else "were"
        return TrainedOn(
            n=seen, of=n, sentence=f"{seen} of {n} slices {verb} trained on: these figures are no validation."
        )
    return TrainedOn(n=0, of=n, sentence=f"None of {n} slices was trained on, by the digests of their files.")


def _missing(manifest: Manifest, slices: LabelledSlices, *, asks_familiarity: bool) -> tuple[str, ...]:
    told = []
    if manifest.thresholds is None:
        told.append("The version has no decision rules: there are no verdicts and no prediction sets.")
    if manifest.chest_gate is None:
        told.append("The version has no limits of its own for the chest gate: the default image checks refuse alone.")
    elif manifest.chest_gate.image_limits is None:
        told.append("The version refuses nothing by its looks, as its training slices fail the image checks.")
    if manifest.chest_gate is not None and manifest.chest_gate.max_distance is None:
        told.append("The version has no limit for the distance in features.")
    if not asks_familiarity:
        told.append("The version does not ask whether a slice is like its training slices: each counts as familiar.")
    absent = [name for name, count in slices.dataset.counts().items() if not count]
    if absent:
        told.append(f"No slice is of {' or '.join(absent)}: means over classes leave that out.")
    return tuple(told)
