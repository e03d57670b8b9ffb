"""Means over seeds: the mean of each seed's figure, with an interval by case; what the terminal shows."""

from typing import Any

import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from tests.support.inputs.labelled import answers
from trainer.crossval import CrossvalReport, Measured, baseline_of, mean_figures, summary
from trainer.evaluation.comparison import paired_by_case
from trainer.evaluation.metrics import evaluate
from trainer.settings import TrainerSettings


@pytest.fixture(scope="module")
def runs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slices, and what three seeds say of them."""
    labels, _, groups, _ = answers()
    probabilities = np.stack([answers(seed=seed)[1] for seed in range(3)])
    return labels, groups, probabilities


class Slices:
    """Labels and classes, with a length."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels, self.classes = labels, LUNG_CT_CLASSES

    def __len__(self) -> int:
        return len(self.labels)


def slices_of(labels: np.ndarray) -> Any:
    """All of a dataset that figures look at."""
    return Slices(labels)


def test_a_mean_is_that_of_the_seeds_figures(runs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Each seed's figures are those of `evaluate`; one seed alone has evaluate's interval, several a narrower one."""
    labels, groups, probabilities = runs
    figures = mean_figures(slices_of(labels), probabilities, groups)
    each = [evaluate(labels, one, LUNG_CT_CLASSES, groups=groups) for one in probabilities]
    assert figures["balanced_accuracy"].of_seeds == pytest.approx([one.balanced_accuracy for one in each])
    assert figures["ece"].mean == pytest.approx(np.mean([one.ece for one in each]))
    alone = mean_figures(slices_of(labels), probabilities[:1], groups)["accuracy"]
    assert alone.interval == pytest.approx(each[0].intervals.accuracy)
    lower, upper = figures["accuracy"].interval
    assert lower < figures["accuracy"].mean < upper
    assert upper - lower < alone.interval[1] - alone.interval[0]


def test_a_proportion_without_a_mistake_is_not_certain(runs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Where every draw finds every slice right, the number of cases bounds what that says."""
    labels, groups, _ = runs
    figures = mean_figures(slices_of(labels), np.eye(3)[labels][None], groups)
    assert figures["recall_1"].interval == pytest.approx((0.867, 1.0), abs=1e-3)
    assert figures["sensitivity_at_specificity_90"].interval[0] == pytest.approx(0.886, abs=1e-3)
    assert figures["accuracy"].interval[0] > 0.95


def test_the_baseline_changes_the_model_alone() -> None:
    """Folds, seed and cases stay as they were asked for."""
    asked = TrainerSettings(seed=4, folds=3, crop="body", network="cnn", learning="fine-tuning")
    baseline = baseline_of(asked)
    assert (baseline.network, baseline.head, baseline.image_side) == ("efficientnet_lite0", "logistic", 384)
    assert baseline.is_frozen
    assert baseline.preprocessing.crop == "body-mask"
    assert (baseline.seed, baseline.folds) == (4, 3)


def test_the_table_shows_both_and_the_gain(runs: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """One line a figure, and the gain with its sign."""
    labels, groups, probabilities = runs
    measured = Measured(
        configuration={"network": "x"}, figures=mean_figures(slices_of(labels), probabilities, groups), seconds=1.0
    )
    report = CrossvalReport(
        n=len(labels), n_cases=85, cases_of_class=dict(zip(LUNG_CT_CLASSES.names, (30, 25, 30), strict=True)),
        origin="known", folds=5, seeds=(0, 1, 2), measured=measured, baseline=measured,
        gain=paired_by_case(labels, probabilities, probabilities, groups),
    )  # fmt: skip
    text = summary(report)
    assert text.startswith("510 slices of 85 cases, known (Normal cases: 30")
    assert "5 folds, mean over 3 seeds" in text
    assert "recall Benign cases" in text
    assert "mean over 1 seed, " in summary(report.model_copy(update={"seeds": (0,)}))
    assert text.endswith("accuracy                  +0.000 (+0.000 to +0.000)")
    assert "Gain" not in summary(report.model_copy(update={"baseline": None, "gain": None}))
