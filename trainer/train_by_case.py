"""Training with whole cases held out: one model of all folds' members, and figures that hold for new cases."""

from pydantic import JsonValue

from shared.artifact import DISTANCE_NAME, FAMILIARITY_NAME
from trainer.data.dataset import Dataset
from trainer.data.splits import Folds
from trainer.evaluation.calibration import softmax
from trainer.evaluation.metrics import Metrics, evaluate
from trainer.evaluation.operating_points import choose_rules, held_out_thresholds
from trainer.evaluation.out_of_fold import out_of_fold
from trainer.evaluation.shortcuts import find_shortcuts, shortcut_warnings
from trainer.evaluation.stress import Stress, stress
from trainer.export.ensemble import assemble
from trainer.publishing.plots import confusion_matrix, reliability
from trainer.settings import FROM_SCRATCH, TrainerSettings
from trainer.trained_model import TrainedModel, make_record
from trainer.training.chest_gate import fit_gate
from trainer.training.cross_validation import CrossValidated, cross_validate
from trainer.training.familiarity import fit_familiarity
from trainer.training.learner import make_learner
from trainer.training.noise_reversed import judge_noise_reversed
from trainer.training.work_folder import WorkFolder


def train_by_case(dataset: Dataset, folds: Folds, settings: TrainerSettings, work: WorkFolder) -> TrainedModel:
    """Fold by fold, then temperature, operating points and prediction sets from what each fold said to unseen cases.

    The figures are those of single members; the model averages all of them. Raises WeightsError.
    """
    groups = folds.cases.groups
    learner = make_learner(dataset, groups, settings, work)
    result = cross_validate(dataset, folds, learner, settings, work)
    calibrated, probabilities, uncalibrated = result.calibrated, result.calibrated.probabilities, softmax(result.logits)
    before, after = (
        evaluate(dataset.labels, answers, dataset.classes, settings.seed, groups)
        for answers in (uncalibrated, probabilities)
    )
    splits = [folds.split(fold) for fold in range(len(folds))]
    of_training, familiarity = fit_familiarity(dataset, groups, result.members, splits)
    of_chest, gate = fit_gate(dataset, result.members, splits)
    distances = {DISTANCE_NAME: of_chest, FAMILIARITY_NAME: of_training}
    shortcuts = find_shortcuts(dataset, folds.cases, settings.seed)
    rules = choose_rules(
        dataset.labels,
        probabilities,
        groups,
        folds.fold_of,
        dataset.classes,
        views=tuple(result.viewed.values()),
        seed=settings.seed,
    )
    stressed = _stress(dataset, folds, result, rules.operating_point, settings.seed)
    point = rules.operating_points[rules.operating_point]
    contradicted = None
    if settings.is_frozen:  # another training takes seconds
        contradicted = judge_noise_reversed(
            dataset, groups, lambda rows: learner.fit(rows, None, settings.seed), calibrated.temperature, point
        )
    model = assemble(result.members, calibrated.temperature, distances=distances)
    epochs: dict[str, JsonValue] = {"epochs": settings.epochs} if settings.network in FROM_SCRATCH else {}
    record = make_record(
        dataset,
        settings,
        split=folds.record,
        warnings=(
            *folds.warnings,
            *shortcut_warnings(shortcuts, after.balanced_accuracy),
            *stressed.warnings(),
            *(contradicted.warnings(dataset.classes.target, point) if contradicted else ()),
        ),
        metrics={
            **after.model_dump(mode="json"),
            "before_calibration": _of_probabilities(before),
            "calibration": calibrated.record(result.logits, dataset.labels),
            "shortcuts": [one.model_dump(mode="json") for one in shortcuts],
            "stress": stressed.model_dump(mode="json"),
            "noise_reversed": contradicted.model_dump(mode="json") if contradicted else None,
        },
        training={**epochs, "members": len(result.members), "parameters": model.count_params()},
        gate=gate,
        familiarity=familiarity,
        rules=rules,
    )
    title = f"{settings.model_name}, network {settings.network}, out of fold"
    plots = {
        "confusion_matrix.png": confusion_matrix(after, title),
        "reliability.png": reliability(dataset.labels, uncalibrated, probabilities, title),
    }
    kept = out_of_fold(dataset.classes.names, dataset.digests, dataset.labels, groups, probabilities)
    return TrainedModel(model, after, record, plots, kept)


def _stress(dataset: Dataset, folds: Folds, result: CrossValidated, operating_point: str, seed: int) -> Stress:
    """Thresholds of the other folds, chosen as those that are published."""
    target, answers = dataset.classes.names.index(dataset.classes.target), result.calibrated.probabilities
    scores = [one[:, target] for one in (answers, *result.viewed.values())]
    groups, is_target = folds.cases.groups, dataset.labels == target
    return stress(
        dataset.labels,
        groups,
        dataset.classes,
        probabilities=answers,
        views=result.viewed,
        thresholds=held_out_thresholds(operating_point, is_target, scores, groups, folds.fold_of),
        operating_point=operating_point,
        seed=seed,
    )


def _of_probabilities(metrics: Metrics) -> dict[str, JsonValue]:
    """The figures that calibration may change; no prediction does."""
    ends = metrics.intervals
    return {
        "brier": metrics.brier,
        "ece": metrics.ece,
        "intervals": {"brier": list(ends.brier), "ece": list(ends.ece)},
    }
