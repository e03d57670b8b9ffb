"""Temperature scaling: probabilities that mean what they say (Guo et al. 2017, arXiv 1706.04599).

One number divides all logits, so no prediction changes; it is fitted on out-of-fold logits alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from scipy.optimize import minimize_scalar

from trainer.data.balance import Labels
from trainer.evaluation.weighted_metrics import calibration_error, negative_log_likelihood

Logits = NDArray[np.floating]
"""float [n, classes]; natural logarithms of probabilities, up to a constant for each slice."""

_SHARPEST, _FLATTEST = 0.05, 20.0
"""Bounds of the temperature: beyond them lies a fit to almost nothing, or to slices without a mistake."""


@dataclass(frozen=True)
class Calibrated:
    """Out-of-fold probabilities [n, classes], each scaled by a temperature that its own fold had no part in.

    temperature: fitted on all logits, for the model that is published. of_folds: the one that each fold was given.
    """

    probabilities: NDArray[np.float64]
    temperature: float
    of_folds: tuple[float, ...]

    def record(self, logits: Logits, labels: Labels) -> dict[str, JsonValue]:
        """What the manifest says: temperatures, and ECE and negative log-likelihood before and after."""
        errors: dict[str, JsonValue] = {
            f"{name}_{when}": float(error(labels, probabilities, np.ones((1, len(labels))))[0])
            for name, error in (("ece", calibration_error), ("nll", negative_log_likelihood))
            for when, probabilities in (("before", softmax(logits)), ("after", self.probabilities))
        }
        of_folds: JsonValue = list(self.of_folds)
        return {
            "method": "temperature", "temperature": self.temperature, "temperatures_of_folds": of_folds, **errors
        }  # fmt: skip


def softmax(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities float64 [n, classes], rows summing to 1, of logits divided by a temperature above 0."""
    scaled = logits.astype(np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float64)


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature, 0.05 to 20, with the lowest mean negative log-likelihood.

    That is convex in 1 / temperature, so it has one minimum. Raises ValueError for shapes that do not fit.
    """
    if not len(labels) or logits.ndim != 2 or len(logits) != len(labels):  # noqa: PLR2004 - as documented
        raise ValueError(f"expected logits of shape ({len(labels)}, classes), at least one slice, got {logits.shape}")
    ones = np.ones((1, len(labels)))
    found = minimize_scalar(
        lambda inverse: negative_log_likelihood(labels, softmax(logits, 1 / inverse), ones)[0],
        bounds=(1 / _FLATTEST, 1 / _SHARPEST),
        options={"xatol": 1e-10},
    )
    return 1 / float(found.x)


def cross_fit(logits: Logits, labels: Labels, fold_of: NDArray[np.int64]) -> Calibrated:
    """Scale each fold's logits by the temperature of the other folds, so that what is measured was not fitted to.

    logits: out-of-fold, float [n, classes]; fold_of: int64 [n], 0 to folds - 1, at least two folds.
    """
    folds = range(int(fold_of.max()) + 1)
    of_folds = tuple(fit_temperature(logits[fold_of != fold], labels[fold_of != fold]) for fold in folds)
    probabilities = np.empty(logits.shape, np.float64)
    for fold, temperature in zip(folds, of_folds, strict=True):
        probabilities[fold_of == fold] = softmax(logits[fold_of == fold], temperature)
    return Calibrated(probabilities, fit_temperature(logits, labels), of_folds)
