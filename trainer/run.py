"""One run: labelled slices in, a published version out."""

import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter

from trainer.dataset import Dataset, has_class_folders, index_folder
from trainer.duplicates import conflict_warning, settle_conflicts
from trainer.errors import TrainerError
from trainer.evaluation import Metrics, evaluate
from trainer.facts import Facts
from trainer.figures import draw_figures
from trainer.input_pipeline import read_dataset
from trainer.phantom_folder import synthesize
from trainer.publishing import publish
from trainer.settings import TrainerSettings
from trainer.splits import OPTIMISTIC_WARNING, Split, split_by_image
from trainer.training import History, Trained, fit

logger = logging.getLogger(__name__)

PHANTOM_WARNING = "Demo model: trained on synthetic phantoms; it has never seen a patient."

_DEMO_CASES_PER_CLASS = 40
_DEMO_SLICES_PER_CASE = 2
_DEMO_EPOCHS = 16


class DemoHasNoSuchClasses(TrainerError):
    """Phantoms are drawn for the lung classes only."""

    def __init__(self) -> None:
        super().__init__("Other classes than the lung set need data: give a folder with one folder per class.")


@dataclass(frozen=True)
class Outcome:
    """What a run published, and how good it is on the slices held out."""

    version: int
    metrics: Metrics
    warnings: tuple[str, ...]
    duration_s: float


def run(settings: TrainerSettings) -> Outcome:
    """Train on settings.data and publish; without data, draw phantoms and train the demo model on them.

    Raises TrainerError.
    """
    if settings.data is not None:
        return train_and_publish(settings.data, settings)
    if settings.classes is not None:
        raise DemoHasNoSuchClasses
    with tempfile.TemporaryDirectory(prefix="lungct-") as scratch:
        folder = Path(scratch) / "phantoms"
        logger.info("No data given: training the demo model on synthetic phantoms")
        synthesize(
            folder, cases_per_class=_DEMO_CASES_PER_CLASS, slices_per_case=_DEMO_SLICES_PER_CASE, seed=settings.seed
        )
        return train_and_publish(folder, demo_settings(settings))


def without_empty_data(settings: TrainerSettings) -> TrainerSettings:
    """The same without data where its folder holds no class folder: a mounted folder may be there and empty.

    For a folder that the environment names; one that was typed is meant, and is an error when it holds no class.
    """
    if settings.data is None or has_class_folders(settings.data, settings.class_set):
        return settings
    logger.warning("%s holds no folder that is named like a class", settings.data)
    return settings.model_copy(update={"data": None})


def train_and_publish(folder: Path, settings: TrainerSettings) -> Outcome:
    """One folder of class folders → the next version. Raises TrainerError."""
    started = time.monotonic()
    dataset = settle_conflicts(read_labelled(folder, settings), folder, settings.on_label_conflict)
    alike = conflict_warning(dataset)
    if alike is not None:
        logger.warning("%s", alike)
    seed = settings.seed if settings.split_seed is None else settings.split_seed
    split = split_by_image(dataset.labels, settings.balance, settings.validation_share, seed)
    logger.info(
        "Split %s: %d slices train, %d are held out", settings.split, len(split.training), len(split.validation)
    )
    logger.warning("%s", OPTIMISTIC_WARNING)
    trained = fit(dataset, split, settings)
    metrics = evaluate(dataset.labels[split.validation], trained.probabilities, dataset.classes, settings.seed)
    facts = _facts(dataset, split, trained, metrics, settings)
    facts = facts.model_copy(update={"duration_s": time.monotonic() - started})
    figures = draw_figures(trained.history, metrics, f"{settings.model_name}, network {settings.network}")
    version = publish(trained.model, facts, settings.model_dir, figures)
    return Outcome(version, metrics, facts.warnings, time.monotonic() - started)


def read_labelled(folder: Path, settings: TrainerSettings) -> Dataset:
    """Index and read a folder, and say what was found and what was not used. Raises DatasetError."""
    index = index_folder(folder, settings.class_set)
    if index.ignored_folders:
        logger.warning("Not a class, ignored: %s", ", ".join(index.ignored_folders))
    dataset = read_dataset(index, settings.preprocessing, settings.decode_threads)
    for skipped in dataset.skipped:
        logger.warning("Skipped %s: %s", skipped.path.relative_to(folder), skipped.reason)
    counts = ", ".join(f"{name}: {count}" for name, count in dataset.counts().items())
    logger.info("Read %d slices (%s); %d files skipped", len(dataset), counts, len(dataset.skipped))
    return dataset


def demo_settings(settings: TrainerSettings) -> TrainerSettings:
    """A small network and few epochs, unless somebody asked for others."""
    wanted = {"network": "tiny", "epochs": _DEMO_EPOCHS}
    return settings.model_copy(
        update={field: value for field, value in wanted.items() if field not in settings.model_fields_set}
    )


def _facts(dataset: Dataset, split: Split, trained: Trained, metrics: Metrics, settings: TrainerSettings) -> Facts:
    warnings = (PHANTOM_WARNING, *split.warnings) if dataset.kind == "phantoms" else split.warnings
    twins: JsonValue = dataset.twins(split.training, split.validation)
    history = trained.history
    json_history: JsonValue = TypeAdapter(History).dump_python(history, mode="json")
    return Facts(
        architecture=settings.network,
        classes=dataset.classes,
        preprocessing=settings.preprocessing,
        dataset=dataset.describe(),
        split={**split.record, "held_out_twins": twins},
        metrics=metrics.model_dump(mode="json"),
        training={
            "balance": settings.balance,
            "optimizer": "adam",
            "learning_rate": settings.adam_learning_rate,
            "batch_size": settings.batch_size,
            "augmentation": settings.augmentation_of_network,
            "epochs": len(history.loss),
            "best_epoch": history.best_epoch,
            "patience": settings.patience,
            "parameters": trained.model.count_params(),
            "history": json_history,
        },
        warnings=warnings,
        seed=settings.seed,
        duration_s=trained.duration_s,
    )
