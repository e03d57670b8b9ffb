"""Training with whole cases held out: one model of all folds' members, and figures that hold for new cases."""

from pydantic import JsonValue

from shared.variant import VariantName
from trainer.data.dataset import Dataset
from trainer.data.splits import Folds
from trainer.evaluation.out_of_fold import out_of_fold
from trainer.evaluation.shortcuts import find_shortcuts
from trainer.export.ensemble import assemble
from trainer.publishing.plots import confusion_matrix, reliability
from trainer.settings import FROM_SCRATCH, TrainerSettings
from trainer.trained_model import TrainedModel, make_record
from trainer.trained_variant import TrainedVariant, train_int8
from trainer.training.frozen_features import FrozenFeatures
from trainer.training.judged import fit_and_judge
from trainer.training.learner import make_learner
from trainer.training.work_folder import WorkFolder


def train_by_case(dataset: Dataset, folds: Folds, settings: TrainerSettings, work: WorkFolder) -> TrainedModel:
    """Fit and judge members, and once more as the variant int8 where the settings ask for it.

    The figures are those of single members; the model averages all of them. Raises WeightsError.
    """
    groups = folds.cases.groups
    learner = make_learner(dataset, groups, settings, work)
    shortcuts = find_shortcuts(dataset, folds.cases, settings.seed)
    judged = fit_and_judge(dataset, folds, learner, settings, shortcuts=shortcuts, work=work)
    variants: dict[VariantName, TrainedVariant] = {}
    if settings.makes_int8 and isinstance(learner, FrozenFeatures):
        int8 = train_int8(dataset, folds, learner, settings, shortcuts=shortcuts, work=work, reference=judged)
        variants |= {"int8": int8} if int8 else {}
    model = assemble(judged.members, judged.temperature, distances=judged.distances)
    epochs: dict[str, JsonValue] = {"epochs": settings.epochs} if settings.network in FROM_SCRATCH else {}
    record = make_record(
        dataset,
        settings,
        split=folds.record,
        warnings=judged.warnings,
        metrics=judged.figures,
        training={**epochs, "members": len(judged.members), "parameters": model.count_params()},
        gate=judged.gate,
        familiarity=judged.familiarity,
        rules=judged.rules,
        variants={name: one.variant for name, one in variants.items()},
    )
    title = f"{settings.model_name}, network {settings.network}, out of fold"
    probabilities = judged.held_out.probabilities
    plots = {
        "confusion_matrix.png": confusion_matrix(judged.metrics, title),
        "reliability.png": reliability(dataset.labels, judged.uncalibrated, probabilities, title),
    }
    kept = out_of_fold(dataset.classes.names, dataset.digests, dataset.labels, groups, probabilities)
    models = {name: one.model for name, one in variants.items()}
    return TrainedModel(model, judged.metrics, record, plots, kept, models)
