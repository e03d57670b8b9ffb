"""A trained model with all that is said of it, before it is published."""

from dataclasses import dataclass

import keras
from pydantic import JsonValue

from trainer.data.dataset import Dataset
from trainer.evaluation.metrics import Metrics
from trainer.evaluation.out_of_fold import OutOfFold
from trainer.publishing.model_record import ModelRecord
from trainer.settings import FROM_SCRATCH, TrainerSettings

PHANTOM_WARNING = "Demo model: trained on synthetic phantoms; it has never seen a patient."


@dataclass(frozen=True)
class TrainedModel:
    """model: uint8 [B, H, W, 1] → float32 [B, classes]. out_of_fold: None where cases were not held apart."""

    model: keras.Model
    metrics: Metrics
    facts: ModelRecord
    figures: dict[str, bytes]
    out_of_fold: OutOfFold | None = None


def warnings_of(dataset: Dataset, of_split: tuple[str, ...]) -> tuple[str, ...]:
    """What must be said wherever the model answers."""
    return (PHANTOM_WARNING, *of_split) if dataset.kind == "phantoms" else of_split


def training_record(settings: TrainerSettings) -> dict[str, JsonValue]:
    """How members were fitted: what the settings came to for the network."""
    if settings.is_frozen:
        return {"learning": "frozen", "weights": settings.weights, "head": settings.head}
    of_gradient: dict[str, JsonValue] = {
        "balance": settings.balance_of_network,
        "optimizer": "adam",
        "learning_rate": settings.adam_learning_rate,
        "batch_size": settings.batch_size,
        "augmentation": settings.augmentation_of_network,
        "patience": settings.patience,
    }
    if settings.network in FROM_SCRATCH:
        return {"learning": "from-scratch", **of_gradient}
    return {
        "learning": "fine-tuning",
        "weights": settings.weights,
        **of_gradient,
        "epochs": settings.epochs,
        "unfrozen": settings.unfrozen,
        "loss": settings.loss,
        "label_smoothing": settings.label_smoothing,
    }
