"""What the benchmarks of the trainer reckon with: changes of a slice, draws of cases, and a line that is continued."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.training.changes import CHANGES
from benchmarks.training.learning_curve import accuracies, some_cases, times_the_cases
from benchmarks.training.stress import Judged, compare, settings_of, stress, table
from shared.imaging import PreprocessingSpec, to_tensor
from tests.support.inputs.slices import grey_slice
from trainer.phantoms.phantom import write_phantoms

SPEC = PreprocessingSpec(crop="body-mask", intensity="anchored")
OUTSIDE_THE_BODY = ("border, black", "border, grey", "border, white", "letterbox 16:9", "table erased")


def on_a_table() -> np.ndarray:
    """uint8 [256, 256]: a body that lies a little above a table."""
    grey = grey_slice()
    cv2.rectangle(grey, (40, 240), (216, 245), 120, cv2.FILLED)
    return grey


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "unchanged"])
def test_each_change_changes_a_slice_and_keeps_it_a_slice(name: str) -> None:
    """A change that did nothing would make a table of zeros."""
    grey = on_a_table()
    changed = CHANGES[name](grey)
    assert changed.dtype == np.uint8
    assert changed.shape != grey.shape or (changed != grey).any()
    assert (CHANGES[name](grey) == changed).all()


@pytest.mark.parametrize("name", OUTSIDE_THE_BODY)
def test_what_surrounds_the_body_does_not_reach_the_network(name: str) -> None:
    """Borders, letterboxes and an erased table give the very tensor of the slice as it was."""
    grey = on_a_table()
    assert (to_tensor(CHANGES[name](grey), SPEC) == to_tensor(grey, SPEC)).all()


def test_vessels_are_brightened_and_lungs_are_not() -> None:
    """Only soft tissue between and in the lungs gains; lung, bone and air stay."""
    grey = grey_slice()
    gain = CHANGES["vessels brighter"](grey).astype(int) - grey
    assert (gain >= 0).all()
    assert gain.max() > 20
    assert (gain > 20).mean() < 0.5


def test_flips_and_shares_are_counted_against_unchanged_answers() -> None:
    """Two of four argmaxes change, one of them to or from the target class."""
    labels = np.array([0, 0, 1, 2])
    before = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    after = before[[0, 2, 2, 0]]
    one = compare("x", Judged(labels, np.full(4, 0.5), target=2), before, after)
    assert (one.flips, one.target_flips) == (0.5, 0.25)
    assert (one.accuracy, one.sensitivity, one.specificity) == (0.5, 0.0, 1.0)
    assert one.balanced_accuracy == pytest.approx((0.5 + 1 + 0) / 3)
    assert "| x | 2/4 (50.0%) | 25.0% | 0.500 |" in table([one], "C")


@pytest.mark.slow
def test_every_change_has_a_row_and_the_first_one_changes_nothing(tmp_path: Path) -> None:
    """From the folder to the table, on phantoms: each slice is changed, and judged by who saw none of it."""
    write_phantoms(tmp_path, cases_per_class=4, slices_per_case=2, seed=0)
    options = ["--network", "tiny", "--epochs", "1", "--folds", "2", "--image-side", "64"]
    found = stress(tmp_path, settings_of(options), every=4)
    assert [one.change for one in found] == list(CHANGES)
    assert {one.n for one in found} == {6}
    assert (found[0].flips, found[0].target_shift) == (0, 0)
    assert any(one.target_shift for one in found)


def test_a_share_of_cases_is_whole_cases_of_every_class() -> None:
    """Half of six and of four cases: three and two, each with all of its slices."""
    groups = np.repeat(np.arange(10), 3)
    labels = (groups >= 6).astype(np.int64)
    rows, counts = some_cases(np.arange(30), labels, groups, 0.5, np.random.default_rng(0))
    assert counts == [3, 2]
    assert len(rows) == 15
    assert all((groups[rows] == case).sum() == 3 for case in np.unique(groups[rows]))


def test_a_line_over_doublings_is_continued_to_the_aim() -> None:
    """0.04 a doubling, 0.08 missing: four times the cases; a flat line never gets there, a higher one is there."""
    cases = np.array([10.0, 20.0, 40.0])
    figures = np.array([[0.60, 0.64, 0.68], [0.6, 0.6, 0.6], [0.8, 0.8, 0.8]])
    assert times_the_cases(figures, cases, 0.76) == pytest.approx([4.0, np.inf, 1.0])


def test_weights_of_slices_move_the_accuracies() -> None:
    """A slice that is drawn twice counts twice."""
    right = np.array([[1.0, 0.0, 1.0]])
    labels = np.array([0, 0, 1])
    found = accuracies(right, labels, np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]]))
    assert found["accuracy"].ravel() == pytest.approx([2 / 3, 3 / 4])
    assert found["balanced accuracy"].ravel() == pytest.approx([3 / 4, 5 / 6])
