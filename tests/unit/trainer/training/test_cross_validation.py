"""Cross-validation: each slice judged by a member that saw none of its case; figures that calibration leaves alone."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES
from tests.support.inputs.labelled import of_cases
from trainer.data.cases import Cases
from trainer.data.dataset import AS_IS, Dataset
from trainer.data.splits import Folds, hold_out_to_stop, split_by_case
from trainer.data.views import ACQUIRED, SHOWN
from trainer.evaluation.calibration import softmax
from trainer.evaluation.metrics import evaluate
from trainer.networks.heads import LinearMap
from trainer.settings import TrainerSettings
from trainer.training.cross_validation import cross_validate
from trainer.training.members import Member
from trainer.training.work_folder import WorkFolder

FROZEN, STOPPING = TrainerSettings(seed=3), TrainerSettings(network="cnn", seed=3)


@dataclass(frozen=True)
class Remembering(Member):
    """A member that is sure of the label of every slice it was fitted to, and says the first class of all others.

    Of views, it says the second class.
    """

    training: np.ndarray = field(kw_only=True)
    labels: np.ndarray = field(kw_only=True)

    def logits(self, rows: np.ndarray, view: str = AS_IS) -> np.ndarray:
        known = np.eye(3)[self.labels[rows]] * 9
        otherwise = [1.0, 0.0, 0.0] if view == AS_IS else [0.0, 1.0, 0.0]
        return np.where(np.isin(rows, self.training)[:, None], known, otherwise)

    def save(self, file: Path) -> None:
        file.write_text(" ".join(map(str, self.training)))


def remembering(training: np.ndarray, labels: np.ndarray) -> Remembering:
    nothing = LinearMap(np.zeros((1, 3), np.float32), np.zeros(3, np.float32))
    return Remembering(None, nothing, {}, training=training, labels=labels)


class Recorder:
    """A learner that writes down what it was given."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels
        self.calls: list[tuple[np.ndarray, np.ndarray | None, int]] = []

    def fit(self, training: np.ndarray, validation: np.ndarray | None, seed: int) -> Remembering:
        self.calls.append((training, validation, seed))
        return remembering(training, self.labels)

    def load(self, file: Path) -> Remembering:
        return remembering(np.array(file.read_text().split(), int), self.labels)


@pytest.fixture
def work() -> tuple[Dataset, Folds]:
    """A dataset of seven cases a class and its folds."""
    slices, truth = of_cases({label: [3] * 7 for label in range(3)})
    dataset = Dataset(
        images=np.zeros((len(truth), 8, 8, 1), np.uint8),
        labels=slices.labels,
        digests=slices.digests,
        files=slices.files,
        skipped=(),
        classes=LUNG_CT_CLASSES,
        kind="slices",
        thumbnails=slices.thumbnails,
    )
    return dataset, split_by_case(dataset, Cases(truth, "known"), 3, seed=1)


def test_no_member_judges_what_it_was_fitted_to(work: tuple[Dataset, Folds]) -> None:
    """A member that remembers all it saw knows nothing of the held-out slices; each fold has its own seed."""
    dataset, folds = work
    learner = Recorder(dataset.labels)
    result = cross_validate(dataset, folds, learner, FROZEN)
    np.testing.assert_array_equal(result.logits, np.tile([1.0, 0.0, 0.0], (len(dataset), 1)))
    assert [seed for _, _, seed in learner.calls] == [3, 4, 5]
    for fold, (training, validation, _) in enumerate(learner.calls):
        assert validation is None
        np.testing.assert_array_equal(training, np.flatnonzero(folds.fold_of != fold))


def test_views_are_judged_by_members_that_saw_none_of_their_case(work: tuple[Dataset, Folds]) -> None:
    """Calibrated by the temperature of the other folds, like the slices; without views there is nothing."""
    dataset, folds = work
    assert cross_validate(dataset, folds, Recorder(dataset.labels), FROZEN).viewed == {}
    seen = replace(dataset, views={ACQUIRED: dataset.images, SHOWN: dataset.images})
    result = cross_validate(seen, folds, Recorder(dataset.labels), FROZEN)
    assert list(result.viewed) == [ACQUIRED]
    temperatures = np.asarray(result.calibrated.of_folds)[folds.fold_of, np.newaxis]
    expected = softmax(np.tile([0.0, 1.0, 0.0], (len(dataset), 1)) / temperatures)
    np.testing.assert_allclose(result.viewed[ACQUIRED], expected)
    np.testing.assert_array_equal(result.logits, np.tile([1.0, 0.0, 0.0], (len(dataset), 1)))


def test_what_stops_early_stops_by_training_cases(work: tuple[Dataset, Folds]) -> None:
    """The slices to stop by are whole cases out of the training part, of every class."""
    dataset, folds = work
    learner = Recorder(dataset.labels)
    cross_validate(dataset, folds, learner, STOPPING)
    groups = folds.cases.groups
    for fold, (training, to_stop, _) in enumerate(learner.calls):
        assert not set(groups[training]) & set(groups[to_stop])
        assert set(np.concatenate([training, to_stop])) == set(np.flatnonzero(folds.fold_of != fold))
        assert set(dataset.labels[to_stop]) == {0, 1, 2}


def test_one_case_of_a_class_is_not_set_aside(work: tuple[Dataset, Folds]) -> None:
    """Where a class would be left without a case, all rows train and there is nothing to stop by."""
    dataset, folds = work
    groups = np.where(dataset.labels == 1, 99, folds.cases.groups)
    rows = np.arange(len(dataset))
    training, to_stop = hold_out_to_stop(dataset.labels, groups, rows, seed=0)
    assert to_stop is None
    np.testing.assert_array_equal(training, rows)


def test_figures_are_by_case_and_calibration_changes_no_prediction(work: tuple[Dataset, Folds]) -> None:
    """Both sets of figures know the number of cases; accuracy stays, Brier and ECE may not."""
    dataset, folds = work
    result = cross_validate(dataset, folds, Recorder(dataset.labels), FROZEN)
    before, after = (
        evaluate(dataset.labels, answers, dataset.classes, 0, folds.cases.groups)
        for answers in (softmax(result.logits), result.calibrated.probabilities)
    )
    assert before.n_cases == after.n_cases == 21
    assert before.confusion == after.confusion
    assert after.ece < before.ece


def test_a_resumed_run_fits_only_what_is_missing(work: tuple[Dataset, Folds], tmp_path: Path) -> None:
    """Folds of a run that was cut off are taken up, and the result is that of a run that was not."""
    dataset, folds = work
    whole = cross_validate(dataset, folds, Recorder(dataset.labels), FROZEN)
    first = WorkFolder(tmp_path, "a" * 16, is_resumed=False)
    cross_validate(dataset, folds, Recorder(dataset.labels), FROZEN, first)
    first.close()
    (first.path / "fold-1.npz").unlink()
    learner = Recorder(dataset.labels)
    again = cross_validate(dataset, folds, learner, FROZEN, WorkFolder(tmp_path, "a" * 16, is_resumed=True))
    assert [seed for _, _, seed in learner.calls] == [4]
    np.testing.assert_array_equal(again.logits, whole.logits)
    np.testing.assert_array_equal(again.calibrated.probabilities, whole.calibrated.probabilities)
