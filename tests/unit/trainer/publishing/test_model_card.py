"""The model card: what a person must know, with no share that lacks its interval."""

import re
from typing import Any

import numpy as np
import pytest

from shared.chest_ct import ChestGate
from shared.classes import LUNG_CT_CLASSES
from shared.familiarity import FamiliarityRules, KnownCases
from shared.imaging import PreprocessingSpec
from shared.variant import Variant
from tests.support.decision_rules import rules
from tests.support.inputs.labelled import answers
from trainer.evaluation.comparison import Difference
from trainer.evaluation.intervals import wilson
from trainer.evaluation.metrics import evaluate
from trainer.evaluation.operating_points import choose_rules
from trainer.evaluation.shortcuts import Shortcut
from trainer.evaluation.stress import Stress, stress
from trainer.evaluation.variant_comparison import VariantComparison
from trainer.publishing.model_card import model_card
from trainer.publishing.model_record import ModelRecord

SHORTCUT = Shortcut(
    clue="noise", measures=("noise",), balanced_accuracy=0.62, interval=(0.53, 0.69), chance=1 / 3, recall={}
)


def record(**overrides: Any) -> ModelRecord:
    """What is known of a model of nine slices."""
    fields = {
        "architecture": "tiny",
        "classes": LUNG_CT_CLASSES,
        "preprocessing": PreprocessingSpec(height=32, width=32),
        "dataset": {"kind": "slices", "n": 9, "counts": {"Normal cases": 9}, "digest": "d" * 64},
        "split": {"protocol": "image", "seed": 4, "training_slices": 7, "validation_slices": 2, "note": "Beware."},
        "metrics": {},
        "seed": 1,
        "duration_s": 2.0,
    }
    return ModelRecord(**{**fields, **overrides})


@pytest.fixture(scope="module")
def of_cases() -> ModelRecord:
    """What a run with whole cases held out knows of a model that is nearly always right, and how a view misleads it."""
    labels, probabilities, groups, folds = answers(cases=(6, 5, 6), size=2, gain=8.0)
    metrics = evaluate(labels, probabilities, LUNG_CT_CLASSES, groups=groups)
    stressed = stress(
        labels,
        groups,
        LUNG_CT_CLASSES,
        probabilities=probabilities,
        views={"acquired": np.concatenate([np.roll(probabilities[:4], 1, axis=1), probabilities[4:]])},
        thresholds=np.full(len(labels), 0.5),
        operating_point="high_sensitivity",
    )
    split = {
        "protocol": "case", "groups": "inferred", "n_groups": dict(zip(LUNG_CT_CLASSES.names, (6, 5, 6), strict=True)),
        "folds": 5, "seed": 1, "digest": "d",
    }  # fmt: skip
    return record(
        split=split,
        metrics={
            **metrics.model_dump(mode="json"),
            "shortcuts": [SHORTCUT.model_dump(mode="json")],
            "stress": stressed.model_dump(mode="json"),
        },
        thresholds=choose_rules(labels, probabilities, groups, folds, LUNG_CT_CLASSES),
    )


def test_figures_stand_by_slice_and_by_case(of_cases: ModelRecord) -> None:
    """One line a figure; both levels have their intervals, which one sentence explains."""
    card, held_out = model_card(of_cases), Stress.model_validate(of_cases.metrics["stress"]).as_it_is
    assert "## Results on 34 held-out slices of 17 cases" in card
    for figure, label in ((held_out.accuracy, "Accuracy"), (held_out.balanced_accuracy, "Balanced accuracy")):
        assert figure is not None
        levels = (figure.by_slice, figure.by_case)
        cells = [f"{one.value:.3f} ({one.interval[0]:.3f} to {one.interval[1]:.3f})" for one in levels]
        assert f"| {label} | {' | '.join(cells)} |" in card
    assert "by case each case does" in card


def test_no_share_of_one_stands_without_an_interval(of_cases: ModelRecord) -> None:
    """1.000 is followed by the interval that so few cases leave, also where a class was found without a mistake."""
    card = model_card(of_cases)
    assert re.search(r"Recall: Normal cases, 12 slices \| 1\.000 \(0\.6\d\d to 1\.000\)", card)
    assert card.count("1.000") > 4
    rest = re.sub(r"\d\.\d+ \(\d\.\d+ to \d\.\d+\)", "", card)
    assert not re.search(r"\b1\.0+\b", rest)


def test_sets_are_as_sure_as_their_cases_allow(of_cases: ModelRecord) -> None:
    """Measured coverage has Wilson's interval on the number of the class's cases."""
    held = of_cases.thresholds.prediction_sets.measured_coverage["Benign cases"]
    lower, upper = wilson(5 * held, 5)
    assert f"Benign cases {held:.3f} ({lower:.3f} to {upper:.3f})" in model_card(of_cases)


def test_what_it_could_have_learnt_instead_stands_beside_what_it_scored(of_cases: ModelRecord) -> None:
    """Each clue's figure above the model's own, and views beside slices as they are, with the answers that flip."""
    card = model_card(of_cases)
    section = card[card.index("## What it could have learnt instead") :]
    assert "above chance (0.33)" in section
    assert section.index("| noise | 0.620 (0.530 to 0.690) |") < section.index("| this model | ")
    assert "| | As they are, by slice | View `acquired`, by slice |" in section
    assert re.search(r"\| Answers that flip \| - \| 0\.118 \(", section)


