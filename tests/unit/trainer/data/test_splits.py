"""Splits by case: no case on both sides, every fold has every class, and the record says what was done."""

import dataclasses

import numpy as np
import pytest

from tests.support.inputs.labelled import of_cases
from trainer.data.cases import Cases
from trainer.data.dataset import Slices
from trainer.data.splits import FoldWithoutClass, folds_digest, split_by_case

SIZES = {0: [5, 3, 4, 6, 2, 4], 1: [6, 2, 3, 3, 4], 2: [1, 7, 3, 9, 5, 5]}


@pytest.fixture
def slices_and_cases() -> tuple[Slices, Cases]:
    slices, truth = of_cases(SIZES)
    return slices, Cases(truth, "known", tuple(map(str, range(17))))


def test_no_case_is_on_both_sides(slices_and_cases: tuple[Slices, Cases]) -> None:
    """Each slice is held out exactly once, together with all of its case, and every fold has every class."""
    slices, cases = slices_and_cases
    folds = split_by_case(slices, cases, 5, seed=3)
    assert len(folds) == 5
    held_out = []
    for fold in range(5):
        split = folds.split(fold)
        assert not set(cases.groups[split.training]) & set(cases.groups[split.validation])
        assert set(slices.labels[split.validation]) == set(slices.labels[split.training]) == {0, 1, 2}
        assert len(split.training) + len(split.validation) == len(slices.labels)
        held_out += split.validation.tolist()
    assert sorted(held_out) == list(range(len(slices.labels)))


def test_the_record_says_what_was_done(slices_and_cases: tuple[Slices, Cases]) -> None:
    """Protocol, where the groups come from, how many, folds, seed and digest; inferred groups add a warning."""
    slices, cases = slices_and_cases
    folds = split_by_case(slices, cases, 5, seed=3)
    record = folds.record
    assert (record["protocol"], record["groups"], record["folds"], record["seed"]) == ("case", "known", 5, 3)
    assert record["optimistic"] is False
    assert record["n_groups"] == {"Normal cases": 6, "Benign cases": 5, "Malignant cases": 6}
    assert folds.warnings == ()
    inferred = split_by_case(slices, dataclasses.replace(cases, origin="inferred"), 5, seed=3)
    assert inferred.record["groups"] == "inferred"
    assert "guessed" in inferred.warnings[0]


def test_the_digest_names_the_split(slices_and_cases: tuple[Slices, Cases]) -> None:
    """Equal seeds give equal folds and digests; another seed, or another file, gives another digest."""
    slices, cases = slices_and_cases
    one, again, other = (split_by_case(slices, cases, 5, seed=seed) for seed in (3, 3, 0))
    np.testing.assert_array_equal(one.fold_of, again.fold_of)
    assert not np.array_equal(one.fold_of, other.fold_of)
    assert one.record["digest"] == again.record["digest"] != other.record["digest"]
    order = np.random.default_rng(0).permutation(len(slices.labels))
    shuffled = tuple(slices.digests[row] for row in order)
    assert folds_digest(shuffled, one.fold_of[order]) == one.record["digest"]


def test_fewer_cases_than_folds_is_an_error(slices_and_cases: tuple[Slices, Cases]) -> None:
    """The counts of all classes are in the message."""
    slices, cases = slices_and_cases
    with pytest.raises(FoldWithoutClass, match=r"6 folds need 6 cases of each.*Normal cases: 6, Benign cases: 5"):
        split_by_case(slices, cases, 6, seed=0)


@pytest.mark.parametrize("sizes", [[40, 1, 1, 1], [1, 1, 1, 1], [9, 8, 1, 1, 1, 1]])
def test_a_class_of_very_unequal_cases_still_reaches_every_fold(sizes: list[int]) -> None:
    """One large case and as many tiny ones as there are folds: no fold lacks the class, whatever the seed."""
    slices, truth = of_cases({0: [1] * 40, 1: sizes, 2: [30, 2, 2, 2]})
    for seed in range(20):
        folds = split_by_case(slices, Cases(truth, "known"), 4, seed=seed)
        for fold in range(4):
            assert set(slices.labels[folds.split(fold).validation]) == {0, 1, 2}
