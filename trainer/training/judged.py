"""Members of all folds, and everything that a manifest says of a model of them: measured on cases they had not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from shared.artifact import DISTANCE_NAME, FAMILIARITY_NAME
from shared.chest_ct import ChestGate
from shared.decisions import DecisionRules
from shared.familiarity import FamiliarityRules
from trainer.data.dataset import Dataset
from trainer.data.splits import Folds, Split
from trainer.evaluation.calibration import softmax
from trainer.evaluation.metrics import Metrics, evaluate
from trainer.evaluation.operating_points import choose_rules, held_out_thresholds
from trainer.evaluation.shortcuts import Shortcut, shortcut_warnings
from trainer.evaluation.stress import stress
from trainer.evaluation.variant_comparison import HeldOutAnswers
from trainer.networks.feature_distance import FeatureDistance
from trainer.networks.heads import Matrix
from trainer.settings import TrainerSettings
from trainer.training.chest_gate import fit_gate
from trainer.training.cross_validation import CrossValidated, cross_validate
from trainer.training.familiarity import fit_familiarity
from trainer.training.members import Learner, Member
from trainer.training.noise_reversed import judge_noise_reversed
from trainer.training.work_folder import WorkFolder


@dataclass(frozen=True)
class Judged:
    """Fitted members, one a fold, with their limits and rules, and what these are worth.

    distances: by the name of the model's output, one a member. figures: the manifest's metrics. uncalibrated: the
    out-of-fold probabilities before the temperature, float64 [n, classes].
    """

    members: tuple[Member, ...]
    temperature: float
    distances: dict[str, tuple[FeatureDistance, ...]]
    metrics: Metrics
    figures: dict[str, JsonValue]
    warnings: tuple[str, ...]
    rules: DecisionRules
    gate: ChestGate
    familiarity: FamiliarityRules
    uncalibrated: NDArray[np.float64]
    held_out: HeldOutAnswers


def fit_and_judge(
    dataset: Dataset,
    folds: Folds,
    learner: Learner,
    settings: TrainerSettings,
    *,
    shortcuts: Sequence[Shortcut],
    work: WorkFolder,
    kept_as: str = "fold",
) -> Judged:
    """Fold by fold, then temperature, operating points and prediction sets from what each fold said to unseen cases.

    shortcuts: what tells the classes apart without any network. kept_as: name of the members in the work folder.
    """
    groups, target = folds.cases.groups, dataset.classes.names.index(dataset.classes.target)
    is_target = dataset.labels == target
    result = cross_validate(dataset, folds, learner, settings, work, kept_as=kept_as)
    calibrated, probabilities, uncalibrated = result.calibrated, result.calibrated.probabilities, softmax(result.logits)
    before, after = (
        evaluate(dataset.labels, answers, dataset.classes, settings.seed, groups)
        for answers in (uncalibrated, probabilities)
    )
    splits = [folds.split(fold) for fold in range(len(folds))]
    of_training, familiarity = fit_familiarity(dataset, groups, result.members, splits)
    of_chest, gate = fit_gate(dataset, result.members, splits)
    views = tuple(result.viewed.values())
    rules = choose_rules(
        dataset.labels, probabilities, groups, folds.fold_of, dataset.classes, views=views, seed=settings.seed
    )
    point = rules.operating_points[rules.operating_point]
    scores = [one[:, target] for one in (probabilities, *views)]
    thresholds = held_out_thresholds(rules.operating_point, is_target, scores, groups, folds.fold_of)
    stressed = stress(
        dataset.labels,
        groups,
        dataset.classes,
        probabilities=probabilities,
        views=result.viewed,
        thresholds=thresholds,
        operating_point=rules.operating_point,
        seed=settings.seed,
    )
    contradicted = None
    if settings.is_frozen:  # another training takes seconds
        contradicted = judge_noise_reversed(
            dataset, groups, lambda rows: learner.fit(rows, None, settings.seed), calibrated.temperature, point
        )
    is_refused, is_familiar = _limits(dataset, result, splits, (of_chest, gate), (of_training, familiarity))
    return Judged(
        members=result.members,
        temperature=calibrated.temperature,
        distances={DISTANCE_NAME: of_chest, FAMILIARITY_NAME: of_training},
        metrics=after,
        figures={
            **after.model_dump(mode="json"),
            "before_calibration": _of_probabilities(before),
            "calibration": calibrated.record(result.logits, dataset.labels),
            "shortcuts": [one.model_dump(mode="json") for one in shortcuts],
            "stress": stressed.model_dump(mode="json"),
            "noise_reversed": contradicted.model_dump(mode="json") if contradicted else None,
        },
        warnings=(
            *folds.warnings,
            *shortcut_warnings(shortcuts, after.balanced_accuracy),
            *stressed.warnings(),
            *(contradicted.warnings(dataset.classes.target, point) if contradicted else ()),
        ),
        rules=rules,
        gate=gate,
        familiarity=familiarity,
        uncalibrated=uncalibrated,
        held_out=HeldOutAnswers(probabilities, scores[0] >= thresholds, is_refused, is_familiar),
    )


def _limits(
    dataset: Dataset,
    result: CrossValidated,
    splits: Sequence[Split],
    chest: tuple[tuple[FeatureDistance, ...], ChestGate],
    training: tuple[tuple[FeatureDistance, ...], FamiliarityRules],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Bool [n] each: what lies too far off for a chest slice, and what is familiar, by members that had not seen it."""
    (of_chest, gate), (of_training, familiarity) = chest, training
    far, texture = (_held_out(len(dataset), result, splits, distances) for distances in (of_chest, of_training))
    every = zip(far.tolist(), texture.tolist(), dataset.acquisitions, strict=True)
    said = [(gate.is_too_far(off), familiarity.judge(how, grain).is_familiar) for off, grain, how in every]
    is_refused, is_familiar = np.array(said, np.bool_).T
    return is_refused, is_familiar


def _held_out(n: int, result: CrossValidated, splits: Sequence[Split], distances: Sequence[FeatureDistance]) -> Matrix:
    """Distance of each slice by the member that it was held out of, float64 [n]."""
    far = np.empty(n)
    for member, split, distance in zip(result.members, splits, distances, strict=True):
        far[split.validation] = distance.of(member.features_of(split.validation))
    return far


def _of_probabilities(metrics: Metrics) -> dict[str, JsonValue]:
    """The figures that calibration may change; no prediction does."""
    ends = metrics.intervals
    return {
        "brier": metrics.brier,
        "ece": metrics.ece,
        "intervals": {"brier": list(ends.brier), "ece": list(ends.ece)},
    }
