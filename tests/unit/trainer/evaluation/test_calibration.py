"""Temperature scaling."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from trainer.evaluation.calibration import cross_fit, fit_temperature, softmax


def overconfident(n: int = 3000, factor: float = 3.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from honest logits, and these logits times a factor."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (n, 3))
    labels = (random.random((n, 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1).clip(0, 2)
    return logits * factor, labels


def test_the_temperature_undoes_overconfidence() -> None:
    """Logits three times too large get a temperature of about 3; scipy's minimum of the same loss is the same."""
    logits, labels = overconfident()
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(3, rel=0.1)
    found = minimize_scalar(
        lambda t: log_loss(labels, softmax(logits, t), labels=[0, 1, 2]), bounds=(0.05, 20), method="bounded"
    )
    assert temperature == pytest.approx(found.x, rel=1e-3)


def test_a_fit_to_nothing_stays_within_bounds() -> None:
    """Slices that are all right want no temperature at all, and all wrong an endless one: 0.05 and 20."""
    logits = np.eye(3)[[0, 1, 2]]
    assert fit_temperature(logits, np.array([0, 1, 2])) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 2, 0])) == pytest.approx(20, rel=1e-3)


def test_no_fold_is_scaled_by_what_it_taught() -> None:
    """Each fold's temperature is that of the others: changing a fold's labels changes theirs and not its own."""
    logits, labels = overconfident(900)
    fold_of = np.arange(900) % 3
    before = cross_fit(logits, labels, fold_of)
    changed = np.where(fold_of == 0, (labels + 1) % 3, labels)
    after = cross_fit(logits, changed, fold_of)
    assert after.of_folds[0] == before.of_folds[0]
    assert after.of_folds[1] > before.of_folds[1]
    np.testing.assert_allclose(before.probabilities[fold_of == 1], softmax(logits[fold_of == 1], before.of_folds[1]))
    assert (before.probabilities.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_the_record_shows_the_gain() -> None:
    """Before and after, cross-fitted: both errors fall on overconfident logits."""
    logits, labels = overconfident()
    record = cross_fit(logits, labels, np.arange(3000) % 5).record(logits, labels)
    assert record["ece_after"] < 0.03
    assert record["ece_before"] > 0.1
    assert record["nll_after"] < record["nll_before"]
    assert isinstance(record["temperatures_of_folds"], list)
    assert len(record["temperatures_of_folds"]) == 5


def test_huge_logits_do_not_overflow() -> None:
    """Softmax of thousands is a probability."""
    np.testing.assert_array_equal(softmax(np.array([[1e4, 0, -1e4]], np.float32)), [[1, 0, 0]])


def test_shapes_that_do_not_fit_are_refused() -> None:
    """The error says what was expected and what came."""
    with pytest.raises(ValueError, match=r"expected logits of shape \(3, classes\).*got \(2, 3\)"):
        fit_temperature(np.zeros((2, 3)), np.zeros(3, np.int64))
