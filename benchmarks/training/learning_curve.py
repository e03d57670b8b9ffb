"""What more cases would bring: a configuration trained on a quarter, a half, three quarters and all training cases.

    python -m benchmarks.training.learning_curve DATA [--seeds 3] [--draws 2] [options of `trainer run`]

Folds are those of `crossval`; from each fold's training part whole cases are drawn, as large a share of each class,
and the held-out slices are judged. A line through balanced accuracy (and accuracy) over log2 of the number of cases is
continued to the aim; its interval is that of the line under 2,000 draws of the judged cases. That is crude: no curve
is a straight line for ever. Prints a table in Markdown.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.training.stress import settings_of
from trainer.data.balance import Indices, Labels
from trainer.data.cases import Groups, find_cases
from trainer.data.dataset import Dataset
from trainer.evaluation.resampling import draw_cases
from trainer.run import folds_of, read_labelled
from trainer.settings import TrainerSettings
from trainer.training.learner import make_learner

SHARES = (0.25, 0.5, 0.75, 1.0)
AIMS = {"balanced accuracy": 0.75, "accuracy": 0.86}

Rightness = NDArray[np.float64]
"""float64 [shares, n]: how often each slice was judged rightly, over seeds and draws."""


def learning_curve(
    dataset: Dataset, data: Path, settings: TrainerSettings, seeds: int, draws: int
) -> tuple[Rightness, NDArray[np.float64], Groups]:
    """Rightness, the mean number of training cases of each class float64 [shares, classes], and the cases."""
    classes = len(dataset.classes.names)
    right, counts = np.zeros((len(SHARES), len(dataset))), np.zeros((len(SHARES), classes))
    cases = find_cases(dataset, data, settings.cases, settings.expected_cases)
    groups = cases.groups
    learner = make_learner(dataset, groups, settings)
    fits = np.zeros(len(SHARES))
    for seed in range(seeds):
        folds = folds_of(dataset, cases, settings.model_copy(update={"split_seed": seed}))
        for fold in range(len(folds)):
            split = folds.split(fold)
            for row, share in enumerate(SHARES):
                for draw in range(draws if share < 1 else 1):
                    random = np.random.default_rng([seed, fold, row, draw])
                    rows, taken = some_cases(split.training, dataset.labels, groups, share, random)
                    member = learner.fit(rows, None, settings.seed + fold)
                    is_right = member.logits(split.validation).argmax(axis=1) == dataset.labels[split.validation]
                    right[row, split.validation] += is_right / (seeds * (draws if share < 1 else 1))
                    counts[row] += taken
                    fits[row] += 1
        print(f"seed {seed + 1} of {seeds} done", file=sys.stderr)
    return right, counts / fits[:, np.newaxis], groups


def some_cases(
    training: Indices, labels: Labels, groups: Groups, share: float, random: np.random.Generator
) -> tuple[Indices, list[int]]:
    """The training rows of a share of each class's cases, two at least, and how many cases that are."""
    kept, counts = [], []
    for label in np.unique(labels[training]):
        cases = np.unique(groups[training][labels[training] == label])
        count = min(len(cases), max(2, round(share * len(cases))))
        kept.append(random.choice(cases, count, replace=False))
        counts.append(count)
    return training[np.isin(groups[training], np.concatenate(kept))], counts


def accuracies(right: Rightness, labels: Labels, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Balanced accuracy and accuracy, float64 [draws, shares], under weights of slices float64 [draws, n]."""
    recalls = []
    for label in np.unique(labels):
        weight = weights[:, labels == label]
        recalls.append(weight @ right[:, labels == label].T / weight.sum(axis=1, keepdims=True))
    return {
        "balanced accuracy": np.mean(recalls, axis=0),
        "accuracy": weights @ right.T / weights.sum(axis=1, keepdims=True),
    }


def times_the_cases(figures: NDArray[np.float64], cases: NDArray[np.float64], aim: float) -> NDArray[np.float64]:
    """How many times the cases a straight line over log2(cases) takes to reach the aim: [draws] for [draws, shares].

    1 where the line is there already, infinite where it does not rise.
    """
    doublings = np.log2(cases / cases[-1])
    centred = doublings - doublings.mean()
    slope = figures @ centred / (centred @ centred)
    at_all = figures.mean(axis=1) - slope * doublings.mean()
    missing = np.maximum(aim - at_all, 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(missing <= 0, 1.0, np.where(slope > 0, 2 ** (missing / slope), np.inf))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the folds (default: 3)")
    parser.add_argument("--draws", type=int, default=2, help="draws of cases for each share below 1 (default: 2)")
    args, options = parser.parse_known_args()  # what is left goes to the trainer's settings
    settings = settings_of(options)
    data = args.data.resolve()
    dataset = read_labelled(data, settings)
    right, counts, groups = learning_curve(dataset, data, settings, args.seeds, args.draws)
    labels, names = dataset.labels, dataset.classes.names
    recalls = " | ".join(f"recall {name}" for name in names)
    print(f"| training cases, {'/'.join(names)} | balanced accuracy | accuracy | {recalls} |")
    print("|---|" + "---:|" * (2 + len(names)))
    plain = accuracies(right, labels, np.ones((1, len(labels))))
    for row in range(len(SHARES)):
        of_class = [f"{right[row, labels == label].mean():.3f}" for label in range(len(names))]
        cells = (
            "/".join(f"{count:.0f}" for count in counts[row]),
            *(f"{plain[name][0, row]:.3f}" for name in AIMS),
            *of_class,
        )
        print(f"| {' | '.join(cells)} |")
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in AIMS}
    cases = counts.sum(axis=1)
    for weights in draw_cases(labels, groups, seed=settings.seed):
        for name, figures in accuracies(right, labels, weights).items():
            drawn[name].append(times_the_cases(figures, cases, AIMS[name]))
    print()
    for name, aim in AIMS.items():
        times = np.concatenate(drawn[name])
        low, high = np.percentile(times, [2.5, 97.5], method="nearest")
        value = times_the_cases(plain[name], cases, aim)[0]
        print(f"{name} {aim}: {value:.1f} times the cases (95 % {low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
