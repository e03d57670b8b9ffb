"""Bytes → probabilities: each batch is decoded by the thread that computes it, just before.

So one thread has a batch from its bytes to its answers, and needs no other. What takes long to decode is decoded apart,
in threads of its own that give way, so that a huge image delays no neighbour; DICOM in a pool of its own.
"""

import functools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.engines.base import Outputs
from service.inference.batching import MicroBatcher
from service.inference.chest_gate import Gate, NotAChestCT
from service.inference.thread_pools import BoundedPool, WorkerPool
from service.metrics import Metrics
from service.model.serving_model import LoadOptions, ServingModel
from service.settings import ServiceSettings
from shared.artifact import DISTANCE_NAME, OUTPUT_NAME
from shared.chest_ct import Check
from shared.dicom.errors import NoSuchFrame
from shared.imaging import SliceTensor, read_slice, to_tensor
from shared.raster.decode import ImageBytes, ImageType, RasterLimits, read_header
from shared.slices import DecodedSlice, SliceDecoder, is_dicom

Probabilities = NDArray[np.float32]


class Answer(NamedTuple):
    """What is known of one slice: probabilities float32 [C], and what speaks against its being a chest slice."""

    probabilities: Probabilities
    doubts: tuple[Check, ...]


class Prepared(NamedTuple):
    """A slice that was decoded, and what spoke against it so far; None: it is answered whatever it shows."""

    tensor: SliceTensor
    doubts: tuple[Check, ...] | None


Item = ImageBytes | Prepared
Batcher = MicroBatcher[ServingModel, Item, Answer | Exception]

_COSTLY_PIXELS, _COSTLY_BYTES = 1024 * 1024, 1024 * 1024  # a slice has a quarter of each, in colour three quarters
_DICOM_SPARE = 6  # more threads that wait for DICOM than cores: costly files, which give way, hold some


@dataclass(frozen=True, slots=True)
class Predicted:
    """What is known of one frame of a file of this kind, which has so many frames.

    probabilities: float32 [C]. doubts: what speaks against its being a chest slice.
    """

    probabilities: Probabilities
    doubts: tuple[Check, ...]
    kind: ImageType
    frames: int = 1


class Predictor:
    """What turns image bytes into probabilities under load.

    decoder: for whoever needs a slice's grey values, off the event loop.
    """

    def __init__(self, settings: ServiceSettings, metrics: Metrics, options: LoadOptions) -> None:
        self._limits = RasterLimits(max_pixels=settings.max_pixels)
        self._metrics = metrics
        self._gate = Gate(settings.ood_policy, metrics)
        # a batch that all cores compute together is decoded by them together
        self._map = map if options.in_flight > 1 else ThreadPoolExecutor(options.threads, "decoding").map
        # so many places that slow files leave the others half of the queue
        places = max(1, settings.max_queue // 2)
        self._costly = BoundedPool("decoding-costly", threads=2, places=places, low_priority=True)
        self.decoder = SliceDecoder(self._limits)
        # these threads wait for processes
        self._dicom = BoundedPool("dicom", threads=options.threads + _DICOM_SPARE, places=places)
        self.batcher: Batcher = MicroBatcher(
            functools.partial(self._compute, "infer"),
            functools.partial(self._compute, "infer_single"),
            WorkerPool(options.in_flight, "batch"),
            workers=options.workers,
            in_flight=options.in_flight,
            batch_size=options.max_batch_size,
            single_threshold=lambda model: model.single_threshold,
            max_queue=settings.max_queue,
            observer=metrics,
        )

    async def predict(
        self, body: ImageBytes, model: ServingModel, frame: int | None = None, *, waits: bool = False
    ) -> Predicted:
        """The answer for one slice, in a place that the caller has reserved in the batcher.

        frame: of a DICOM file, counted from 1. waits: where many slow files wait already, wait too. Raises
        SliceError, DecoderUnavailable, NotAChestCT, or what else broke
        in decoding this one, BatchFailed or QueueFull.
        """
        if is_dicom(body):
            decoded, prepared = await self._dicom.run(self._decode_dicom, model, body, frame, waits=waits)
            return Predicted(*await self._infer(model, prepared), "dicom", decoded.frames)
        header = read_header(body, self._limits)
        if frame is not None and frame != 1:
            raise NoSuchFrame(frame, 1)
        if header.pixels > _COSTLY_PIXELS or len(body) > _COSTLY_BYTES or header.is_progressive:
            item: Item = await self._costly.run(self._decode, model, body, waits=waits)
        else:
            item = body
        return Predicted(*await self._infer(model, item), header.kind)

    async def _infer(self, model: ServingModel, item: Item) -> Answer:
        answer = await self.batcher.submit(model, item)
        try:
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            del answer  # else it, its traceback and this frame would hold each other, and the body

    def _decode_dicom(self, model: ServingModel, body: ImageBytes, frame: int | None) -> tuple[DecodedSlice, Prepared]:
        started, spec = time.perf_counter(), model.manifest.preprocessing
        decoded = self.decoder.decode(body, spec.window, frame=frame)
        tensor = to_tensor(decoded.grey, spec, decoded.air_grey)
        self._metrics.decode_seconds.observe(time.perf_counter() - started)
        return decoded, Prepared(tensor, self._gate.look(body, tensor, model.chest_gate))

    def _decode(self, model: ServingModel, body: ImageBytes) -> Prepared:
        started = time.perf_counter()
        tensor = read_slice(body, model.manifest.preprocessing, self._limits)
        self._metrics.decode_seconds.observe(time.perf_counter() - started)
        return Prepared(tensor, self._gate.look(body, tensor, model.chest_gate))

    def _compute(
        self, how: Literal["infer", "infer_single"], model: ServingModel, items: Sequence[Item]
    ) -> list[Answer | Exception]:
        """One batch of one model. What cannot be decoded or is refused is its own answer and touches no neighbour."""
        # no local variable: an exception's traceback leads to this frame, which must not lead back to the exception
        return self._inferred(how, model, list(self._map(self._prepared, [model] * len(items), items)))

    def _inferred(
        self, how: Literal["infer", "infer_single"], model: ServingModel, prepared: Sequence[Prepared | Exception]
    ) -> list[Answer | Exception]:
        slices = [one for one in prepared if isinstance(one, Prepared)]
        outputs: Outputs = {}
        if slices:
            images = np.stack([one.tensor for one in slices])
            started = time.perf_counter()
            outputs = getattr(model.engine, how)(images)
            self._metrics.inferred(time.perf_counter() - started)
        rows = iter(range(len(slices)))
        return [
            one if isinstance(one, Exception) else self._judged(one, outputs, next(rows), model) for one in prepared
        ]

    def _judged(self, one: Prepared, outputs: Outputs, row: int, model: ServingModel) -> Answer | Exception:
        if one.doubts is None:
            return Answer(outputs[OUTPUT_NAME][row], ())
        distance = float(outputs[DISTANCE_NAME][row]) if DISTANCE_NAME in outputs else None
        try:
            doubts = self._gate.judge(one.doubts, distance, model.chest_gate)
        except NotAChestCT as refusal:
            return refusal
        return Answer(outputs[OUTPUT_NAME][row], doubts)

    def _prepared(self, model: ServingModel, item: Item) -> Prepared | Exception:
        if isinstance(item, Prepared):
            return item
        try:
            return self._decode(model, item)
        except Exception as error:  # whatever it is: raised here, it would fail the neighbours too
            return error
