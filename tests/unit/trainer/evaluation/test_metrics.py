"""Metrics and their intervals."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from shared.classes import LUNG_CT_CLASSES, ClassSet
from trainer.evaluation.metrics import evaluate

LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
CALLED = np.array([0, 0, 0, 1, 1, 0, 2, 2, 2, 2])


def certain(called: Sequence[int] | np.ndarray, n_classes: int = 3) -> np.ndarray:
    """Probabilities that put 0.8 on the class that is called."""
    probabilities = np.full((len(called), n_classes), 0.2 / (n_classes - 1), np.float32)
    probabilities[np.arange(len(called)), called] = 0.8
    return probabilities


def test_figures_match_a_count_by_hand() -> None:
    """Ten slices, two of them wrong: every figure is what a person counts."""
    metrics = evaluate(LABELS, certain(CALLED), LUNG_CT_CLASSES)
    assert metrics.n == 10
    assert metrics.confusion == ((3, 1, 0), (1, 1, 0), (0, 0, 4))
    assert metrics.accuracy == pytest.approx(0.8)
    assert metrics.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert metrics.macro_f1 == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    benign = metrics.per_class["Benign cases"]
    assert (benign.precision, benign.recall, benign.f1, benign.support) == (0.5, 0.5, 0.5, 2)
    # of 2 x 8 pairs 7 lie right (one benign above seven others), 8 tie at the low value or at the high one
    assert benign.auc == pytest.approx((7 + 0.5 * (1 + 7)) / 16)
    assert metrics.per_class["Malignant cases"].auc == 1.0


def test_the_json_has_the_agreed_fields() -> None:
    """What other programs read: names, lists and numbers under fixed keys."""
    document = json.loads(evaluate(LABELS, certain(CALLED), LUNG_CT_CLASSES).model_dump_json())
    assert list(document) == [
        "n", "n_cases", "accuracy", "balanced_accuracy", "macro_f1", "per_class", "confusion", "brier", "ece", "target",
        "intervals",
    ]  # fmt: skip
    assert list(document["per_class"]) == list(LUNG_CT_CLASSES.names)
    assert set(document["per_class"]["Normal cases"]) == {"precision", "recall", "f1", "auc", "support"}
    figures = {"auc", "sensitivity_at_specificity_90", "sensitivity_at_specificity_95"}
    assert set(document["target"]) == {"name", *figures}
    assert set(document["intervals"]) == {
        "accuracy", "balanced_accuracy", "macro_f1", "recall", "brier", "ece", "target",
    }  # fmt: skip
    assert set(document["intervals"]["target"]) == figures


def test_a_class_without_slices_has_no_recall_and_stays_out_of_the_means() -> None:
    """A labelled folder may lack a class: its recall, AUC and interval are null, the means are over the others."""
    labels, called = LABELS[:6], CALLED[:6]
    metrics = evaluate(labels, certain(called), LUNG_CT_CLASSES)
    malignant = metrics.per_class["Malignant cases"]
    assert malignant.recall is None
    assert malignant.auc is None
    assert malignant.support == 0
    assert metrics.target is None
    assert metrics.intervals.target is None
    assert metrics.intervals.recall["Malignant cases"] is None
    assert metrics.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_a_single_class_has_no_auc() -> None:
    """Where every slice is of one class there is nothing to rank."""
    metrics = evaluate(np.zeros(3, np.int64), certain(np.array([0, 0, 1])), LUNG_CT_CLASSES)
    assert metrics.per_class["Normal cases"].auc is None
    assert metrics.accuracy == pytest.approx(2 / 3)


def test_intervals_hold_their_figures_and_shrink_with_slices() -> None:
    """Each interval contains its figure and lies in [0, 1]; ten times the slices give a narrower one."""
    few = evaluate(LABELS, certain(CALLED), LUNG_CT_CLASSES)
    many = evaluate(np.tile(LABELS, 10), certain(np.tile(CALLED, 10)), LUNG_CT_CLASSES)
    for field in ("accuracy", "balanced_accuracy", "macro_f1"):
        widths = []
        for metrics in (few, many):
            lower, upper = getattr(metrics.intervals, field)
            assert 0 <= lower <= getattr(metrics, field) <= upper <= 1
            widths.append(upper - lower)
        assert widths[1] < widths[0]


def test_a_perfect_score_on_few_slices_is_not_certain() -> None:
    """Four right answers out of four leave an interval with a width, also for the mean over classes."""
    labels = np.array([0, 1, 2, 2])
    metrics = evaluate(labels, certain(labels), LUNG_CT_CLASSES)
    assert metrics.balanced_accuracy == 1
    for lower, upper in (metrics.intervals.accuracy, metrics.intervals.balanced_accuracy):
        assert lower < 0.8
        assert upper == 1


def test_equal_calls_give_equal_results() -> None:
    """The bootstrap is seeded."""
    assert evaluate(LABELS, certain(CALLED), LUNG_CT_CLASSES) == evaluate(LABELS, certain(CALLED), LUNG_CT_CLASSES)


def test_two_classes_work() -> None:
    """Nothing counts on three classes."""
    pair = ClassSet(names=("A", "B"), target="B")
    metrics = evaluate(np.array([0, 1, 1]), certain(np.array([0, 1, 0]), 2), pair)
    assert metrics.confusion == ((1, 0), (1, 1))


@pytest.mark.parametrize("shape", [(10, 2), (9, 3), (0, 3)])
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    """The error says what was expected and what came."""
    labels = LABELS if shape[0] else LABELS[:0]
    with pytest.raises(ValueError, match="expected probabilities of shape"):
        evaluate(labels, np.zeros(shape, np.float32), LUNG_CT_CLASSES)


def random_answers(
    sizes: Sequence[int] | np.ndarray, seed: int = 0, n_classes: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cases of the given sizes, labels in turn, and probabilities that lean to the label more in some cases."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = groups % n_classes
    logits = random.normal(0, 1, (len(labels), n_classes)) + random.normal(0, 1, (len(sizes), n_classes))[groups]
    logits[np.arange(len(labels)), labels] += 1.5
    exponentials = np.exp(logits)
    return labels, exponentials / exponentials.sum(axis=1, keepdims=True), groups


def test_scikit_learn_agrees() -> None:
    """AUC, macro F1, balanced accuracy and Brier on uneven random answers are scikit-learn's."""
    labels, probabilities, groups = random_answers([7, 3, 9, 2, 5, 8, 4, 4, 6])
    metrics = evaluate(labels, probabilities, LUNG_CT_CLASSES, groups=groups)
    called = probabilities.argmax(axis=1)
    assert metrics.target.auc == pytest.approx(roc_auc_score(labels == 2, probabilities[:, 2]))
    assert metrics.macro_f1 == pytest.approx(f1_score(labels, called, average="macro"))
    assert metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, called))
    one_hot = np.eye(3)[labels]
    assert metrics.brier == pytest.approx(((probabilities - one_hot) ** 2).sum(axis=1).mean())


