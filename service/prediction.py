"""Bytes → probabilities: a place in the queue, decoding off the event loop, a share of a batch."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.batching import MicroBatcher
from service.metrics import Metrics
from service.serving_model import ServingModel, batch_sizes
from service.settings import ServiceSettings
from shared.imaging import SliceTensor, read_slice
from shared.raster import ImageBytes, RasterLimits

Probabilities = NDArray[np.float32]
Batcher = MicroBatcher[ServingModel, SliceTensor, Probabilities]


def infer(model: ServingModel, slices: Sequence[SliceTensor]) -> list[Probabilities]:
    """One batch of one model: slices uint8 [H, W, 1] → for each, float32 [C]."""
    return list(model.engine.infer(np.stack(slices)))


@dataclass(frozen=True)
class Predictor:
    """What turns image bytes into probabilities under load."""

    batcher: Batcher
    decoding: ThreadPoolExecutor
    limits: RasterLimits
    metrics: Metrics

    async def predict(self, body: ImageBytes, model: ServingModel) -> Probabilities:
        """float32 [C] for one slice, in a place that the caller has reserved in the batcher.

        Raises shared.raster.SliceError or service.batching.BatchFailed.
        """
        loop = asyncio.get_running_loop()
        tensor = await loop.run_in_executor(self.decoding, self._decode, body, model)
        return await self.batcher.submit(model, tensor)

    def _decode(self, body: ImageBytes, model: ServingModel) -> SliceTensor:
        started = time.perf_counter()
        tensor = read_slice(body, model.manifest.preprocessing, self.limits)
        self.metrics.decode_seconds.observe(time.perf_counter() - started)
        return tensor


def build_predictor(settings: ServiceSettings, metrics: Metrics, decode_threads: int) -> Predictor:
    """One inference at a time, which uses all cores; a decoding thread for each core feeds it."""
    return Predictor(
        batcher=MicroBatcher(
            infer,
            ThreadPoolExecutor(1, "inference"),
            sizes=batch_sizes(settings.max_batch_size),
            max_queue=settings.max_queue,
            observer=metrics,
        ),
        decoding=ThreadPoolExecutor(decode_threads, "decoding"),
        limits=RasterLimits(max_pixels=settings.max_pixels),
        metrics=metrics,
    )
