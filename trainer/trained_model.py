"""A trained model with all that is said of it, before it is published."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import openvino as ov
from pydantic import JsonValue

from shared.chest_ct import ChestGate
from shared.decisions import DecisionRules
from shared.familiarity import FamiliarityRules
from shared.variant import Variant, VariantName
from trainer.data.dataset import Dataset
from trainer.evaluation.metrics import Metrics
from trainer.evaluation.out_of_fold import OutOfFold
from trainer.networks.pretrained import weights_licence
from trainer.publishing.model_record import ModelRecord
from trainer.settings import FROM_SCRATCH, TrainerSettings

PHANTOM_WARNING = "Demo model: trained on synthetic phantoms; it has never seen a patient."


@dataclass(frozen=True)
class TrainedModel:
    """model: uint8 [B, H, W, 1] → named outputs, probabilities float32 [B, classes] among them.

    plots: PNG bytes by file name. out_of_fold: None where cases were not held apart. variants: their models, likewise.
    """

    model: keras.Model
    metrics: Metrics
    record: ModelRecord
    plots: dict[str, bytes]
    out_of_fold: OutOfFold | None = None
    variants: Mapping[VariantName, ov.Model] = field(default_factory=dict)


def make_record(
    dataset: Dataset,
    settings: TrainerSettings,
    *,
    split: dict[str, JsonValue],
    warnings: tuple[str, ...],
    metrics: dict[str, JsonValue],
    training: dict[str, JsonValue],
    gate: ChestGate,
    familiarity: FamiliarityRules,
    rules: DecisionRules | None = None,
    variants: Mapping[VariantName, Variant] | None = None,
) -> ModelRecord:
    """What is known of a model but for the time its run took. training: in addition to what the settings say."""
    return ModelRecord(
        architecture=settings.network,
        classes=dataset.classes,
        preprocessing=settings.preprocessing,
        dataset=dataset.describe(),
        split=split,
        metrics=metrics,
        thresholds=rules,
        chest_gate=gate,
        familiarity=familiarity,
        variants=dict(variants or {}),
        training={
            **training_record(settings),
            "weights_licence": weights_licence(settings.network, settings.weights),
            **training,
        },
        warnings=warnings_of(dataset, warnings),
        seed=settings.seed,
        duration_s=0.0,
    )


def warnings_of(dataset: Dataset, warnings: tuple[str, ...]) -> tuple[str, ...]:
    """What stands in every answer: the warnings, and where no patient was seen that."""
    return (PHANTOM_WARNING, *warnings) if dataset.kind == "phantoms" else warnings


def training_record(settings: TrainerSettings) -> dict[str, JsonValue]:
    """How members were fitted, for the manifest: what the settings came to for the network."""
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
        "loss": "cross-entropy",
    }
