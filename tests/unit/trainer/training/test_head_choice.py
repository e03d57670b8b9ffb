"""Choosing a head: the protocol decides, and what cannot be judged gets the first candidate."""

import logging

import numpy as np
import pytest

from trainer.training.head_choice import choose_head


def cases(width: int, shift: float, per_class: int = 20, slices: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features float32 [n, width] of cases that lie anywhere, shifted by class; labels; cases."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), per_class * slices)
    groups = np.arange(len(labels)) // slices
    features = generator.normal(size=(3 * per_class, width))[groups] + 0.05 * generator.normal(
        size=(len(labels), width)
    )
    features += shift * generator.normal(size=(3, width))[labels]
    return features.astype(np.float32), labels, groups


def test_new_cases_want_what_generalises() -> None:
    """Where classes differ and cases are held together, the discriminant wins."""
    features, labels, groups = cases(width=40, shift=0.5)
    assert choose_head(features, labels, groups, blocks=(40,), classes=3) == "lda"


def test_seen_cases_want_the_neighbour() -> None:
    """Where classes hardly differ but each slice may be held out without its case, the most alike slice knows."""
    features, labels, _ = cases(width=6, shift=0.1)
    assert choose_head(features, labels, np.arange(len(labels)), blocks=(6,), classes=3) == "neighbours"


def test_views_count_as_much_as_slices(caplog: pytest.LogCaptureFixture) -> None:
    """Where what tells classes apart best is what views change, the steady head wins; without views it is none."""
    features, labels, groups = cases(width=40, shift=0.5)
    generator = np.random.default_rng(1)
    fragile = 2 * np.eye(3)[labels] + generator.normal(0, 0.1, (len(labels), 3))
    seen = np.hstack([features, fragile]).astype(np.float32)
    views = [np.hstack([features, fragile[generator.permutation(len(labels))]]).astype(np.float32) for _ in range(2)]
    blocks = (40, 3)
    caplog.set_level(logging.INFO)
    assert choose_head(seen, labels, groups, blocks=blocks, classes=3) == "lda"
    assert "steady" not in caplog.text
    assert choose_head(seen, labels, groups, blocks=blocks, classes=3, views=views) == "steady"


def test_too_few_cases_to_judge() -> None:
    """A class of one case leaves nothing to hold out: the discriminant is taken without a trial."""
    features, labels, groups = cases(width=6, shift=0.5, per_class=2)
    groups = np.where(labels == 2, 99, groups)
    assert choose_head(features, labels, groups, blocks=(6,), classes=3) == "lda"
