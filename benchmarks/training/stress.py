"""How a configuration answers for slices that look otherwise: docs/explanation/model-quality.md holds the table.

    python -m benchmarks.training.stress DATA [--every 4] [--json FILE] [options of `trainer run`]

The folds' members are fitted once, on slices as they are. Then slices are changed before they are prepared
(changes.py) and each is judged by the member that has not seen its case, with the temperature and the threshold that
the other folds chose on unchanged slices. Prints a table in Markdown.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.training.changes import CHANGES, Change
from shared.artifact import OUTPUT_NAME
from shared.imaging import SliceTensor, to_tensor
from shared.slices import DecodedSlice
from trainer.command_line import build_parser
from trainer.data.balance import Indices
from trainer.data.cases import find_cases
from trainer.data.dataset import Dataset, LabelledFile, index_folder
from trainer.data.input_pipeline import read_files
from trainer.evaluation.operating_points import threshold_for_specificity
from trainer.export.ensemble import assemble
from trainer.run import folds_of, read_labelled
from trainer.settings import TrainerSettings
from trainer.training.cross_validation import cross_validate
from trainer.training.learner import make_learner

SPECIFICITY = 0.90
_BATCH = 8

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Of the slices that are changed: labels int64 [n], thresholds of their folds float64 [n], and the target class."""

    labels: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    target: int


@dataclass(frozen=True)
class Stressed:
    """What one change does. Shares of 1; flips are against the answers for the same slices unchanged."""

    change: str
    n: int
    flips: float
    target_flips: float
    accuracy: float
    balanced_accuracy: float
    sensitivity: float
    specificity: float
    target_shift: float


def stress(data: Path, settings: TrainerSettings, every: int) -> list[Stressed]:
    """One row a change, the unchanged slices first; every: judge every n-th slice of a class."""
    dataset = read_labelled(data, settings)
    folds = folds_of(dataset, find_cases(dataset, data, settings.cases, settings.expected_cases), settings)
    result = cross_validate(dataset, folds, make_learner(dataset, folds.cases.groups, settings), settings)
    classes = dataset.classes
    target = classes.names.index(classes.target)
    is_target = dataset.labels == target
    rows = np.concatenate([np.flatnonzero(dataset.labels == label)[::every] for label in range(len(classes.names))])
    models: list[keras.Model] = []
    thresholds = np.empty(len(dataset))
    for fold, member in enumerate(result.members):
        others = folds.fold_of != fold
        models.append(assemble([member], result.calibrated.of_folds[fold], name=f"fold_{fold}"))
        score = result.calibrated.probabilities[others, target]
        thresholds[~others] = threshold_for_specificity(is_target[others], score, SPECIFICITY)
    judged = Judged(dataset.labels[rows], thresholds[rows], target)
    found: list[Stressed] = []
    before = np.empty(0)
    for name, change in CHANGES.items():
        images = changed(dataset, data, rows, change, settings)
        probabilities = _judge(images, models, folds.fold_of[rows], len(classes.names))
        before = probabilities if not found else before
        found.append(compare(name, judged, before, probabilities))
        print(f"{name}: {found[-1].flips:.1%} flips", file=sys.stderr)
    return found


def changed(
    dataset: Dataset, data: Path, rows: Indices, change: Change, settings: TrainerSettings
) -> NDArray[np.uint8]:
    """uint8 [len(rows), H, W, 1]: slices of the dataset, changed and prepared. Raises SystemExit if one is gone."""
    index = index_folder(data, settings.class_set)
    files = tuple(LabelledFile(data / dataset.files[row], int(dataset.labels[row])) for row in rows)
    spec = settings.preprocessing

    def prepared(one: DecodedSlice) -> SliceTensor:
        return to_tensor(change(one.grey), spec, one.air_grey)

    read = read_files(replace(index, files=files), prepared, settings.decode_threads)
    tensors = [one.seen for one in read.whole]
    if len(tensors) != len(rows):
        raise SystemExit(f"{len(rows) - len(tensors)} slices could not be read again")
    return np.stack(tensors)


def _judge(
    images: NDArray[np.uint8], models: list[keras.Model], fold_of: NDArray[np.int64], classes: int
) -> Probabilities:
    probabilities = np.empty((len(images), classes))
    for fold, model in enumerate(models):
        of_fold = np.flatnonzero(fold_of == fold)
        for start in range(0, len(of_fold), _BATCH):
            rows = of_fold[start : start + _BATCH]
            probabilities[rows] = model.predict_on_batch(images[rows])[OUTPUT_NAME]
    return probabilities


def compare(name: str, judged: Judged, before: Probabilities, after: Probabilities) -> Stressed:
    labels, target = judged.labels, judged.target
    was, now, is_target = before.argmax(axis=1), after.argmax(axis=1), labels == target
    is_called = after[:, target] >= judged.thresholds
    right = now == labels
    return Stressed(
        change=name,
        n=len(labels),
        flips=float((was != now).mean()),
        target_flips=float(((was == target) != (now == target)).mean()),
        accuracy=float(right.mean()),
        balanced_accuracy=float(np.mean([right[labels == label].mean() for label in np.unique(labels)])),
        sensitivity=float(is_called[is_target].mean()),
        specificity=float((~is_called[~is_target]).mean()),
        target_shift=float((after - before)[:, target].mean()),
    )


def table(found: list[Stressed], target: str) -> str:
    """Markdown, a row a change."""
    head = ("change", "flips", f"{target} or not flips", "accuracy", "balanced", "sensitivity", "specificity", "Δp")
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for one in found:
        flips = f"{round(one.flips * one.n)}/{one.n} ({one.flips:.1%})"
        shares = (one.accuracy, one.balanced_accuracy, one.sensitivity, one.specificity)
        cells = (one.change, flips, f"{one.target_flips:.1%}", *(f"{share:.3f}" for share in shares))
        lines.append(f"| {' | '.join(cells)} | {one.target_shift:+.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--every", type=int, default=4, help="judge every n-th slice of a class (default: 4)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    args, options = parser.parse_known_args()  # what is left goes to the trainer's settings
    settings = settings_of(options)
    found = stress(args.data.resolve(), settings, args.every)
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in found], indent=2))
    print(table(found, settings.class_set.target))


def settings_of(options: list[str]) -> TrainerSettings:
    """The settings that `trainer run` would have with these options."""
    given = vars(build_parser().parse_args(["run", *options]))
    return TrainerSettings(**{name: value for name, value in given.items() if name in TrainerSettings.model_fields})


if __name__ == "__main__":
    main()
