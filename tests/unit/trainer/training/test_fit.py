"""Balance, split and fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.classes import LUNG_CT_CLASSES, ClassSet
from trainer.data.balance import balanced, class_weights, oversample, undersample
from trainer.data.dataset import Dataset
from trainer.data.splits import Split, TooFewSlices, split_by_image
from trainer.settings import BalanceName, TrainerSettings
from trainer.training.fit import History
from trainer.training.from_scratch import fit_network

LABELS = np.repeat([0, 1, 2], [30, 10, 60])


def test_undersample_takes_the_smallest_class_s_count_of_each() -> None:
    """Every class keeps as many slices as the smallest has, none twice, the same ones for the same seed."""
    rows = undersample(LABELS, np.random.default_rng(1))
    assert np.bincount(LABELS[rows]).tolist() == [10, 10, 10]
    assert len(set(rows.tolist())) == 30
    np.testing.assert_array_equal(rows, undersample(LABELS, np.random.default_rng(1)))
    assert rows.tolist() != undersample(LABELS, np.random.default_rng(2)).tolist()


def test_oversample_repeats_evenly() -> None:
    """Every class reaches the largest one's count; within a class no slice comes two times more often than another."""
    rows = oversample(LABELS, np.random.default_rng(1))
    assert np.bincount(LABELS[rows]).tolist() == [60, 60, 60]
    times = np.bincount(rows)
    for label in range(3):
        of_class = times[label == LABELS]
        assert of_class.min() >= 1
        assert of_class.max() - of_class.min() <= 1


def test_class_weights_make_classes_weigh_the_same() -> None:
    """Weight times count is equal over classes, and the mean weight of a slice is 1; an absent class weighs 0."""
    weights = class_weights(LABELS, 4)
    sums = [weights[label] * count for label, count in enumerate((30, 10, 60))]
    np.testing.assert_allclose(sums, sums[0])
    assert weights[3] == 0
    np.testing.assert_allclose(np.mean([class_weights(LABELS, 3)[label] for label in LABELS]), 1)


def test_image_split_balances_first_and_is_stratified() -> None:
    """With undersampling both sides hold each class in equal numbers, 80 to 20, and share no slice."""
    split = split_by_image(LABELS, "undersample", 0.2, seed=5)
    assert np.bincount(LABELS[split.training]).tolist() == [8, 8, 8]
    assert np.bincount(LABELS[split.validation]).tolist() == [2, 2, 2]
    assert not set(split.training) & set(split.validation)


@pytest.mark.parametrize("balance", ["oversample", "class-weight", "none"])
def test_other_balances_hold_out_what_there_is(balance: BalanceName) -> None:
    """Without undersampling every slice is used once, and the held-out slices have the data's own proportions."""
    split = split_by_image(LABELS, balance, 0.2, seed=5)
    assert sorted([*split.training, *split.validation]) == list(range(100))
    assert np.bincount(LABELS[split.validation]).tolist() == [6, 2, 12]


def test_image_split_says_that_it_is_optimistic() -> None:
    """The record and the warnings carry the protocol, the seed, and the word."""
    split = split_by_image(LABELS, "none", 0.2, seed=5)
    assert split.record["protocol"] == "image"
    assert split.record["optimistic"] is True
    assert split.record["seed"] == 5
    assert "optimistic" in split.warnings[0]


