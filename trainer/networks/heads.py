"""Heads on frozen features: few parameters or none, strongly shrunk, because there are few cases.

Each is fitted with NumPy in seconds, and can become part of a Keras graph where it gives the same logits.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.networks.attention import Affine

FittedHeadName = Literal["lda", "steady", "logistic", "neighbours"]
Features = NDArray[np.float32]
"""float32 [n, D]: what a frozen network says of n slices."""
Logits = NDArray[np.float64]
"""float64 [n, C], uncalibrated."""
Matrix = NDArray[np.float64]

CLIP = 6.0
"""Standardised features are cut off here: a slice unlike all others must not decide by one number."""

_FLAT = 0.01  # a feature's scale is at least this share of its block's median scale: silent ones are not blown up
_SPREAD = 1000.0  # squared length of a typical standardised slice; fixes what a penalty on weights means
_ROUNDING = 1e-8  # variances below this share of the largest are zero
_COMPONENTS = 150
_SHRINKAGE = 0.7
_VIEWED = 0.5  # weight of what views change, in the covariance within classes
_PRIOR = 0.5  # 0: classes count alike; 1: as often as they come
_PENALTY = 0.01  # C of the logistic regression
_SHARPNESS = 0.01  # of cosine similarities: the most alike slice decides, unless others are as alike
_DOUBT = 0.02  # added to each class's share of the neighbours: nothing is certain, and every logit is finite


@dataclass(frozen=True)
class Standardiser:
    """clip((features - mean) / scale, -CLIP, CLIP)."""

    mean: Matrix
    scale: Matrix

    def apply(self, features: Features) -> Matrix:
        """Standardised features float64 [n, D], from -CLIP to CLIP, for float32 [n, D]."""
        return np.clip((features.astype(np.float64) - self.mean) / self.scale, -CLIP, CLIP)

    def in_graph(self, features: Any) -> Any:
        """What apply() does, in a Keras graph: float32 [B, D] → [B, D]."""
        return keras.ops.clip(self._unclipped(features), -CLIP, CLIP)

    def gain(self, features: Any) -> Any:
        """In a Keras graph [B, D]: what is left of each standardised feature; 1 where nothing was cut off."""
        return CLIP / keras.ops.maximum(keras.ops.abs(self._unclipped(features)), CLIP)

    def _unclipped(self, features: Any) -> Any:
        return keras.layers.Normalization(mean=self.mean, variance=self.scale**2)(features)


@dataclass(frozen=True)
class LinearMap:
    """logits = features @ weights + bias, behind a network that learned along; weights float32 [D, C], bias [C]."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, features: Features) -> Logits:
        """Logits float64 [n, C] for features float32 [n, D]."""
        return features.astype(np.float64) @ self.weights + self.bias

    def in_graph(self, features: Any) -> Any:
        """What logits() does, in a Keras graph: float32 [B, D] → [B, C]."""
        return _dense(features, self.weights, self.bias)

    def affine(self, features: Any) -> Affine:  # noqa: ARG002 - the same for all features
        """The logits as an affine map of features [B, D] in a Keras graph."""
        return Affine(keras.ops.convert_to_tensor(self.weights[None]), keras.ops.convert_to_tensor(self.bias[None]))


@dataclass(frozen=True)
class LinearHead:
    """logits = standardised @ weights + bias; weights [D, C], bias [C]."""

    standardiser: Standardiser
    weights: Matrix
    bias: Matrix

    def logits(self, features: Features) -> Logits:
        """Logits float64 [n, C] for features float32 [n, D]."""
        return self.standardiser.apply(features) @ self.weights + self.bias

    def in_graph(self, features: Any) -> Any:
        """What logits() does, in a Keras graph: float32 [B, D] → [B, C]."""
        return _dense(self.standardiser.in_graph(features), self.weights, self.bias)

    def affine(self, features: Any) -> Affine:
        """The logits as an affine map of features [B, D] in a Keras graph; where those are cut, slopes shrink."""
        per_feature = (self.weights / self.standardiser.scale[:, np.newaxis]).astype(np.float32)
        slopes = self.standardiser.gain(features)[:, :, None] * per_feature[np.newaxis]
        at_mean = keras.ops.sum(slopes * self.standardiser.mean.astype(np.float32)[:, np.newaxis], axis=1)
        return Affine(slopes, -at_mean + self.bias.astype(np.float32)[np.newaxis])


@dataclass(frozen=True)
class NeighbourHead:
    """Each training slice votes for its class, the more the more alike it is; for slices whose case is known.

    directions: float64 [n, D], training slices relative to their centre, of length 1; classes: one-hot float64 [n, C].
    """

    standardiser: Standardiser
    evened: Matrix
    centre: Matrix
    directions: Matrix
    classes: Matrix

    def logits(self, features: Features) -> Logits:
        """Logarithm of each class's share of the votes, float64 [n, C], for features float32 [n, D]."""
        relative = self.standardiser.apply(features) * self.evened - self.centre
        similarity = relative @ self.directions.T / np.linalg.norm(relative, axis=1, keepdims=True)
        votes = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / _SHARPNESS)
        return np.asarray(np.log(votes @ self.classes / votes.sum(axis=1, keepdims=True) + _DOUBT), np.float64)

    def in_graph(self, features: Any) -> Any:
        """What logits() does, in a Keras graph: float32 [B, D] → [B, C]."""
        relative = keras.layers.Normalization(mean=self.centre / self.evened, variance=1 / self.evened**2)(
            self.standardiser.in_graph(features)
        )
        direction = keras.ops.normalize(relative, axis=-1)
        nearness = _dense(direction, self.directions.T / _SHARPNESS, np.zeros(len(self.directions)))
        return keras.ops.log(_dense(keras.ops.softmax(nearness), self.classes, np.full(self.classes.shape[1], _DOUBT)))

    def affine(self, features: Any) -> None:
        """None: votes are no affine map."""


