"""Manifest and outcome → what is answered for one slice, whoever asks."""

from service.answers.warnings import warnings_of
from service.inference.chest_gate import Predicted
from service.schemas import Decision, Prediction
from shared.artifact import Manifest


def prediction_of(manifest: Manifest, predicted: Predicted, request_id: str, frame: int | None) -> Prediction:
    """The answer for one slice. frame: the one that was asked for, counted from 1."""
    names, probabilities = manifest.classes.names, predicted.probabilities.tolist()
    every = dict(zip(names, probabilities, strict=True))
    called, rules = names[int(predicted.probabilities.argmax())], manifest.thresholds
    return Prediction(
        prediction=called,
        confidence=every[called],
        all_predictions=every,
        decision=rules and Decision(**dict(rules.decide(probabilities))),
        prediction_set=rules and list(rules.prediction_set(probabilities)),
        model_version=manifest.model_version,
        request_id=request_id,
        warnings=warnings_of(manifest, predicted, frame),
    )
