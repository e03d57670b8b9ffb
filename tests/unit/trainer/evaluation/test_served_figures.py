"""Figures of what is served, each counted by hand."""

import numpy as np
import pytest

from tests.support.served import served
from trainer.evaluation.case_figures import Figure
from trainer.evaluation.comparison import compare_served
from trainer.evaluation.served_figures import served_figures


def value(figure: Figure | None) -> float:
    assert figure is not None
    return figure.by_slice.value


# two normal slices, four malignant ones: one malignant is uncertain, one negative, one refused
VERDICTS = np.array(["negative", "positive", "positive", "uncertain", "negative", "positive"])
DOUBTS = ((), (), (), (), (), ("lungs", "body"))


def test_uncertain_counts_as_not_negative_and_refused_not_at_all() -> None:
    """Of three answered malignant slices two are not negative; of two others one is negative."""
    figures = served_figures(served([0, 0, 2, 2, 2, 2], verdicts=VERDICTS, doubts=DOUBTS))
    assert value(figures.sensitivity) == pytest.approx(2 / 3)
    assert value(figures.specificity) == pytest.approx(1 / 2)
    assert value(figures.positive_of_target) == pytest.approx(1 / 3)
    assert value(figures.positive_of_others) == pytest.approx(1 / 2)
    assert value(figures.uncertain) == pytest.approx(1 / 5)
    assert value(figures.refused) == pytest.approx(1 / 6)
    assert {check: value(figure) for check, figure in figures.refused_by.items()} == {
        "body": pytest.approx(1 / 6), "lungs": pytest.approx(1 / 6)
    }  # fmt: skip
    assert figures.outcomes["Malignant cases"] == {"positive": 1, "negative": 1, "uncertain": 1, "refused": 1}
    assert figures.outcomes["Normal cases"] == {"positive": 1, "negative": 1, "uncertain": 0, "refused": 0}


def test_top_classes_and_sets_are_of_what_is_answered() -> None:
    """Accuracy, recall, coverage and size; a class without an answered slice has none, and means leave it out."""
    in_set = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, 0], [1, 1, 1]], np.bool_)
    figures = served_figures(served([0, 0, 2, 2, 2, 2], called=[0, 1, 2, 2, 1, 0], doubts=DOUBTS, in_set=in_set))
    assert value(figures.accuracy) == pytest.approx(3 / 5)
    assert value(figures.balanced_accuracy) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert figures.recall["Benign cases"] is None
    assert value(figures.coverage["Normal cases"]) == 1
    assert value(figures.coverage["Malignant cases"]) == pytest.approx(2 / 3)
    assert value(figures.set_size) == pytest.approx(9 / 5)
    assert value(figures.set_sizes["Malignant cases"]) == pytest.approx(2)
    assert figures.confusion == ((1, 1, 0), (0, 0, 0), (0, 1, 2))
    assert value(figures.auc) == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_the_calibration_error_is_that_of_the_top_class() -> None:
    """All right at 0.8: each is off by 0.2."""
    assert value(served_figures(served([0, 1, 2])).ece) == pytest.approx(0.2)


def test_what_the_version_has_not_is_no_figure() -> None:
    """No verdicts, sets or familiarity: None, and slices are answered or refused; of those that ask, the share."""
    figures = served_figures(served([0, 2], verdicts=None, in_set=None))
    assert figures.sensitivity is figures.uncertain is figures.set_size is figures.unfamiliar is None
    assert figures.coverage == dict.fromkeys(figures.recall)
    assert figures.outcomes["Malignant cases"] == {"answered": 1, "refused": 0}
    assert (
        value(served_figures(served([0, 2], is_familiar=np.array([True, False])), asks_familiarity=True).unfamiliar)
        == 0.5
    )


def test_where_all_is_refused_nothing_else_is_said() -> None:
    """The share refused is 1, and no figure of an answer is made up."""
    figures = served_figures(served([0, 2], doubts=(("colour",), ("lungs",))))
    assert value(figures.refused) == 1
    assert figures.accuracy is figures.auc is figures.ece is figures.sensitivity is None
    assert figures.confusion == ((0, 0, 0),) * 3


def test_two_versions_are_compared_on_what_both_answer() -> None:
    """The second misses two malignant slices more, is uncertain once, and refuses one."""
    first = served([0, 0, 2, 2, 2, 2])
    verdicts = np.array(["negative", "uncertain", "negative", "negative", "positive", "positive"])
    second = served(
        [0, 0, 2, 2, 2, 2], called=[0, 0, 1, 1, 2, 2], verdicts=verdicts, doubts=((), (), (), (), (), ("body",))
    )
    compared = compare_served(first, second)
    assert (compared.n, compared.n_cases) == (5, 5)
    assert value(compared.sensitivity) == pytest.approx(2 / 3)
    assert value(compared.specificity) == pytest.approx(1 / 2)
    assert value(compared.accuracy) == pytest.approx(2 / 5)
    assert value(compared.balanced_accuracy) == pytest.approx((0 + 2 / 3) / 2)
    assert value(compared.uncertain) == pytest.approx(-1 / 5)
    assert value(compared.refused) == pytest.approx(-1 / 6)
    assert compare_served(first, served([0] * 6, verdicts=None)).sensitivity is None