def test_the_split_seed_decides_the_split() -> None:
    """The same seed gives the same slices, another one others."""
    first, again, other = (split_by_image(LABELS, "undersample", 0.2, seed).validation.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_too_few_slices_to_hold_out() -> None:
    """A class of four slices cannot be split; the error says how many there are."""
    with pytest.raises(TooFewSlices, match="smallest has 4"):
        split_by_image(np.repeat([0, 1], [4, 50]), "none", 0.2, seed=0)


def squares(count: int, classes: ClassSet = LUNG_CT_CLASSES, side: int = 32) -> Dataset:
    """A dataset that a network learns within a few epochs: noise, with a square whose brightness is the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % len(classes.names)
    images = rng.integers(0, 30, (count, side, side, 1), np.uint8)
    images[:, 8:24, 8:24] += (labels * 80).astype(np.uint8)[:, None, None, None]
    digests = tuple(f"{index:064x}" for index in range(count))
    return Dataset(
        images=images, labels=labels, digests=digests, files=digests, classes=classes, kind="slices",
        thumbnails=np.zeros((count, 64, 64), np.uint8),
    )  # fmt: skip


def fit(dataset: Dataset, split: Split, settings: TrainerSettings) -> tuple[Any, History]:
    """A network fitted to one part of a split, its best epoch chosen by the other."""
    rows = balanced(dataset.labels, split.training, settings.balance or "none", settings.seed)
    return fit_network(dataset, rows, split.validation, settings, settings.seed)


SETTINGS = TrainerSettings(network="tiny", epochs=12, image_side=32, learning_rate=0.01, patience=12)


@pytest.mark.slow
def test_fit_learns_and_repeats_itself() -> None:
    """The network learns an easy task, and the same seed on the same data gives the same figures to the last bit."""
    dataset = squares(60)
    split = split_by_image(dataset.labels, "none", 0.2, seed=0)
    (model, history), (again, same) = fit(dataset, split, SETTINGS), fit(dataset, split, SETTINGS)
    held_out = dataset.images[split.validation]
    probabilities = model.predict_on_batch(held_out)
    assert np.mean(probabilities.argmax(axis=1) == dataset.labels[split.validation]) > 0.9
    assert history == same
    np.testing.assert_array_equal(probabilities, again.predict_on_batch(held_out))


@pytest.mark.slow
def test_light_augmentation_repeats_itself_too() -> None:
    """Jitter and MixUp hang on the seed alone: two fits give the same history to the last bit."""
    dataset = squares(30)
    split = split_by_image(dataset.labels, "none", 0.2, seed=0)
    light = SETTINGS.model_copy(update={"augmentation": "light", "epochs": 2})
    _, first = fit(dataset, split, light)
    assert first == fit(dataset, split, light)[1]
    assert first.loss != fit(dataset, split, SETTINGS.model_copy(update={"epochs": 2}))[1].loss


@pytest.mark.slow
def test_curves_of_a_network_from_scratch_are_written(tmp_path: Path) -> None:
    """Where a folder for them is given, an event file in a folder of the seed has something of each epoch."""
    settings = SETTINGS.model_copy(update={"epochs": 2, "seed": 3, "log_dir": tmp_path / "logs"})
    fit(squares(30), split_by_image(squares(30).labels, "none", 0.2, seed=0), settings)
    (file,) = (tmp_path / "logs" / "seed-3").glob("events.out.tfevents.*")
    assert file.read_bytes().count(b"val_accuracy") == 2


@pytest.mark.slow
def test_the_best_epoch_s_weights_are_restored() -> None:
    """The model that fit() returns scores on the held-out slices what its history says of the best epoch."""
    dataset = squares(60)
    split = split_by_image(dataset.labels, "none", 0.2, seed=0)
    model, history = fit(dataset, split, SETTINGS.model_copy(update={"learning_rate": 0.05, "epochs": 6}))
    best = history.best_epoch - 1
    probabilities = model.predict_on_batch(dataset.images[split.validation])
    accuracy = np.mean(probabilities.argmax(axis=1) == dataset.labels[split.validation])
    assert accuracy == pytest.approx(history.validation_accuracy[best]) == max(history.validation_accuracy)


@pytest.mark.slow
def test_training_stops_when_nothing_gets_better() -> None:
    """After `patience` epochs without a better one the remaining epochs are not run."""
    dataset = squares(30)
    split = split_by_image(dataset.labels, "none", 0.2, seed=0)
    still = SETTINGS.model_copy(update={"learning_rate": 1e-12, "epochs": 20, "patience": 2})
    _, history = fit(dataset, split, still)
    assert len(history.loss) == history.best_epoch + 2


@pytest.mark.slow
@pytest.mark.parametrize("balance", ["oversample", "class-weight"])
def test_balances_train(balance: BalanceName) -> None:
    """Both ways that keep every slice run through a fit of unequal classes, of another class set."""
    dataset = squares(40, ClassSet(names=("A", "B"), target="B"))
    few = dataset.only(np.concatenate([np.flatnonzero(dataset.labels == 0), np.flatnonzero(dataset.labels == 1)[:6]]))
    split = split_by_image(few.labels, balance, 0.2, seed=0)
    model, history = fit(few, split, SETTINGS.model_copy(update={"balance": balance, "epochs": 1}))
    assert model.output_shape == (None, 2)
    assert len(history.validation_loss) == 1
