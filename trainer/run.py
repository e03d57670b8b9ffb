"""One run: labelled slices in, a published version out."""

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from trainer.data.cases import Cases, find_cases
from trainer.data.dataset import Dataset, file_name, index_folder
from trainer.data.duplicates import conflict_warning, near_duplicates, settle_conflicts
from trainer.data.input_pipeline import read_dataset
from trainer.data.splits import Folds, split_by_case
from trainer.data.views import ACQUIRED, SHOWN
from trainer.evaluation.metrics import Metrics
from trainer.phantoms.phantom_folder import synthesize
from trainer.preflight import demo_settings
from trainer.publishing.publish import publish
from trainer.publishing.quality_gate import Verdict, WorseThanPublished, judge
from trainer.settings import TrainerSettings
from trainer.terminal import counted
from trainer.train_by_case import train_by_case
from trainer.train_by_image import train_by_image
from trainer.trained_model import TrainedModel
from trainer.training.work_folder import WorkFolder, fingerprint

logger = logging.getLogger(__name__)

_DEMO_CASES_PER_CLASS = 60
_DEMO_SLICES_PER_CASE = 2


@dataclass(frozen=True)
class Outcome:
    """What a run published, how good it is on the slices held out, and what the gate said."""

    version: int
    metrics: Metrics
    verdict: Verdict
    warnings: tuple[str, ...]
    duration_s: float


def run(settings: TrainerSettings, *, is_forced: bool = False, is_resumed: bool = False) -> Outcome:
    """Train on settings.data and publish; without data, draw phantoms and train the demo model on them.

    is_forced: publish also what is worse than the version in force. is_resumed: go on where an equal run was cut off.
    Raises TrainerError; what trainer.preflight finds, it finds sooner.
    """
    if settings.data is not None:
        return train_and_publish(settings.data, settings, is_forced=is_forced, is_resumed=is_resumed)
    with tempfile.TemporaryDirectory(prefix="lungct-") as scratch:
        folder = Path(scratch) / "phantoms"
        logger.info("No data given: training the demo model on synthetic phantoms")
        synthesize(
            folder, cases_per_class=_DEMO_CASES_PER_CLASS, slices_per_case=_DEMO_SLICES_PER_CASE, seed=settings.seed
        )
        return train_and_publish(folder, demo_settings(settings), is_forced=is_forced, is_resumed=is_resumed)


def train_and_publish(
    folder: Path, settings: TrainerSettings, *, is_forced: bool = False, is_resumed: bool = False
) -> Outcome:
    """One folder of class folders → the next version. Raises TrainerError, WorseThanPublished among them."""
    started = time.monotonic()
    dataset = read_labelled(folder, settings)
    near = near_duplicates(dataset)
    alike = conflict_warning(dataset, near)
    if alike is not None:
        logger.warning("%s", alike)
    if settings.split == "image":
        return _publish(train_by_image(dataset, settings), settings, started, is_forced=is_forced)
    cases = find_cases(dataset, folder, settings.cases, settings.expected_cases, near)
    folds = folds_of(dataset, cases, settings)
    work = WorkFolder(settings.model_dir, fingerprint(dataset, folds, settings), is_resumed=is_resumed)
    try:
        outcome = _publish(train_by_case(dataset, folds, settings, work), settings, started, is_forced=is_forced)
        work.remove()
    except WorseThanPublished:
        work.offer()
        raise
    finally:
        work.close()
    return outcome


def _publish(trained: TrainedModel, settings: TrainerSettings, started: float, *, is_forced: bool) -> Outcome:
    verdict = judge(trained.out_of_fold, settings.model_dir, is_forced=is_forced)
    if verdict.is_worse and not is_forced:
        raise WorseThanPublished(verdict.reason)
    gate: JsonValue = verdict.model_dump(mode="json")
    record = trained.record.model_copy(
        update={"training": {**trained.record.training, "gate": gate}, "duration_s": time.monotonic() - started}
    )
    version = publish(
        trained.model,
        record,
        settings.model_dir,
        trained.plots,
        trained.out_of_fold,
        variants=trained.variants,
        signing_key=settings.signing_key,
    )
    return Outcome(version, trained.metrics, verdict, record.warnings, time.monotonic() - started)


def folds_of(dataset: Dataset, cases: Cases, settings: TrainerSettings) -> Folds:
    """The folds of whole cases, and a word on them. Raises FoldWithoutClass."""
    seed = settings.seed if settings.split_seed is None else settings.split_seed
    folds = split_by_case(dataset, cases, settings.folds, seed)
    counts = ", ".join(f"{name}: {count}" for name, count in cases.counts(dataset).items())
    logger.info("Split case: %s (%s) in %d folds", counted(len(cases), f"{cases.origin} case"), counts, settings.folds)
    for warning in folds.warnings:
        logger.warning("%s", warning)
    return folds


def read_labelled(folder: Path, settings: TrainerSettings) -> Dataset:
    """Index and read a folder, and say what was found and what was not used. Raises DatasetError or LabelConflict."""
    index = index_folder(folder, settings.class_set)
    if index.ignored_folders:
        logger.warning("Not a class, ignored: %s", ", ".join(index.ignored_folders))
    dataset = read_dataset(index, settings.preprocessing, settings.decode_threads, (ACQUIRED, SHOWN), is_measured=True)
    for skipped in dataset.skipped:
        logger.warning("Skipped %s: %s", file_name(skipped.path, folder), skipped.reason)
    counts = ", ".join(f"{name}: {count}" for name, count in dataset.counts().items())
    logger.info(
        "Read %s (%s); %s skipped", counted(len(dataset), "slice"), counts, counted(len(dataset.skipped), "file")
    )
    return settle_conflicts(dataset, folder, settings.on_label_conflict)
