"""Manifest and outcome → what is answered for one slice, whoever asks."""

from dataclasses import asdict

from service.answers.warnings import WITHHELD, warnings_of
from service.inference.chest_gate import Predicted
from service.schemas import Decision, Familiarity, Prediction, ServedVariant
from shared.artifact import Manifest


def prediction_of(
    manifest: Manifest, predicted: Predicted, request_id: str, frame: int | None, *, variant: ServedVariant
) -> Prediction:
    """The answer for one slice. frame: the one that was asked for, counted from 1. variant: what gave the answer."""
    names, probabilities = manifest.classes.names, predicted.probabilities.tolist()
    every = dict(zip(names, probabilities, strict=True))
    called, rules = names[int(predicted.probabilities.argmax())], manifest.thresholds
    decision = Decision(**dict(rules.decide(probabilities))) if rules else None
    kept = rules and list(rules.prediction_set(probabilities))
    if decision and predicted.is_withheld:
        decision = decision.model_copy(update={"verdict": "uncertain", "reason": WITHHELD})
        kept = list(names)
    return Prediction(
        prediction=called,
        confidence=every[called],
        all_predictions=every,
        decision=decision,
        prediction_set=kept,
        familiarity=predicted.familiarity and Familiarity(**asdict(predicted.familiarity)),
        model_version=manifest.model_version,
        variant=variant,
        request_id=request_id,
        warnings=warnings_of(manifest, predicted, frame, decision.verdict if decision else None),
    )
