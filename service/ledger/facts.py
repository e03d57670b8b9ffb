"""What of a request is written into the ledger: a digest of its input, and what was answered by which model."""

import hashlib
import hmac
import secrets
from typing import Any

from service.model.serving_model import ServingModel
from service.schemas import Prediction


class InputDigests:
    """Keyed digests of inputs (HMAC-SHA-256).

    Without the key nobody can tell from a ledger whether a slice that he has was asked about. Without a key file the
    key is drawn at start and forgotten at the end: then equal inputs are known as equal only within one run.
    """

    def __init__(self, key: bytes | None) -> None:
        key = key or secrets.token_bytes(32)
        self.begin = hmac.new(key, digestmod=hashlib.sha256).copy
        """A digest of nothing yet, to be fed while an input arrives."""
        self.key_id = hmac.new(key, b"key id", hashlib.sha256).hexdigest()[:16]
        """Tells lines of one key from those of another, and nothing of the key."""


def facts_of(model: ServingModel, prediction: Prediction) -> dict[str, Any]:
    """What is written of an answer: which model gave it, under which rules, and what it was."""
    decision = prediction.decision
    return {
        "model_version": model.version,
        "variant": model.variant,
        "model": model.digest,
        "preprocessing": model.preprocessing_digest,
        "operating_point": decision and decision.operating_point,
        "outcome": prediction.prediction,
        "verdict": decision and decision.verdict,
    }
