"""A serving model whose engine does what a test tells it, for tests that need no real network."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from service.engines.base import Pace
from service.model.serving_model import ServingModel
from shared.artifact import OUTPUT_NAME, Manifest
from shared.classes import LUNG_CT_CLASSES
from shared.golden import Golden
from shared.imaging import PreprocessingSpec

SPEC = PreprocessingSpec(height=32, width=32)


class FakeEngine:
    """Answers each slice with a softmax over its mean brightness; fails, lies or waits where told."""

    name, precision = "fake", "f32"

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.fails_with: Exception | None = None
        self.lie = 0.0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def infer_single(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return self.infer(image)

    def replay(self, images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        yield self.infer(images)

    def infer_with_attention(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return self.infer(images)

    def infer(self, images: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(len(images))
        self.may_answer.wait(60)
        if self.fails_with:
            raise self.fails_with
        brightness = images.mean(axis=(1, 2, 3)) / 255
        logits = np.stack([brightness, 1 - brightness + self.lie, np.full(len(images), 0.3)], axis=1)
        return {OUTPUT_NAME: (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)}


def fake_model(engine: FakeEngine | None = None, version: int = 1) -> ServingModel:
    """A model of 32 x 32 slices with two golden ones."""
    engine = engine or FakeEngine()
    images = np.stack([np.full((32, 32, 1), grey, np.uint8) for grey in (10, 200)])
    answers = FakeEngine().infer(images)[OUTPUT_NAME]
    manifest = Manifest(
        model_name="lung-ct", model_version=version, created=datetime.now(UTC), architecture="fake",
        classes=LUNG_CT_CLASSES, preprocessing=SPEC, dataset={}, split={}, metrics={}, golden_tolerance=1e-3, seed=0,
        libraries={}, duration_s=0, files={},
    )  # fmt: skip
    arguments: dict[str, Any] = {"golden": Golden(images=images, probabilities=answers)}
    return ServingModel(manifest=manifest, engine=engine, pace=Pace(batch_size=4), **arguments)
