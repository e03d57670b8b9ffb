"""The int8 variant of a model whose heads are fitted on frozen features: fitted and judged on what will be served."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import openvino as ov

from shared.variant import Variant
from trainer.data.dataset import Dataset
from trainer.data.splits import Folds
from trainer.evaluation.shortcuts import Shortcut
from trainer.evaluation.variant_comparison import compare_variant
from trainer.export.ensemble import assemble
from trainer.export.openvino_ir import join
from trainer.networks.openvino_network import to_openvino
from trainer.settings import TrainerSettings
from trainer.trained_model import warnings_of
from trainer.training.frozen_features import FrozenFeatures
from trainer.training.judged import Judged, fit_and_judge
from trainer.training.quantized_features import quantize_features
from trainer.training.work_folder import WorkFolder

logger = logging.getLogger(__name__)

INT8_TOLERANCE = 0.05
"""What a service may differ from the answers at publishing. Rounding to 8 bits makes much of little: where a processor
rounds a last digit otherwise, layers further on round to other steps. On the default network that moved probabilities
by up to 0.03, and neither batches nor threads moved any (docs/decisions/014-int8-variant.md).
"""


@dataclass(frozen=True)
class TrainedVariant:
    """What the manifest says of a variant, and its model, image uint8 [B, H, W, 1] → named outputs."""

    variant: Variant
    model: ov.Model


def train_int8(
    dataset: Dataset,
    folds: Folds,
    learner: FrozenFeatures,
    settings: TrainerSettings,
    *,
    shortcuts: Sequence[Shortcut],
    work: WorkFolder,
    reference: Judged,
) -> TrainedVariant | None:
    """Quantize the network, ask it about all slices and views, and fit and judge once more.

    learner, reference: what was fitted on the features in float32, and its worth, which decides whether the variant
    may serve. None where the quantized network cannot tell slices apart, as may be with weights that nobody trained.
    """
    quantized = quantize_features(learner.network, dataset.seen, work)
    if not quantized.tells_slices_apart:
        logger.warning("Variant int8: left out, for the quantized network says the same of every slice")
        return None
    logger.info("Variant int8: fitted and judged once more, on what the quantized network says")
    judged = fit_and_judge(
        dataset,
        folds,
        learner.on(quantized.features),
        settings,
        shortcuts=shortcuts,
        work=work,
        kept_as="int8-fold",
    )
    target = dataset.classes.names.index(dataset.classes.target)
    comparison = compare_variant(
        judged.held_out, reference.held_out, dataset.labels, folds.cases.groups, target=target, seed=settings.seed
    )
    logger.log(logging.WARNING if comparison.objections else logging.INFO, "Variant int8: %s", comparison.reason)
    heads = assemble(judged.members, judged.temperature, distances=judged.distances)
    variant = Variant(
        may_serve=not comparison.objections,
        comparison={**comparison.model_dump(mode="json"), "reason": comparison.reason},
        metrics=judged.figures,
        thresholds=judged.rules,
        chest_gate=judged.gate,
        familiarity=judged.familiarity,
        warnings=warnings_of(dataset, judged.warnings),
        golden_tolerance=INT8_TOLERANCE,
    )
    return TrainedVariant(variant, join(quantized.network, to_openvino(heads)))
