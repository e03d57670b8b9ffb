"""One slice → what is known of it, under load.

What takes long to decode is decoded before it joins a batch, in threads of its own that give way, so that a huge image
delays no neighbour; DICOM, for which threads only wait, in a pool of its own.
"""

import functools
from operator import attrgetter

from service.inference.batching import MicroBatcher
from service.inference.chest_gate import Gate, Predicted
from service.inference.places import Places
from service.inference.scoring import Encoded, Item, Preparer, Scorer
from service.inference.thread_pools import BoundedPool, WorkerPool
from service.metrics import Metrics
from service.model.serving_model import LoadOptions, ServingModel
from service.settings import ServiceSettings
from shared.raster.decode import ImageBytes, RasterLimits
from shared.slices import SliceDecoder

_COSTLY_PIXELS, _COSTLY_BYTES = 1024 * 1024, 1024 * 1024  # a slice has a quarter of each, in colour three quarters
_DICOM_SPARE = 6  # more threads that wait for DICOM than cores: costly files, which give way, hold some


class Predictor:
    """What turns image bytes into probabilities under load.

    decoder: for whoever needs a slice's grey values, off the event loop.
    """

    def __init__(self, settings: ServiceSettings, metrics: Metrics, options: LoadOptions) -> None:
        self.decoder = SliceDecoder(RasterLimits(max_pixels=settings.max_pixels))
        self._preparer = Preparer(
            self.decoder, Gate(settings.ood_policy, settings.unfamiliar_policy, metrics), metrics.decode_seconds.observe
        )
        scorer = Scorer(self._preparer, metrics)
        # so many places that slow files leave the others half of the queue
        places = max(1, settings.max_queue // 2)
        self._costly = BoundedPool("decoding-costly", threads=2, places=places, low_priority=True)
        self._dicom = BoundedPool("dicom", threads=options.threads + _DICOM_SPARE, places=places)
        # a batch that all cores compute together is decoded by them together; else by the thread that computes it
        self._decoding: BoundedPool | None = None
        if options.workers == 1 < options.threads:
            self._decoding = BoundedPool("decoding", threads=options.threads, places=settings.max_queue)
        self.batcher: MicroBatcher[ServingModel, Item, Predicted | Exception] = MicroBatcher(
            scorer.score,
            functools.partial(scorer.score, is_single=True),
            WorkerPool(options.in_flight, "batch"),
            workers=options.workers,
            in_flight=options.in_flight,
            pace=attrgetter("pace"),
            prepare_s=lambda: scorer.prepare_s,
            places=Places(settings.max_queue),
            observer=metrics,
        )

    async def predict(
        self, body: ImageBytes, model: ServingModel, frame: int | None = None, *, waits: bool = False
    ) -> Predicted:
        """The answer for one slice, in a place that the caller has reserved in the batcher.

        frame: of a DICOM file, counted from 1. waits: where many slow files wait already, wait too. Raises SliceError,
        DecoderUnavailable, NotAChestCT, UnfamiliarSlice, or what else broke in decoding this one, BatchFailed or
        QueueFull.
        """
        header = self.decoder.read_header(body, frame)
        item: Item = Encoded(body, header, frame)
        pool: BoundedPool | None = self._decoding
        if header is None:
            pool = self._dicom
        elif header.pixels > _COSTLY_PIXELS or len(body) > _COSTLY_BYTES or header.is_progressive:
            pool = self._costly
        if pool:
            item = (await pool.run(self._preparer.prepare, model, item, waits=waits or pool is self._decoding))[0]
        answer = await self.batcher.submit(model, item)
        try:
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            del answer  # else it, its traceback and this frame would hold each other, and the body