Head = LinearMap | LinearHead | NeighbourHead


def fit_head(
    name: FittedHeadName,
    features: Features,
    labels: Labels,
    groups: Groups,
    *,
    blocks: tuple[int, ...],
    classes: int,
    views: Sequence[Features] = (),
) -> LinearHead | NeighbourHead:
    """Fit to slices float32 [n, D] of cases; every class is there. blocks: widths that weigh alike, D in all.

    views: of the same slices, float32 [n, D] each; only "steady" looks at them. It is the discriminant "lda" that
    counts what views change among what slices of a class differ in, and so leans less on what they change.

    A slice of a case of m slices weighs 1 / sqrt(m): a long case counts more than a short one, but not by as much as it
    is longer. Classes weigh alike, but for the discriminant's priors, which lie halfway between that and what comes.
    Deterministic.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    standardiser = Standardiser(mean, _floored(features.std(axis=0, dtype=np.float64), blocks))
    evened = np.concatenate([np.full(width, np.sqrt(_SPREAD / len(blocks) / width)) for width in blocks])
    standardised = standardiser.apply(features) * evened
    centre = standardised.mean(axis=0)
    if name == "neighbours":
        relative = standardised - centre
        directions = relative / np.linalg.norm(relative, axis=1, keepdims=True)
        return NeighbourHead(standardiser, evened, centre, directions, np.eye(classes)[labels])
    basis = _principal_axes(standardised - centre, len(labels) if name == "logistic" else _COMPONENTS)
    reduced, weights = (standardised - centre) @ basis, _slice_weights(groups)
    if name == "logistic":
        directions, bias = _logistic(reduced, labels, weights, classes)
    else:
        scatter = np.zeros((basis.shape[1],) * 2)
        for view in views if name == "steady" else ():
            moved = (standardiser.apply(view) * evened - centre) @ basis - reduced
            scatter += (moved * weights[:, np.newaxis]).T @ moved / weights.sum() / len(views)
        directions, bias = _discriminant(reduced, labels, weights, classes, _VIEWED * scatter)
    unrotated = basis @ directions
    return LinearHead(standardiser, evened[:, np.newaxis] * unrotated, bias - centre @ unrotated)


def _floored(scale: Matrix, blocks: tuple[int, ...]) -> Matrix:
    edges = np.cumsum(blocks)[:-1]
    return np.concatenate([np.maximum(block, 1e-6 + _FLAT * np.median(block)) for block in np.split(scale, edges)])


def _principal_axes(centred: Matrix, count: int) -> Matrix:
    """[D, k]: orthonormal axes of the rows by falling variance, at most count and at most what the rows span.

    Through the [n, n] matrix of inner products, which is smaller than the covariance: D is larger than n.
    """
    variances, vectors = np.linalg.eigh(centred @ centred.T)
    variances, vectors = variances[::-1], vectors[:, ::-1]
    kept = min(count, int((variances > _ROUNDING * variances[0]).sum()))
    axes: Matrix = centred.T @ (vectors[:, :kept] / np.sqrt(variances[:kept]))
    return axes


def _slice_weights(groups: Groups) -> Matrix:
    _, case, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1 / np.sqrt(sizes[case]), np.float64)


def _discriminant(
    reduced: Matrix, labels: Labels, weights: Matrix, classes: int, scatter: Matrix
) -> tuple[Matrix, Matrix]:
    """Linear discriminant analysis with a covariance shrunk towards a sphere; scatter [k, k] is added to it first.

    Shrinkage as in Friedman 1989 (10.1080/01621459.1989.10478752), of the covariance that the classes share. Priors are
    proportional to the square root of what the slices of a class weigh together.
    """
    one_hot = np.eye(classes)[labels] * weights[:, np.newaxis]
    weight_of_class = one_hot.sum(axis=0)
    means = one_hot.T @ reduced / weight_of_class[:, np.newaxis]
    residual = reduced - means[labels]
    covariance = (residual * weights[:, np.newaxis]).T @ residual / weights.sum() + scatter
    width = len(covariance)
    sphere = np.eye(width) * np.trace(covariance) / width
    directions = np.linalg.solve((1 - _SHRINKAGE) * covariance + _SHRINKAGE * sphere, means.T)
    priors = _PRIOR * np.log(weight_of_class / weight_of_class.mean())
    return directions, priors - 0.5 * (means.T * directions).sum(axis=0)


def _logistic(reduced: Matrix, labels: Labels, weights: Matrix, classes: int) -> tuple[Matrix, Matrix]:
    """Multinomial logistic regression with an L2 penalty and weights that add up to n / classes in each class."""
    shares = np.bincount(labels, weights, classes)
    balanced = weights * (len(labels) / classes / shares)[labels]
    model = LogisticRegression(C=_PENALTY, max_iter=300, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 300 steps are what is meant by this head
        model.fit(reduced, labels, sample_weight=balanced)
    directions, bias = model.coef_.T, model.intercept_
    if directions.shape[1] == 1:  # scikit-learn gives one column for two classes
        directions, bias = np.hstack([-directions, directions]) / 2, np.concatenate([-bias, bias]) / 2
    return np.asarray(directions, np.float64), np.asarray(bias, np.float64)


def _dense(x: Any, weights: NDArray[np.floating], bias: NDArray[np.floating]) -> Any:
    layer = keras.layers.Dense(weights.shape[1])
    outputs = layer(x)
    layer.set_weights([weights.astype(np.float32), bias.astype(np.float32)])
    return outputs
