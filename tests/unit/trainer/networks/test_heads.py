"""Heads on frozen features: what they learn, how much of it, and that a graph gives the same logits."""

from typing import Self

import keras
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from trainer.networks.heads import CLIP, FittedHeadName, Head, fit_head

HEADS: tuple[FittedHeadName, ...] = ("lda", "logistic", "neighbours")
BLOCKS = (5, 15)


def slices(count: int = 90, classes: int = 3, apart: float = 1.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features float32 [count, 20] of classes whose means lie apart, labels, and cases of three slices each."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), count // classes)
    features = generator.normal(size=(len(labels), 20)) + apart * generator.normal(size=(classes, 20))[labels]
    features[:, 5:] = features[:, 5:] * 100 + 7
    return features.astype(np.float32), labels, np.arange(len(labels)) // 3


def fitted(name: FittedHeadName, features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Head:
    return fit_head(name, features, labels, groups, blocks=BLOCKS, classes=int(labels.max()) + 1)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", HEADS)
def test_a_head_learns_classes_that_lie_apart(name: FittedHeadName, classes: int) -> None:
    """Slices that it has not seen are classified, whatever units their features have."""
    features, labels, groups = slices(classes=classes)
    even = np.arange(len(labels)) % 2 == 0
    logits = fitted(name, features[even], labels[even], groups[even]).logits(features[~even])
    assert logits.shape == ((~even).sum(), classes)
    assert logits.dtype == np.float64
    assert (logits.argmax(axis=1) == labels[~even]).mean() > 0.9


@pytest.mark.parametrize("name", HEADS)
def test_a_graph_gives_the_same_logits(name: FittedHeadName) -> None:
    """Laid into Keras, a head answers as it does in NumPy, to float32's precision, also far outside what it saw."""
    features, labels, groups = slices()
    head = fitted(name, features, labels, groups)
    strange = np.concatenate([features, features * 50, np.zeros((1, 20), np.float32)])
    image = keras.Input((20,))
    laid = keras.Model(image, head.in_graph(image)).predict_on_batch(strange)
    np.testing.assert_allclose(laid, head.logits(strange), atol=2e-3)


@pytest.mark.parametrize("name", HEADS)
def test_scale_and_offset_of_features_say_nothing(name: FittedHeadName) -> None:
    """Features in other units give the same logits."""
    features, labels, groups = slices()
    other = (features * np.float32(8) + np.float32(16)).astype(np.float32)
    same = fitted(name, other, labels, groups).logits(other)
    np.testing.assert_allclose(same, fitted(name, features, labels, groups).logits(features), atol=2e-3)


@pytest.mark.parametrize("name", ["lda", "logistic"])
def test_repeating_slices_of_a_case_adds_less_than_new_cases(name: FittedHeadName) -> None:
    """A case of one class that comes four times as often moves its neighbours less than four such cases would."""
    features, labels, groups = slices(apart=0.5)
    first = np.flatnonzero(groups == 0)
    rows = np.concatenate([np.arange(len(labels)), first, first, first])
    alone = fitted(name, features, labels, groups).logits(features)
    as_cases = np.concatenate([groups, *(groups[first] + 1000 * copy for copy in (1, 2, 3))])
    moved = np.abs(fitted(name, features[rows], labels[rows], groups[rows]).logits(features) - alone).mean()
    moved_more = np.abs(fitted(name, features[rows], labels[rows], as_cases).logits(features) - alone).mean()
    assert moved < moved_more


@pytest.mark.parametrize("counts", [(30, 30, 30), (30, 12, 27)])
def test_lda_is_shrunk_lda(counts: tuple[int, ...]) -> None:
    """With cases of equal length and all components kept, it is scikit-learn's of the same shrinkage, whose priors are
    the square roots of the classes' numbers of slices.
    """
    features, labels, groups = slices()
    kept = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in enumerate(counts)])
    features, labels, groups = features[kept], labels[kept], groups[kept]
    priors = np.sqrt(counts) / np.sqrt(counts).sum()
    standardised = fitted("lda", features, labels, groups).standardiser.apply(features)
    assert np.abs(standardised).max() <= CLIP
    evened = standardised * np.sqrt(1000 / 2 / np.repeat(BLOCKS, BLOCKS))
    residual = evened - np.stack([evened[labels == label].mean(axis=0) for label in range(3)])[labels]
    covariance = residual.T @ residual / len(labels)
    covariance = 0.3 * covariance + 0.7 * np.trace(covariance) / 20 * np.eye(20)
    expected = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Given(covariance), priors=priors)
    expected = expected.fit(evened, labels).decision_function(evened)
    logits = fitted("lda", features, labels, groups).logits(features)
    # not probabilities: classes lie so far apart that these are 0 and 1 whatever the priors
    np.testing.assert_allclose(_relative(logits), _relative(expected), atol=1e-6)


def test_the_steady_head_leans_less_on_what_views_change() -> None:
    """A feature that views scatter gets a fraction of the share of all weights that "lda" gives it."""
    features, labels, groups = slices()
    generator = np.random.default_rng(1)
    views = []
    for _ in range(2):
        view = features.copy()
        view[:, 2] += 4 * features[:, 2].std() * generator.choice([-1, 1], len(labels))
        views.append(view)
    lda, steady = (
        np.abs(fit_head(name, features, labels, groups, blocks=BLOCKS, classes=3, views=views).weights)
        for name in ("lda", "steady")
    )
    assert steady[2].sum() / steady.sum() < 0.4 * lda[2].sum() / lda.sum()


def test_views_that_change_nothing_make_no_other_head() -> None:
    """Neither views equal to the slices nor none at all: the steady head is "lda" then."""
    features, labels, groups = slices()
    lda = fitted("lda", features, labels, groups).logits(features)
    for views in ((), (features, features)):
        steady = fit_head("steady", features, labels, groups, blocks=BLOCKS, classes=3, views=views)
        np.testing.assert_allclose(steady.logits(features), lda, atol=1e-9)


def _relative(logits: np.ndarray) -> np.ndarray:
    """What all classes have alike says nothing."""
    means: np.ndarray = logits.mean(axis=1, keepdims=True)
    return np.asarray(logits - means)


class Given:
    """A covariance estimator that has been told."""

    def __init__(self, covariance: np.ndarray) -> None:
        self.covariance_ = covariance

    def fit(self, _: object) -> Self:
        return self


def test_a_silent_feature_does_no_harm() -> None:
    """A feature that is constant in training, and another one that nearly is, leave every logit finite and small."""
    features, labels, groups = slices()
    features[:, 0], features[:, 1] = 3, np.where(np.arange(len(labels)) == 4, 1e-6, 0)
    strange = features.copy()
    strange[:, :2] = 1e6
    for name in HEADS:
        assert np.abs(fitted(name, features, labels, groups).logits(strange)).max() < 1e3


def test_the_most_alike_slice_decides() -> None:
    """A neighbour head gives a training slice its own label, and is sure of it, but not beyond all doubt."""
    features, labels, groups = slices(apart=0)
    logits = fitted("neighbours", features, labels, groups).logits(features)
    np.testing.assert_array_equal(logits.argmax(axis=1), labels)
    assert np.log(0.02) - 1e-9 <= logits.min()
