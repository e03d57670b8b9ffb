"""Shortcuts: what alone tells the classes of new cases, and what a version says of it."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.inputs.labelled import of_cases
from trainer.data.cases import Cases
from trainer.data.dataset import Slices
from trainer.data.image_measures import MEASURES
from trainer.evaluation.shortcuts import Shortcut, find_shortcuts, shortcut_warnings


def noisy_slices(cases: int) -> tuple[Slices, Cases]:
    """Slices that differ by class in the noise of soft tissue, and in nothing else that is measured."""
    slices, truth = of_cases({label: [2] * cases for label in range(3)})
    measures = np.random.default_rng(0).normal(100, 10, (len(slices), len(MEASURES)))
    measures[:, MEASURES.index("soft tissue noise")] = 20 - 6 * slices.labels
    return replace(slices, measures=measures), Cases(truth, "known")


def found(balanced_accuracy: float, lower: float, clue: str = "noise") -> Shortcut:
    """What was found of a clue."""
    return Shortcut(
        clue=clue, measures=(clue,), balanced_accuracy=balanced_accuracy, interval=(lower, 0.9), chance=1 / 3, recall={}
    )


@pytest.mark.slow
def test_the_noise_of_soft_tissue_is_a_clue() -> None:
    """Where it differs by class, it tells every new case, and what does not differ tells nothing."""
    shortcuts = {one.clue: one for one in find_shortcuts(*noisy_slices(6))}
    assert shortcuts["noise of soft tissue"].balanced_accuracy == 1
    assert shortcuts["noise of soft tissue"].is_telling
    assert not shortcuts["noise"].is_telling


def test_single_cases_leave_nothing_to_test() -> None:
    """A class with one case has none to test on."""
    assert find_shortcuts(*noisy_slices(1)) == ()


def test_a_clue_that_tells_clearly_is_warned_of() -> None:
    """One sentence, on the clue that tells most, with its figure, chance, and the model's own."""
    (warning,) = shortcut_warnings([found(0.62, 0.53), found(0.72, 0.6, "noise of soft tissue")], 0.81)
    assert warning == (
        "By noise of soft tissue alone, the classes of new cases are told apart with a balanced accuracy of 0.72 "
        "(chance 0.33, this model 0.81): the model may judge scanners, not disease."
    )


def test_a_clue_near_the_models_own_figure_is_warned_of() -> None:
    """Hardly above chance, but so is the model."""
    assert shortcut_warnings([found(0.45, 0.35)], 0.48)


@pytest.mark.parametrize(("balanced_accuracy", "lower"), [(0.47, 0.37), (0.8, 0.3)])
def test_a_clue_that_tells_little_is_not_warned_of(balanced_accuracy: float, lower: float) -> None:
    """Far below the model and hardly above chance, or so uncertain that it may be chance."""
    assert shortcut_warnings([found(balanced_accuracy, lower)], 0.81) == ()
