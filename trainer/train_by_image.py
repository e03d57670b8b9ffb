"""Training with single slices held out, as published figures on such data are made: optimistic, and labelled so."""

import logging

import numpy as np
from pydantic import JsonValue, TypeAdapter

from shared.chest_ct import ChestGate
from trainer.data.dataset import Dataset
from trainer.data.splits import OPTIMISTIC_WARNING, Split, split_by_image
from trainer.evaluation.calibration import softmax
from trainer.evaluation.metrics import evaluate
from trainer.export.ensemble import assemble
from trainer.publishing.model_record import ModelRecord
from trainer.publishing.plots import confusion_matrix, draw_figures
from trainer.settings import FROM_SCRATCH, TrainerSettings
from trainer.trained_model import TrainedModel, training_record, warnings_of
from trainer.training.chest_gate import fit_gate
from trainer.training.fit import History, fit
from trainer.training.from_scratch import taken_apart
from trainer.training.learner import make_learner

logger = logging.getLogger(__name__)


def train_by_image(dataset: Dataset, settings: TrainerSettings) -> TrainedModel:
    """One network, or one head on frozen features. Raises TooFewSlices or WeightsError."""
    seed = settings.seed if settings.split_seed is None else settings.split_seed
    split = split_by_image(dataset.labels, settings.balance_of_network, settings.validation_share, seed)
    logger.info("Split image: %d slices train, %d are held out", len(split.training), len(split.validation))
    logger.warning("%s", OPTIMISTIC_WARNING)
    if settings.network in FROM_SCRATCH:
        return _from_scratch(dataset, split, settings)
    # a held-out slice's neighbours train: every slice counts as a case of its own
    learner = make_learner(dataset, np.arange(len(dataset)), settings)
    member = learner.fit(split.training, split.validation, settings.seed)
    probabilities = softmax(member.logits(split.validation))
    chest = fit_gate(dataset, [member], [split])
    model = assemble([member], 1.0, distances=chest.distances)
    metrics = evaluate(dataset.labels[split.validation], probabilities, dataset.classes, settings.seed)
    training: dict[str, JsonValue] = {**training_record(settings), "parameters": model.count_params()}
    facts = _facts(dataset, split, metrics.model_dump(mode="json"), training, settings, gate=chest.gate)
    return TrainedModel(model, metrics, facts, {"confusion_matrix.png": confusion_matrix(metrics, _title(settings))})


def _from_scratch(dataset: Dataset, split: Split, settings: TrainerSettings) -> TrainedModel:
    trained = fit(dataset, split, settings)
    member = taken_apart(trained.model, dataset.images)
    probabilities = softmax(member.logits(split.validation))
    metrics = evaluate(dataset.labels[split.validation], probabilities, dataset.classes, settings.seed)
    history: JsonValue = TypeAdapter(History).dump_python(trained.history, mode="json")
    training: dict[str, JsonValue] = {
        **training_record(settings),
        "epochs": len(trained.history.loss),
        "best_epoch": trained.history.best_epoch,
        "parameters": trained.model.count_params(),
        "history": history,
    }
    chest = fit_gate(dataset, [member], [split])
    model = assemble([member], 1.0, name=settings.network, distances=chest.distances)
    facts = _facts(dataset, split, metrics.model_dump(mode="json"), training, settings, gate=chest.gate)
    return TrainedModel(model, metrics, facts, draw_figures(trained.history, metrics, _title(settings)))


def _title(settings: TrainerSettings) -> str:
    return f"{settings.model_name}, network {settings.network}"


def _facts(
    dataset: Dataset,
    split: Split,
    metrics: dict[str, JsonValue],
    training: dict[str, JsonValue],
    settings: TrainerSettings,
    *,
    gate: ChestGate,
) -> ModelRecord:
    twins: JsonValue = dataset.twins(split.training, split.validation)
    return ModelRecord(
        architecture=settings.network,
        classes=dataset.classes,
        preprocessing=settings.preprocessing,
        dataset=dataset.describe(),
        split={**split.record, "held_out_twins": twins},
        metrics=metrics,
        chest_gate=gate,
        training=training,
        warnings=warnings_of(dataset, split.warnings),
        seed=settings.seed,
        duration_s=0.0,
    )
