"""Figures: readable PNGs, drawn without touching what else uses matplotlib."""

from collections.abc import Sequence

import cv2
import matplotlib.pyplot as plt
import numpy as np

from shared.classes import LUNG_CT_CLASSES
from trainer.evaluation.metrics import Metrics, evaluate
from trainer.publishing.plots import confusion_matrix, reliability, training_history
from trainer.training.fit import History

HISTORY = History(
    loss=(1.1, 0.7, 0.4),
    accuracy=(0.3, 0.6, 0.9),
    validation_loss=(1.0, 0.8, 0.9),
    validation_accuracy=(0.4, 0.7, 0.6),
    best_epoch=2,
)


def metrics_of(called: Sequence[int]) -> Metrics:
    labels = np.array([0, 1, 2, 2])
    return evaluate(labels, np.eye(3, dtype=np.float32)[called], LUNG_CT_CLASSES)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))


def test_both_figures_are_pngs_large_enough_to_read() -> None:
    """Curves and confusion matrix, each at least 400 pixels wide and high, and not blank."""
    for png in (training_history(HISTORY, "lung-ct"), confusion_matrix(metrics_of([0, 1, 2, 2]), "lung-ct")):
        assert min(pixels(png).shape[:2]) >= 400
        assert pixels(png).std() > 5


def test_figures_show_what_they_are_given() -> None:
    """Other figures in, other pixels out; the same in, the same bytes out."""
    one, other = confusion_matrix(metrics_of([0, 1, 2, 2]), "t"), confusion_matrix(metrics_of([2, 1, 2, 0]), "t")
    assert one != other
    assert one == confusion_matrix(metrics_of([0, 1, 2, 2]), "t")


def test_reliability_shows_both_sides_of_calibration() -> None:
    """Other probabilities after calibration, other pixels; fewer slices than bins are drawn, too."""
    labels, before = np.array([0, 1, 2, 2]), np.eye(3)
    sure, unsure = before[[0, 1, 2, 0]], np.full((4, 3), 1 / 3)
    assert reliability(labels, sure, unsure, "t") != reliability(labels, sure, sure, "t")
    assert pixels(reliability(labels, sure, unsure, "t")).std() > 5


def test_a_run_of_one_epoch_is_drawn() -> None:
    """One point per curve is a figure, too, without a warning."""
    assert training_history(History((1.0,), (0.5,), (1.1,), (0.4,), 1), "t")


def test_no_figure_stays_in_pyplot() -> None:
    """Nothing is left behind in matplotlib's global list of figures."""
    before = plt.get_fignums()
    training_history(HISTORY, "t")
    assert plt.get_fignums() == before
