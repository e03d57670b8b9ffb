"""A configuration measured on new cases over several seeds of the folds, alone or beside the frozen baseline."""

import logging
import time
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, JsonValue

from trainer.data.cases import Cases, Groups, find_cases
from trainer.data.dataset import Dataset, Slices
from trainer.evaluation.comparison import Comparison, paired_by_case
from trainer.evaluation.intervals import Interval, never_narrower, percentiles
from trainer.evaluation.metrics import Figures
from trainer.evaluation.resampling import draw_cases
from trainer.run import folds_of, read_labelled
from trainer.settings import TrainerSettings
from trainer.terminal import counted
from trainer.trained_model import training_record
from trainer.training.cross_validation import cross_validate
from trainer.training.learner import make_learner

logger = logging.getLogger(__name__)

_SHOWN = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auc": "target AUC",
    "sensitivity_at_specificity_90": "sensitivity at 90 % spec.",
    "sensitivity_at_specificity_95": "sensitivity at 95 % spec.",
    "brier": "Brier",
    "ece": "ECE",
}


class MeanFigure(BaseModel, frozen=True):
    """Mean over the seeds, its 95 % interval over draws of cases, and the figure of each seed."""

    mean: float
    interval: Interval
    of_seeds: tuple[float, ...]


class Measured(BaseModel, frozen=True):
    """One configuration: every slice judged once a seed, unseen, its probabilities calibrated by the other folds."""

    configuration: dict[str, JsonValue]
    figures: dict[str, MeanFigure]
    seconds: float


class CrossvalReport(BaseModel, frozen=True):
    """What `crossval` finds. gain: the configuration against the baseline, means over the seeds, paired by case."""

    n: int
    n_cases: int
    cases_of_class: dict[str, int]
    origin: str
    folds: int
    seeds: tuple[int, ...]
    measured: Measured
    baseline: Measured | None
    gain: Comparison | None


def repeat(folder: Path, settings: TrainerSettings, seeds: int, *, has_baseline: bool = False) -> CrossvalReport:
    """Cross-validate with each of as many seeds of the folds; nothing is published. Raises TrainerError."""
    dataset = read_labelled(folder, settings)
    first = settings.seed if settings.split_seed is None else settings.split_seed
    of_folds = tuple(range(first, first + seeds))
    cases = find_cases(dataset, folder, settings.cases, settings.expected_cases)
    measured, probabilities = _measure(dataset, cases, settings, of_folds)
    baseline = gain = None
    if has_baseline:
        keras.backend.clear_session()  # one network at a time
        other = baseline_of(settings)
        baseline, others = _measure(read_labelled(folder, other), cases, other, of_folds)
        gain = paired_by_case(dataset.labels, probabilities, others, cases.groups)
    return CrossvalReport(
        n=len(dataset), n_cases=len(cases), cases_of_class=cases.counts(dataset), origin=cases.origin,
        folds=settings.folds, seeds=of_folds, measured=measured, baseline=baseline, gain=gain,
    )  # fmt: skip


def baseline_of(settings: TrainerSettings) -> TrainerSettings:
    """A logistic regression on frozen ImageNet features at 384 x 384; data, cases and folds as they are."""
    return settings.model_copy(
        update={
            "network": "efficientnet_lite0", "weights": "imagenet", "learning": "frozen", "head": "logistic",
            "image_side": 384, "crop": None,
        }
    )  # fmt: skip


def mean_figures(slices: Slices, runs: NDArray[np.float64], groups: Groups, seed: int = 0) -> dict[str, MeanFigure]:
    """Figures of probabilities float64 [runs, n, classes]: in every draw of cases, the mean over the runs.

    groups: int64 [n], the case of each slice.
    """
    of_class = [len(np.unique(groups[slices.labels == label])) for label in range(len(slices.classes.names))]
    target = of_class[slices.classes.names.index(slices.classes.target)]
    # how many cases a proportion rests on, which is never certain
    cases_of = {f"recall_{label}": count for label, count in enumerate(of_class)} | {
        "accuracy": sum(of_class),
        "sensitivity_at_specificity_90": target,
        "sensitivity_at_specificity_95": target,
    }
    judges = [Figures(slices.labels, probabilities, slices.classes) for probabilities in runs]
    plain = [judge.of(np.ones((1, len(slices)))) for judge in judges]
    blocks = [[judge.of(weights) for judge in judges] for weights in draw_cases(slices.labels, groups, seed=seed)]
    means = {}
    for name in plain[0]:
        of_seeds = tuple(float(figures[name][0]) for figures in plain)
        mean = float(np.mean(of_seeds))
        interval = percentiles(np.concatenate([np.mean([one[name] for one in block], axis=0) for block in blocks]))
        if name in cases_of:
            interval = never_narrower(interval, mean, cases_of[name])
        means[name] = MeanFigure(mean=mean, interval=interval, of_seeds=of_seeds)
    return means


def _measure(
    dataset: Dataset, cases: Cases, settings: TrainerSettings, seeds: tuple[int, ...]
) -> tuple[Measured, NDArray[np.float64]]:
    """The figures, and the probabilities [seeds, n, classes]."""
    started = time.monotonic()
    learner = None
    runs = np.empty((len(seeds), len(dataset), len(dataset.classes.names)))
    for row, seed in enumerate(seeds):
        folds = folds_of(dataset, cases, settings.model_copy(update={"split_seed": seed}))
        learner = learner or make_learner(dataset, cases.groups, settings)
        runs[row] = cross_validate(dataset, folds, learner, settings).calibrated.probabilities
        logger.info("Seed %d of %d done", row + 1, len(seeds))
    spec: JsonValue = settings.preprocessing.model_dump(mode="json")
    measured = Measured(
        configuration={"network": settings.network, **training_record(settings), "preprocessing": spec},
        figures=mean_figures(dataset, runs, cases.groups, settings.seed),
        seconds=time.monotonic() - started,
    )
    return measured, runs


def summary(report: CrossvalReport) -> str:
    """The report as a table for a terminal, a line a figure."""
    counts = ", ".join(f"{name}: {count}" for name, count in report.cases_of_class.items())
    lines = [
        f"{counted(report.n, 'slice')} of {counted(report.n_cases, 'case')}, {report.origin} ({counts})",
        f"{report.folds} folds, mean over {counted(len(report.seeds), 'seed')}, 95 % interval by case",
        "",
        f"{'':<26}{'configuration':<26}{'baseline' if report.baseline else ''}".rstrip(),
    ]
    names = list(report.cases_of_class)
    shown = {**_SHOWN, **{f"recall_{index}": f"recall {name}" for index, name in enumerate(names)}}
    for name, label in shown.items():
        if name in report.measured.figures:
            others = [one.figures[name] for one in (report.measured, report.baseline) if one]
            lines.append(f"{label:<26}{''.join(f'{_figure(figure):<26}' for figure in others)}".rstrip())
    if report.gain is not None:
        lines += ["", "Gain over the baseline, paired by case:"]
        for label, gain in (("balanced accuracy", report.gain.balanced_accuracy), ("accuracy", report.gain.accuracy)):
            lines.append(f"{label:<26}{gain.value:+.3f} ({gain.interval[0]:+.3f} to {gain.interval[1]:+.3f})")
    return "\n".join(lines)


def _figure(figure: MeanFigure) -> str:
    return f"{figure.mean:.3f} ({figure.interval[0]:.3f} to {figure.interval[1]:.3f})"