def test_the_card_says_what_is_unfamiliar_and_what_is_refused() -> None:
    """How many unseen slices are called unfamiliar, why, and what happens then; how many are refused, and of views."""
    known = FamiliarityRules(
        limit=0.015,
        cases=KnownCases(centres=((0.0,) * 6,) * 3, classes=(0, 1, 2), spread=(1.0,) * 6),
        acquisition_unit=1,
        texture_unit=1,
        levels=(0, 1),
        figures={
            "unseen_slices": 858, "unfamiliar_unseen": 0.014, "unfamiliar_by_acquisition": 0.009,
            "unfamiliar_by_texture": 0.008,
        },
    )  # fmt: skip
    gate = ChestGate(
        max_distance=2.5,
        figures={
            "unseen_slices": 858, "refused_unseen_by_distance": 0.002, "refused_by_image_limits": 0.0,
            "refused_views": {"shown": 0.011},
        },
    )  # fmt: skip
    card = model_card(record(familiarity=known, chest_gate=gate))
    assert "with 3 training cases" in card
    assert "Below a score of 1.5% it is unfamiliar. Of 858 slices that were held out" in card
    assert "1.4% are called so: 0.9% for how they were acquired and shown, 0.8% for their features" in card
    assert "gets the verdict `uncertain`" in card
    assert "further than 2.50" in card
    assert "the distance refuses 1.1% (`shown`)" in card


def test_the_card_tells_the_licence_of_the_weights() -> None:
    """What the record says; a network that learns from scratch has no such section."""
    assert "weights\n\nApache-2.0." in model_card(record(training={"weights_licence": "Apache-2.0."}))
    assert "Licence" not in model_card(record())


def test_the_card_says_what_matters() -> None:
    """Never for diagnosis, the warnings, the data, the split's note, and each figure with its interval."""
    labels = np.array([0, 1, 2, 2])
    metrics = evaluate(labels, np.eye(3, dtype=np.float32)[[0, 1, 2, 1]], LUNG_CT_CLASSES)
    card = model_card(record(metrics=metrics.model_dump(mode="json"), warnings=("It is optimistic.",)))
    for text in ("Never for diagnosis", "- It is optimistic.", "| Normal cases | 9 |", "Beware.", "Malignant cases"):
        assert text in card
    lower, upper = metrics.intervals.accuracy
    assert f"| Accuracy | 0.750 ({lower:.3f} to {upper:.3f}) | - |" in card


def test_the_card_of_folds_says_how_cases_were_found() -> None:
    """By case: the split names its cases and whether they were guessed; intervals by case say so."""
    labels, groups = np.repeat([0, 1, 2], 4), np.arange(12) // 2
    metrics = evaluate(labels, np.eye(3)[labels], LUNG_CT_CLASSES, groups=groups)
    split = {
        "protocol": "case", "groups": "inferred", "n_groups": {"Normal cases": 2}, "folds": 5, "seed": 1, "digest": "d",
    }  # fmt: skip
    card = model_card(record(metrics=metrics.model_dump(mode="json"), split=split))
    assert "no slice of its case" in card
    assert "guessed" in card
    assert "draws of whole cases" in card
    assert "| Malignant cases: Sensitivity at 90 % specificity | 1.000 (0.342 to 1.000) |" in card


def test_the_card_shows_calibration_and_operating_points() -> None:
    """Temperature, calibration error before and after, and a line an operating point with its intervals."""
    labels = np.repeat([0, 1, 2], 4)
    calibration = {"temperature": 2.217, "ece_before": 0.21, "ece_after": 0.04}
    metrics = evaluate(labels, np.eye(3)[labels], LUNG_CT_CLASSES).model_dump(mode="json")
    card = model_card(record(metrics={**metrics, "calibration": calibration}, thresholds=rules()))
    assert "One temperature, 2.22, divides" in card
    assert "0.210 before and 0.040 after" in card
    point = "0.970 (0.900 to 1.000) | - | 0.900 (0.800 to 0.950) | - |"
    assert f"| `high_sensitivity` (default) | 0.2000 | {point}" in card
    assert "| `specificity_95` | 0.6000 |" in card
    assert "From 0.2000 to 0.6000 the verdict is `uncertain`" in card


def test_the_card_of_phantoms_calls_them_phantoms() -> None:
    """Nobody reads drawn slices as scans."""
    card = model_card(record(dataset={"kind": "phantoms", "n": 3, "counts": {}}))
    assert "3 synthetic phantoms" in card
    assert "labelled slices" not in card


def test_a_variant_stands_beside_float32(of_cases: ModelRecord) -> None:
    """Figures of both with their intervals, the paired differences, and whether it may serve."""
    alike = Difference(value=-0.002, interval=(-0.01, 0.006))
    comparison = VariantComparison(
        n=34, n_cases=17, balanced_accuracy=alike, accuracy=alike, sensitivity=alike, specificity=alike, ece=0.004,
        chest_gate_agreement=1.0, familiarity_agreement=0.98,
    )  # fmt: skip
    variant = Variant(
        may_serve=False,
        comparison={**comparison.model_dump(mode="json"), "reason": comparison.reason},
        metrics=of_cases.metrics,
        thresholds=of_cases.thresholds,
        chest_gate=None,
        familiarity=None,
        golden_tolerance=0.05,
    )
    card = model_card(of_cases.model_copy(update={"variants": {"int8": variant}}))
    assert "## Variant `int8`" in card
    assert "| | float32 (95 %) | int8 (95 %) | Difference (95 %) |" in card
    assert re.search(
        r"\| Accuracy \| [01]\.\d+ \([^)]*\) \| [01]\.\d+ \([^)]*\) \| -0\.002 \(-0\.010 to \+0\.006\) \|", card
    )
    assert re.search(r"\| Sensitivity at `high_sensitivity` \| [^|]*\) \| [^|]*\) \| -0\.002", card)
    assert "It may not serve: familiarity agrees on 98.0% of the slices" in card
    assert "Variant" not in model_card(of_cases)
