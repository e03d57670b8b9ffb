"""The gate: worse beyond chance stays out; everything else passes, and the reason says why."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.inputs.labelled import answers
from tests.support.model_repository import ModelRepository
from trainer.evaluation.out_of_fold import OUT_OF_FOLD_FILE, OutOfFold, out_of_fold
from trainer.publishing.quality_gate import compare, judge

NAMES = ("Normal cases", "Benign cases", "Malignant cases")


def judged(gain: float, seed: int = 0, rows: slice = slice(None), names: tuple[str, ...] = NAMES) -> OutOfFold:
    """Out-of-fold probabilities of a model that is the better the higher the gain."""
    labels, probabilities, groups, _ = answers(seed=seed, gain=gain)
    digests = tuple(f"{row:064x}" for row in range(len(labels)))
    return out_of_fold(names, digests[rows], labels[rows], groups[rows], probabilities[rows])


@pytest.fixture
def repository(tmp_path: Path, tiny_network_repository: Path) -> ModelRepository:
    """An empty repository into which versions with out-of-fold probabilities are put."""
    original = tiny_network_repository / "lung-ct" / "1"
    return ModelRepository(tmp_path / "models", (original, original))


def put(repository: ModelRepository, number: int, kept: OutOfFold | None) -> None:
    folder = repository.publish(number)
    if kept is not None:
        (folder / OUT_OF_FOLD_FILE).write_text(kept.model_dump_json())
        repository.sign_off(folder)


def test_worse_beyond_chance(repository: ModelRepository) -> None:
    """A model that is much worse is told so with figures; force is recorded, and changes nothing about the finding."""
    put(repository, 1, judged(4.0))
    verdict = judge(judged(0.3), repository.model_dir)
    assert verdict.is_worse
    assert not verdict.is_forced
    assert verdict.version == 1
    assert verdict.comparison.balanced_accuracy.interval[1] < 0
    assert verdict.reason.startswith("Worse than version 1 beyond chance: balanced accuracy -0.")
    assert "on 510 slices of 85 cases" in verdict.reason
    assert judge(judged(0.3), repository.model_dir, is_forced=True).is_forced


@pytest.mark.parametrize(("gain", "seed"), [(4.0, 0), (2.0, 0), (1.9, 5)])
def test_better_or_no_worse_beyond_chance(repository: ModelRepository, gain: float, seed: int) -> None:
    """A better model passes, an equal one, and one whose deficit chance explains."""
    put(repository, 1, judged(2.0))
    verdict = judge(judged(gain, seed), repository.model_dir, is_forced=True)
    assert not verdict.is_worse
    assert not verdict.is_forced
    assert verdict.reason.startswith("Not worse than version 1")


def test_the_pinned_version_counts_else_the_newest_valid_one(repository: ModelRepository) -> None:
    """The comparison is with what services serve."""
    put(repository, 1, judged(4.0))
    put(repository, 2, judged(0.3))
    assert judge(judged(0.4), repository.model_dir).version == 2
    repository.pin(1)
    assert judge(judged(0.4), repository.model_dir).is_worse
    repository.pin(None)
    (repository.version_dir(2) / "saved_model.pb").write_bytes(b"broken")
    assert judge(judged(0.4), repository.model_dir).version == 1


def test_nothing_to_compare_with(repository: ModelRepository) -> None:
    """No version, a pinned one that is gone, or one without out-of-fold probabilities: said, and let pass."""
    assert judge(judged(2.0), repository.model_dir).reason == "There is no version yet to compare with."
    put(repository, 1, None)
    verdict = judge(judged(2.0), repository.model_dir)
    assert (verdict.is_worse, verdict.version) == (False, 1)
    assert verdict.reason == "Not compared: version 1 has no out-of-fold probabilities."
    assert "this run has no" in judge(None, repository.model_dir).reason
    repository.pin(7)
    assert "Version 7 is not in the repository" in judge(judged(2.0), repository.model_dir).reason


def test_other_classes_are_not_compared(repository: ModelRepository) -> None:
    """The same order of the same names, or no comparison."""
    put(repository, 1, judged(2.0))
    assert "other classes" in judge(judged(2.0, names=("a", "b", "c")), repository.model_dir).reason


def test_too_little_in_common(repository: ModelRepository) -> None:
    """Few common slices, or a class of few common cases, say nothing, and the reason says so."""
    put(repository, 1, judged(4.0))
    few = judge(judged(0.3, rows=slice(0, None, 40)), repository.model_dir)
    assert not few.is_worse
    assert "fewer than 30 slices, or 3 cases of a class" in few.reason
    one_class = judged(0.3, rows=slice(0, 192))  # thirty cases of the first class, two of the second
    assert compare(one_class, judged(4.0)) is None


def test_only_common_slices_count(repository: ModelRepository) -> None:
    """Slices that one of them never saw change nothing; order does not matter."""
    put(repository, 1, judged(2.0, rows=slice(None, None, -1)))
    whole, part = judged(1.0), judged(1.0, rows=slice(0, None, 2))
    assert judge(whole, repository.model_dir).comparison.n == 510
    found = judge(part, repository.model_dir).comparison
    assert found.n == 255
    expected = np.array([np.argmax(row) for row in part.probabilities]) == part.labels
    other = judged(2.0, rows=slice(0, None, 2))
    theirs = np.array([np.argmax(row) for row in other.probabilities]) == other.labels
    assert found.accuracy.value == pytest.approx(expected.mean() - theirs.mean())
