"""How far a slice's features are from those of chest slices: what the model was never shown lies far off.

Mahalanobis distance of pooled features (Lee et al. 2018, arXiv 1807.03888), under a Gaussian whose covariance is that
of probabilistic principal components (Tipping & Bishop 1999, 10.1111/1467-9868.00196): the main axes have variances of
their own, all others share one. So there is a covariance although there are fewer slices than features.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import keras
import numpy as np

from trainer.networks.heads import Features, Matrix

_AXES = 64
_MOST_SLICES = 2000  # more make the axes no better, and cost time with their square
_FLOOR = 0.1  # a feature's scale is at least this share of the median one: silent ones are not blown up


@dataclass(frozen=True)
class FeatureDistance:
    """distance = |z whitened| / unit, for z = (features - mean) / scale.

    whitening [D, k]: main axes over their standard deviations, [k]; rest: standard deviation along all other axes.
    """

    mean: Matrix
    scale: Matrix
    whitening: Matrix
    deviations: Matrix
    rest: float
    unit: float = 1.0

    def of(self, features: Features) -> Matrix:
        """Distances float64 [n], 0 and more, for features float32 [n, D]."""
        standardised = (features.astype(np.float64) - self.mean) / self.scale
        along = standardised @ self.whitening
        beside = (standardised**2).sum(axis=1) - ((along * self.deviations) ** 2).sum(axis=1)
        squared = (along**2).sum(axis=1) + np.maximum(beside, 0) / self.rest**2
        return np.asarray(np.sqrt(squared) / self.unit, np.float64)

    def in_graph(self, features: Any) -> Any:
        """What of() does, in a Keras graph: float32 [B, D] → [B]."""
        standardised = keras.layers.Normalization(mean=self.mean, variance=self.scale**2)(features)
        whiten = keras.layers.Dense(self.whitening.shape[1], use_bias=False)
        along = whiten(standardised)
        whiten.set_weights([self.whitening.astype(np.float32)])
        main = keras.ops.sum(keras.ops.square(along), axis=1)
        explained = keras.ops.sum(keras.ops.square(along * self.deviations.astype(np.float32)), axis=1)
        beside = keras.ops.relu(keras.ops.sum(keras.ops.square(standardised), axis=1) - explained)
        return keras.ops.sqrt(main + beside / self.rest**2) / self.unit

    def in_units_of(self, unseen: Features) -> Self:
        """This distance, in units of the median distance of slices float32 [m, D] that it was not fitted to."""
        return replace(self, unit=self.unit * float(np.median(self.of(unseen))))


def fit_distance(features: Features) -> FeatureDistance:
    """Fit to chest slices float32 [n, D], two or more. Deterministic."""
    chosen = features[:: -(-len(features) // _MOST_SLICES)].astype(np.float64)
    mean, deviation = chosen.mean(axis=0), chosen.std(axis=0)
    scale = np.maximum(deviation, _FLOOR * np.median(deviation) + 1e-6)
    _, singular, axes = np.linalg.svd((chosen - mean) / scale, full_matrices=False)
    variances = singular**2 / len(chosen)
    count = min(_AXES, len(chosen) // 2, len(axes))
    deviations = np.sqrt(variances[:count]) + 1e-6
    rest = float(np.sqrt(variances[count:].sum() / max(1, len(mean) - count))) + 1e-6
    return FeatureDistance(mean, scale, axes[:count].T / deviations, deviations, rest)
