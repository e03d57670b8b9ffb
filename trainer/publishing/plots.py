"""Pictures of a run, as PNG bytes. Figures are drawn off screen; no global state of matplotlib is touched."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from trainer.data.balance import Labels
from trainer.evaluation.metrics import Metrics
from trainer.evaluation.weighted_metrics import ECE_BINS
from trainer.plotting import draw_reliability, frame_reliability, make_plain, png_of
from trainer.training.fit import History

_TRAINING, _VALIDATION, _BEST = "#3b6ea8", "#d1702f", "#7a7a7a"


def training_history(history: History, title: str) -> bytes:
    """Loss and accuracy of each epoch, training and held-out slices, with the epoch that was kept."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    _curves(loss_axes, history.loss, history.validation_loss, history.best_epoch, "Loss (cross-entropy)")
    _curves(accuracy_axes, history.accuracy, history.validation_accuracy, history.best_epoch, "Accuracy")
    accuracy_axes.set_ylim(0, 1.02)
    loss_axes.set_ylim(bottom=0)
    accuracy_axes.legend(loc="lower right", frameon=False)
    figure.suptitle(title, fontsize=12)
    return png_of(figure)


def _curves(axes: Axes, training: tuple[float, ...], validation: tuple[float, ...], best: int, label: str) -> None:
    epochs = range(1, len(training) + 1)
    # dots, so that a run of one epoch shows too
    axes.plot(epochs, training, color=_TRAINING, marker=".", label="training")
    axes.plot(epochs, validation, color=_VALIDATION, marker=".", label="held out")
    axes.axvline(best, color=_BEST, linestyle="--", linewidth=1, label=f"kept: epoch {best}")
    axes.set(xlabel="Epoch", title=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    make_plain(axes)


def confusion_matrix(metrics: Metrics, title: str) -> bytes:
    """Rows: what the slices are; columns: what they were called; shade and percentage: share of the row."""
    names = list(metrics.per_class)
    side = max(5.0, 1.3 * len(names) + 1.6)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = [[count / max(sum(row), 1) for count in row] for row in metrics.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(metrics.confusion):
        for j, count in enumerate(row):
            ink = "white" if shares[i][j] > 0.5 else "black"  # noqa: PLR2004 - where the map turns dark
            axes.text(j, i, f"{count}\n{shares[i][j]:.0%}", ha="center", va="center", color=ink, fontsize=12)
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="Predicted", ylabel="Labelled")
    axes.set_title(f"{title}\naccuracy {metrics.accuracy:.3f} of {metrics.n} held-out slices", fontsize=11)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return png_of(figure)


def reliability(labels: Labels, before: NDArray[np.floating], after: NDArray[np.floating], title: str) -> bytes:
    """How often the top class is right against how sure the model is of it, before and after calibration.

    Bins of equal mass, as in the calibration error; on the diagonal, probabilities mean what they say.
    """
    figure = Figure(figsize=(5.4, 5.4), layout="constrained")
    axes = figure.subplots()
    frame_reliability(axes)
    for probabilities, colour, label in ((before, _VALIDATION, "before calibration"), (after, _TRAINING, "after")):
        is_right = probabilities.argmax(axis=1) == labels
        draw_reliability(axes, probabilities.max(axis=1), is_right, bins=ECE_BINS, colour=colour, label=label)
    axes.set_title(title, fontsize=11)
    axes.legend(loc="upper left", frameon=False)
    return png_of(figure)