def test_intervals_by_case_are_wider_than_by_slice() -> None:
    """The same answers, every case being ten copies of one slice: by case the figures are less certain."""
    labels, probabilities, _ = random_answers([1] * 60)
    copied, answers, groups = np.repeat(labels, 10), np.repeat(probabilities, 10, axis=0), np.repeat(np.arange(60), 10)
    by_case = evaluate(copied, answers, LUNG_CT_CLASSES, groups=groups)
    by_slice = evaluate(copied, answers, LUNG_CT_CLASSES)
    assert (by_case.n_cases, by_slice.n_cases) == (60, None)
    assert by_case.accuracy == by_slice.accuracy
    widths = {}
    for name, metrics in (("case", by_case), ("slice", by_slice)):
        ends = metrics.intervals
        pairs = [ends.accuracy, ends.balanced_accuracy, ends.macro_f1, ends.brier, ends.ece, ends.target.auc]
        widths[name] = np.array([upper - lower for lower, upper in pairs])
    ratio = widths["case"] / widths["slice"]
    assert (ratio > 2).all(), ratio  # the square root of ten is 3.2
    assert (ratio < 5).all(), ratio


def test_all_right_in_every_case_is_not_certain_either() -> None:
    """Where no draw finds a mistake the interval is Wilson's on the cases: few cases, wide interval."""
    labels, groups = np.repeat([0, 1, 2], 50), np.repeat(np.arange(15), 10)
    metrics = evaluate(labels, certain(labels), LUNG_CT_CLASSES, groups=groups)
    ends: Any = metrics.intervals
    for lower, upper in (ends.recall["Benign cases"], ends.target.sensitivity_at_specificity_90):
        assert (lower, upper) == (pytest.approx(0.5655, abs=1e-4), 1)  # 5 of 5
    assert ends.accuracy == (pytest.approx(0.7961, abs=1e-4), 1)  # 15 of 15
    assert ends.balanced_accuracy[0] < 0.8


def test_groups_that_do_not_fit_are_refused() -> None:
    """One number for each slice."""
    with pytest.raises(ValueError, match="expected groups of shape"):
        evaluate(LABELS, certain(CALLED), LUNG_CT_CLASSES, groups=np.zeros(3, np.int64))
