"""Do thresholds that single members chose hold for the mean of all members, which is what gets published?

    python -m benchmarks.training.nested DATA [options of `trainer run`]

Within each fold's training part everything is done as for a published model: folds, members, temperature, operating
points and prediction sets, all from single members out of fold. Then the mean of those members judges the fold that was
held out, which nothing has seen. Prints a table in Markdown: what was promised, and what the mean and the single
members deliver; and how many of the slices held out would be refused as no chest CT.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.training.stress import settings_of
from shared.chest_ct import ImageLimits, look_at
from shared.decisions import DecisionRules
from trainer.data.cases import Cases, find_cases
from trainer.data.dataset import Dataset
from trainer.data.splits import Folds, Split, split_by_case
from trainer.data.views import ACQUIRED
from trainer.evaluation.calibration import cross_fit, softmax
from trainer.evaluation.operating_points import choose_rules
from trainer.run import folds_of, read_labelled
from trainer.settings import TrainerSettings
from trainer.training.chest_gate import fit_gate
from trainer.training.learner import make_learner
from trainer.training.members import Learner

POINTS = ("high_sensitivity", "specificity_90", "specificity_95", "high_specificity")


def nested(data: Path, settings: TrainerSettings) -> str:
    """The table for one seed of the folds."""
    dataset = read_labelled(data, settings)
    folds = folds_of(dataset, find_cases(dataset, data, settings.cases, settings.expected_cases), settings)
    learner = make_learner(dataset, folds.cases.groups, settings)
    n, classes = len(dataset), dataset.classes
    target = classes.names.index(classes.target)
    of_mean, of_single = np.empty((n, len(classes.names))), np.empty((len(folds), n, len(classes.names)))
    promised: dict[str, list[tuple[float, float]]] = {name: [] for name in POINTS}
    thresholds = {name: np.empty(n) for name in POINTS}
    holds: dict[str, NDArray[Any]] = {
        "promised": np.zeros(len(classes.names)),
        "mean": np.zeros(n, np.bool_),
        "single": np.zeros((len(folds), n)),
    }
    too_far = np.zeros(n, np.bool_)
    for fold in range(len(folds)):
        split = folds.split(fold)
        rules, answers, is_too_far = _as_published(dataset, folds, split, learner, settings)
        too_far[split.validation] = is_too_far
        of_mean[split.validation] = answers.mean(axis=0)
        of_single[:, split.validation] = answers
        for name in POINTS:
            point = rules.operating_points[name]
            promised[name].append((point.sensitivity, point.specificity))
            thresholds[name][split.validation] = point.threshold
        sets = rules.prediction_sets
        holds["promised"] += np.array([sets.measured_coverage[name] for name in classes.names]) / len(folds)
        for row in split.validation:
            label = classes.names[dataset.labels[row]]
            holds["mean"][row] = label in rules.prediction_set(of_mean[row].tolist())
            holds["single"][:, row] = [label in rules.prediction_set(one[row].tolist()) for one in of_single]
    is_target = dataset.labels == target
    lines = ["| | promised | mean of members | single members |", "|---|---:|---:|---:|"]
    for name in POINTS:
        called, single = of_mean[:, target] >= thresholds[name], of_single[:, :, target] >= thresholds[name]
        for index, (word, counted, sign) in enumerate(
            (("sensitivity", is_target, True), ("specificity", ~is_target, False))
        ):
            hope = np.mean([pair[index] for pair in promised[name]])
            mean, one = (called[counted] == sign).mean(), (single[:, counted] == sign).mean()
            lines.append(f"| {word} at `{name}` | {hope:.3f} | {mean:.3f} | {one:.3f} |")
    for label, name in enumerate(classes.names):
        rows = dataset.labels == label
        cells = holds["promised"][label], holds["mean"][rows].mean(), holds["single"][:, rows].mean()
        lines.append(f"| set holds {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    for word, judge in (("accuracy", _accuracy), ("balanced accuracy", _balanced)):
        mean = judge(of_mean, dataset)
        lines.append(f"| {word} | | {mean:.3f} | {np.mean([judge(one, dataset) for one in of_single]):.3f} |")
    doubted = np.array([bool(ImageLimits().doubts(look_at(image))) for image in dataset.images])
    lines.append(f"\nRefused of {n} held out: {doubted.sum()} by image checks, {too_far.sum()} by distance, ")
    lines[-1] += f"{(doubted | too_far).sum()} in all ({(doubted | too_far).mean():.2%})."
    return "\n".join(lines)


def _as_published(
    dataset: Dataset, folds: Folds, split: Split, learner: Learner, settings: TrainerSettings
) -> tuple[DecisionRules, NDArray[np.float64], NDArray[np.bool_]]:
    """Rules from the training part alone, each of its members' calibrated answers [members, held out, classes], and
    which slices held out [held out] lie further off than it allows.
    """
    training, held_out = split.training, split.validation
    _, groups = np.unique(folds.cases.groups[training], return_inverse=True)
    part = dataset.only(training)
    inside = split_by_case(part, Cases(groups, folds.cases.origin), settings.folds, settings.seed)
    logits = np.empty((len(training), len(dataset.classes.names)))
    viewed = np.empty_like(logits)
    answers, members, splits = [], [], []
    for fold in range(len(inside)):
        within = inside.split(fold)
        member = learner.fit(training[within.training], None, settings.seed + fold)
        members.append(member)
        splits.append(replace(within, training=training[within.training], validation=training[within.validation]))
        logits[within.validation] = member.logits(training[within.validation])
        viewed[within.validation] = member.logits(training[within.validation], ACQUIRED)
        answers.append(member.logits(held_out))
    calibrated = cross_fit(logits, part.labels, inside.fold_of)
    views = (softmax(viewed / np.asarray(calibrated.of_folds)[inside.fold_of, np.newaxis]),)
    rules = choose_rules(part.labels, calibrated.probabilities, groups, inside.fold_of, dataset.classes, views=views)
    fitted, gate = fit_gate(part, members, splits)
    distances = [distance.of(member.features_of(held_out)) for member, distance in zip(members, fitted, strict=True)]
    is_too_far = np.mean(distances, axis=0) > (gate.max_distance or np.inf)
    return rules, np.stack([softmax(one, calibrated.temperature) for one in answers]), is_too_far


def _accuracy(probabilities: NDArray[np.float64], dataset: Dataset) -> float:
    return float((probabilities.argmax(axis=1) == dataset.labels).mean())


def _balanced(probabilities: NDArray[np.float64], dataset: Dataset) -> float:
    right = probabilities.argmax(axis=1) == dataset.labels
    return float(np.mean([right[dataset.labels == label].mean() for label in np.unique(dataset.labels)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of class folders")
    args, options = parser.parse_known_args()  # what is left goes to the trainer's settings
    print(nested(args.data.resolve(), settings_of(options)))


if __name__ == "__main__":
    main()
