"""Conformal prediction sets."""

import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from shared.decisions import DecisionRules
from tests.support.inputs.labelled import answers
from trainer.evaluation.conformal import fit_prediction_sets, lowest_passing
from trainer.evaluation.operating_points import choose_rules


def test_cases_vote_not_slices() -> None:
    """One long case of low probabilities has one vote of twenty; by slices it would decide."""
    groups = np.concatenate([np.arange(19), np.full(500, 19)])
    of_class = np.concatenate([np.linspace(0.5, 0.95, 19), np.full(500, 0.05)])
    assert lowest_passing(of_class, groups, 0.90) == pytest.approx(0.5)


def test_each_case_alone_gives_the_textbook_s_quantile() -> None:
    """With one slice a case: the ceil((n + 1) * 0.9)-th highest probability."""
    of_class = np.random.default_rng(0).random(99)
    assert lowest_passing(of_class, np.arange(99), 0.90) == np.sort(of_class)[::-1][89]


def test_too_few_cases_rule_nothing_out() -> None:
    """Eight cases cannot speak for 90 %; nine can."""
    assert lowest_passing(np.linspace(0.5, 0.9, 8), np.arange(8), 0.90) == 0
    assert lowest_passing(np.linspace(0.5, 0.9, 9), np.arange(9), 0.90) == 0.5


def test_new_cases_are_covered_class_by_class() -> None:
    """Minima from some cases hold for others of the same kind: 90 % of each class, on average over repetitions."""
    covered = []
    for seed in range(20):
        labels, probabilities, groups, folds = answers(cases=(80, 60, 80), size=4, seed=seed)
        is_new = groups % 2 == 1
        sets = fit_prediction_sets(
            labels[~is_new], probabilities[~is_new], groups[~is_new], folds[~is_new], LUNG_CT_CLASSES,
            not_negative=np.zeros((~is_new).sum(), np.bool_),
        )  # fmt: skip
        minima = np.array(list(sets.min_probability.values()))
        hit = (probabilities >= minima)[np.arange(len(labels)), labels]
        covered.append([hit[is_new & (labels == label)].mean() for label in range(3)])
    means = np.mean(covered, axis=0)
    assert (means > 0.89).all(), means
    assert (means < 0.96).all(), means


def test_what_is_measured_is_what_the_rules_do() -> None:
    """Measured coverage and size are near those of DecisionRules.prediction_set on the same slices; no set is empty."""
    labels, probabilities, groups, folds = answers(cases=(80, 60, 80))
    rules = choose_rules(labels, probabilities, groups, folds, LUNG_CT_CLASSES)
    rules = DecisionRules.model_validate_json(rules.model_dump_json())
    sets = [rules.prediction_set(row) for row in probabilities.tolist()]
    assert min(map(len, sets)) >= 1
    assert rules.prediction_sets.measured_size == pytest.approx(np.mean([len(one) for one in sets]), abs=0.05)
    for label, name in enumerate(LUNG_CT_CLASSES.names):
        held = np.mean([name in one for one, of in zip(sets, labels, strict=True) if of == label])
        assert rules.prediction_sets.measured_coverage[name] == pytest.approx(held, abs=0.05)
