"""A version of the repository, asked what it says to labelled slices."""

from pathlib import Path

import tensorflow as tf

from shared.artifact import Manifest
from trainer.data.dataset import index_folder
from trainer.data.input_pipeline import read_dataset
from trainer.errors import TrainerError
from trainer.evaluation.metrics import Metrics, evaluate
from trainer.export.saved_model import load_and_predict
from trainer.terminal import counted


class UnusableModel(TrainerError):
    """The version is what was published, and TensorFlow cannot run it here."""

    def __init__(self, version: int, reason: str) -> None:
        super().__init__(f"TensorFlow cannot run version {version}: {reason}.")


def evaluate_published(data: Path, model_dir: Path, manifest: Manifest, threads: int | None = None) -> Metrics:
    """Metrics on data of the version that a manifest is of, as trainer.publishing.repository.read_version() gives it.

    Classes and preprocessing are the version's own; classes without a folder are left out of the means.
    Raises DatasetError or UnusableModel.
    """
    index = index_folder(data, manifest.classes, needs_every_class=False)
    dataset = read_dataset(index, manifest.preprocessing, threads)
    try:
        probabilities = load_and_predict(model_dir / str(manifest.model_version), dataset.images)
    except tf.errors.OpError as error:
        raise UnusableModel(manifest.model_version, str(error.message).splitlines()[0].rstrip(".")) from error
    return evaluate(dataset.labels, probabilities, manifest.classes)


def report(metrics: Metrics) -> str:
    """Metrics as a table for a terminal: means with their intervals, then a line a class."""
    intervals = metrics.intervals
    lines = [counted(metrics.n, "slice")]
    for label, value, (lower, upper) in (
        ("accuracy", metrics.accuracy, intervals.accuracy),
        ("balanced accuracy", metrics.balanced_accuracy, intervals.balanced_accuracy),
        ("macro F1", metrics.macro_f1, intervals.macro_f1),
    ):
        lines.append(f"{label:<18} {value:.4f}  (95 % {lower:.3f} to {upper:.3f})")
    width = max(len(name) for name in metrics.per_class)
    lines += ["", f"{'':<{width}}  precision  recall      f1     auc  slices"]
    for name, of_class in metrics.per_class.items():
        recall, auc = (f"{value:.4f}" if value is not None else "-" for value in (of_class.recall, of_class.auc))
        numbers = f"{of_class.precision:>9.4f}  {recall:>6}  {of_class.f1:.4f}  {auc:>6}  {of_class.support:>6}"
        lines.append(f"{name:<{width}}  {numbers}")
    return "\n".join(lines)
