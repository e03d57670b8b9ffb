"""The pictures of a validation, as PNG bytes; none shows a slice."""

import numpy as np
from matplotlib.figure import Figure as Picture

from trainer.evaluation.answers import Answers
from trainer.evaluation.case_figures import Figure
from trainer.evaluation.served_figures import ServedFigures
from trainer.evaluation.weighted_metrics import ECE_BINS
from trainer.plotting import draw_reliability, frame_reliability, make_plain, png_of

_BY_SLICE, _BY_CASE = "#3b6ea8", "#d1702f"
_OF_OUTCOMES = {"negative": "#3b6ea8", "uncertain": "#c9a227", "positive": "#b5402f", "answered": "#3b6ea8",
                "refused": "#9a9a9a"}  # fmt: skip


def plots_of(figures: ServedFigures, answers: Answers) -> list[tuple[str, bytes]]:
    """Caption and picture of each; only what is counted at all."""
    plots = [("What becomes of the slices of each class", _outcomes(figures))]
    if figures.accuracy is not None:
        intervals = ("Figures with their 95 % intervals, by slice and by case", _intervals(figures))
        of_probabilities = "How often the top class is right against its probability: on the line it means what it says"
        plots = [intervals, *plots, (of_probabilities, _reliability(answers.only(answers.is_answered)))]
    return plots


def _intervals(figures: ServedFigures) -> bytes:
    named: dict[str, Figure | None] = {
        "sensitivity": figures.sensitivity,
        "specificity": figures.specificity,
        "accuracy": figures.accuracy,
        "balanced accuracy": figures.balanced_accuracy,
        "AUC": figures.auc,
        **{f"recall, {name}": figure for name, figure in figures.recall.items()},
        **{f"set holds it, {name}": figure for name, figure in figures.coverage.items()},
        "share uncertain": figures.uncertain,
        "share unfamiliar": figures.unfamiliar,
        "share refused": figures.refused,
    }
    shown = {name: figure for name, figure in named.items() if figure is not None}
    picture = Picture(figsize=(9, 1.2 + 0.38 * len(shown)), layout="constrained")
    axes = picture.subplots()
    for offset, colour, label in ((-0.13, _BY_SLICE, "by slice"), (0.13, _BY_CASE, "by case")):
        estimates = [one.by_slice if label == "by slice" else one.by_case for one in shown.values()]
        values = np.array([one.value for one in estimates])
        ends = np.array([one.interval for one in estimates])
        axes.errorbar(
            values, np.arange(len(shown)) + offset, xerr=np.abs(ends.T - values), fmt="o", markersize=4,
            color=colour, label=label, capsize=2,
        )  # fmt: skip
    axes.set_yticks(range(len(shown)), list(shown))
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    make_plain(axes)
    picture.legend(frameon=False, loc="outside upper center", ncols=2, fontsize=9)
    return png_of(picture)


def _outcomes(figures: ServedFigures) -> bytes:
    names = list(figures.outcomes)
    picture = Picture(figsize=(9, 1.3 + 0.5 * len(names)), layout="constrained")
    axes = picture.subplots()
    left = np.zeros(len(names))
    for outcome in next(iter(figures.outcomes.values())):
        counts = np.array([figures.outcomes[name][outcome] for name in names], np.float64)
        axes.barh(names, counts, left=left, color=_OF_OUTCOMES[outcome], label=outcome, height=0.6)
        left += counts
    axes.invert_yaxis()
    axes.set_xlabel("Slices")
    axes.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.25), fontsize=9)
    make_plain(axes)
    return png_of(picture)


def _reliability(answered: Answers) -> bytes:
    picture = Picture(figsize=(5.4, 5.4), layout="constrained")
    axes = picture.subplots()
    frame_reliability(axes)
    draw_reliability(axes, answered.probabilities.max(axis=1), answered.is_right, bins=ECE_BINS, colour=_BY_SLICE)
    return png_of(picture)
