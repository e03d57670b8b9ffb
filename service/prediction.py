"""Bytes → probabilities: a share of a batch, decoded just before it is computed.

Decoding a batch on all cores and then inferring it on all cores keeps the cores together: decoding beside the inference
would stall each layer's slowest thread, and all others with it. What takes long to decode is decoded aside, in a thread
of its own, so that a huge image delays no neighbour.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from service.batching import MicroBatcher
from service.metrics import Metrics
from service.serving_model import ServingModel, batch_sizes
from service.settings import ServiceSettings
from shared.imaging import SliceTensor, read_slice
from shared.raster import ImageBytes, RasterLimits, read_header

Probabilities = NDArray[np.float32]
Batcher = MicroBatcher[ServingModel, ImageBytes | SliceTensor, Probabilities | Exception]

_ASIDE_PIXELS = 2 * 1024 * 1024  # a slice has a quarter of a million


class Predictor:
    """What turns image bytes into probabilities under load."""

    def __init__(self, settings: ServiceSettings, metrics: Metrics, cores: int) -> None:
        self._limits = RasterLimits(max_pixels=settings.max_pixels)
        self._metrics = metrics
        self._sizes = batch_sizes(settings.max_batch_size)
        self._decoding = ThreadPoolExecutor(cores, "decoding")
        self._aside = ThreadPoolExecutor(1, "decoding-aside")
        self.batcher: Batcher = MicroBatcher(
            self._compute,
            ThreadPoolExecutor(1, "inference"),  # one at a time: it uses all cores
            sizes=self._sizes,
            max_queue=settings.max_queue,
            observer=metrics,
        )

    async def predict(self, body: ImageBytes, model: ServingModel) -> Probabilities:
        """float32 [C] for one slice, in a place that the caller has reserved in the batcher.

        Raises shared.raster.SliceError, or what else broke in decoding this one, or service.batching.BatchFailed.
        """
        header = read_header(body, self._limits)
        if header.pixels > _ASIDE_PIXELS or header.is_progressive:
            loop = asyncio.get_running_loop()
            item: ImageBytes | SliceTensor = await loop.run_in_executor(self._aside, self._decode, model, body)
        else:
            item = body
        answer = await self.batcher.submit(model, item)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _decode(self, model: ServingModel, body: ImageBytes) -> SliceTensor:
        started = time.perf_counter()
        tensor = read_slice(body, model.manifest.preprocessing, self._limits)
        self._metrics.decode_seconds.observe(time.perf_counter() - started)
        return tensor

    def _compute(
        self, model: ServingModel, items: Sequence[ImageBytes | SliceTensor]
    ) -> list[Probabilities | Exception]:
        """One batch of one model. What cannot be decoded is its own answer and touches no neighbour."""
        if len(items) == 1:
            decoded = [self._tensor(model, items[0])]  # without a detour over another thread
        else:
            decoded = list(self._decoding.map(self._tensor, [model] * len(items), items))
        slices = [one for one in decoded if not isinstance(one, Exception)]
        answers = iter(self._infer(model, slices))
        return [one if isinstance(one, Exception) else next(answers) for one in decoded]

    def _tensor(self, model: ServingModel, item: ImageBytes | SliceTensor) -> SliceTensor | Exception:
        if isinstance(item, np.ndarray):
            return item
        try:
            return self._decode(model, item)
        except Exception as error:  # whatever it is: raised here, it would fail the neighbours too
            return error

    def _infer(self, model: ServingModel, slices: Sequence[SliceTensor]) -> NDArray[np.float32]:
        """[n, C] for n slices, run in the next larger size that is warmed."""
        if not slices:
            return np.empty((0, len(model.manifest.classes.names)), np.float32)
        size = min(size for size in self._sizes if size >= len(slices))
        images = np.stack([*slices, *[slices[0]] * (size - len(slices))])
        started = time.perf_counter()
        probabilities = model.engine.infer(images)[: len(slices)]
        self._metrics.inferred(time.perf_counter() - started)
        return probabilities
