"""Asks the serving model a question whose answer is known, through the same queue as everybody's.

An engine that broke would else be found by a caller, and one that recovered by nobody: no caller is sent to a service
that is not ready.
"""

import asyncio
import logging
import weakref
from dataclasses import dataclass

import numpy as np

from service.health.readiness import Readiness
from service.inference.batching import BatchFailed
from service.inference.chest_gate import Prepared
from service.inference.places import QueueFull
from service.inference.predictor import Predictor
from service.model.hot_reload import HotReload
from shared.golden import Golden, GoldenMismatch

log = logging.getLogger("lungct.self_check")


@dataclass(frozen=True)
class SelfCheck:
    """Keeps readiness true while nobody asks. Whether the engine fails at all is counted where batches end."""

    reload: HotReload
    predictor: Predictor
    readiness: Readiness
    interval_s: float

    async def run(self) -> None:
        """Check until cancelled."""
        self.readiness.self_checked()
        while True:
            await asyncio.sleep(self.interval_s)
            try:
                await self.check()
            except Exception:
                log.exception("a self-check broke")
            else:
                self.readiness.self_checked()

    async def check(self) -> None:
        """Replay one golden slice, where a model serves and there is a place."""
        model, batcher = self.reload.serving, self.predictor.batcher
        if model is None:
            return
        try:
            batcher.places.reserve(patience_s=self.interval_s)
        except QueueFull:
            return  # enough others ask
        try:
            answer = await batcher.submit(model, Prepared(model.golden.images[0], doubts=None))
        except BatchFailed:
            return
        finally:
            batcher.places.release()
        known = Golden(images=model.golden.images[:1], probabilities=model.golden.probabilities[:1])
        try:
            if isinstance(answer, Exception):
                raise GoldenMismatch(str(answer))
            known.compare(answer.probabilities[np.newaxis], model.manifest.golden_tolerance)
        except GoldenMismatch as error:
            log.error("wrong answer", extra={"model_version": model.version, "reason": str(error)})  # noqa: TRY400
            self.readiness.wrong_model = weakref.ref(model)
        else:
            self.readiness.wrong_model = None
