"""Training with single slices held out, as published figures on such data are made: optimistic, and labelled so."""

import logging

import numpy as np
from pydantic import JsonValue, TypeAdapter

from shared.artifact import DISTANCE_NAME, FAMILIARITY_NAME
from trainer.data.balance import balanced
from trainer.data.dataset import Dataset
from trainer.data.splits import OPTIMISTIC_WARNING, Split, split_by_image
from trainer.evaluation.calibration import softmax
from trainer.evaluation.metrics import evaluate
from trainer.export.ensemble import assemble
from trainer.publishing.plots import confusion_matrix, training_history
from trainer.settings import FROM_SCRATCH, TrainerSettings
from trainer.trained_model import TrainedModel, make_record
from trainer.training.chest_gate import fit_gate
from trainer.training.familiarity import fit_familiarity
from trainer.training.fit import History
from trainer.training.from_scratch import fit_network, taken_apart
from trainer.training.learner import make_learner
from trainer.training.members import Member

logger = logging.getLogger(__name__)


def train_by_image(dataset: Dataset, settings: TrainerSettings) -> TrainedModel:
    """One network, or one head on frozen features. Raises TooFewSlices or WeightsError."""
    seed = settings.seed if settings.split_seed is None else settings.split_seed
    split = split_by_image(dataset.labels, settings.balance_of_network, settings.validation_share, seed)
    logger.info("Split image: %d slices train, %d are held out", len(split.training), len(split.validation))
    logger.warning("%s", OPTIMISTIC_WARNING)
    member, history, parameters = _fit(dataset, split, settings)
    probabilities = softmax(member.logits(split.validation))
    metrics = evaluate(dataset.labels[split.validation], probabilities, dataset.classes, settings.seed)
    title = f"{settings.model_name}, network {settings.network}"
    of_training, familiarity = fit_familiarity(dataset, np.arange(len(dataset)), [member], [split])
    of_chest, gate = fit_gate(dataset, [member], [split])
    distances = {DISTANCE_NAME: of_chest, FAMILIARITY_NAME: of_training}
    model = assemble([member], 1.0, name=settings.network if history else "ensemble", distances=distances)
    training: dict[str, JsonValue] = {"parameters": parameters or model.count_params()}
    plots = {"confusion_matrix.png": confusion_matrix(metrics, title)}
    if history:
        training |= {
            "epochs": len(history.loss),
            "best_epoch": history.best_epoch,
            "history": TypeAdapter(History).dump_python(history, mode="json"),
        }
        plots["training_history.png"] = training_history(history, title)
    record = make_record(
        dataset,
        settings,
        split={**split.record, "held_out_twins": dataset.twins(split.training, split.validation)},
        warnings=split.warnings,
        metrics=metrics.model_dump(mode="json"),
        training=training,
        gate=gate,
        familiarity=familiarity,
    )
    return TrainedModel(model, metrics, record, plots)


def _fit(dataset: Dataset, split: Split, settings: TrainerSettings) -> tuple[Member, History | None, int | None]:
    """The member; for a network from scratch also its history, whose best epoch the held-out slices chose, and size."""
    if settings.network not in FROM_SCRATCH:
        # a held-out slice's neighbours train: every slice counts as a case of its own
        learner = make_learner(dataset, np.arange(len(dataset)), settings)
        return learner.fit(split.training, split.validation, settings.seed), None, None
    balance = settings.balance_of_network
    # undersampling was part of the split: held-out slices follow it
    rows = balanced(dataset.labels, split.training, "none" if balance == "undersample" else balance, settings.seed)
    model, history = fit_network(dataset, rows, split.validation, settings, settings.seed)
    return taken_apart(model, dataset.seen), history, model.count_params()
