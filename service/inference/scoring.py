"""What a worker does with a batch: bytes → slices as the network takes them → what is known of each.

So one thread has a batch from its bytes to its answers, and needs no other.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from service.engines.base import Outputs
from service.inference.chest_gate import Gate, Predicted, Prepared
from service.metrics import Metrics
from service.model.serving_model import ServingModel
from shared.box import Box
from shared.familiarity import acquisition_of
from shared.imaging import SliceTensor, place
from shared.raster.decode import GreySlice, ImageBytes, RasterHeader
from shared.slices import SliceDecoder


class Encoded(NamedTuple):
    """A file as it came, what SliceDecoder.read_header() said of it, and the frame that is wanted."""

    body: ImageBytes
    header: RasterHeader | None
    frame: int | None


Item = Encoded | Prepared


@dataclass(frozen=True)
class Preparer:
    """Decodes slices and looks at them, in any number of threads."""

    decoder: SliceDecoder
    gate: Gate
    timed: Callable[[float], object]
    """Is told how many seconds decoding took."""

    def prepare(self, model: ServingModel, file: Encoded) -> tuple[Prepared, Box, GreySlice]:
        """A slice as the network takes it, where that lies on the slice, and the slice itself.

        Raises SliceError, DecoderUnavailable, NotAChestCT, or what else broke in decoding.
        """
        started, spec = time.perf_counter(), model.manifest.preprocessing
        decoded = self.decoder.decode(file.body, spec.window, header=file.header, frame=file.frame)
        placed = place(decoded.grey, spec, decoded.air_grey)
        acquisition = None
        if model.manifest.familiarity:
            acquisition = acquisition_of(decoded.grey, placed, decoded.air_grey, decoded.tags)
        self.timed(time.perf_counter() - started)
        doubts = self.gate.look(file.body, file.header, placed.tensor, model.chest_gate, acquisition)
        return Prepared(placed.tensor, doubts, acquisition, decoded.kind, decoded.frames), placed.box, decoded.grey


@dataclass
class Scorer:
    """Computes batches, several at a time, each in the thread that asks for it.

    prepare_s: what a slice takes of that thread before it is computed, a moving average over about ten.
    """

    preparer: Preparer
    metrics: Metrics
    prepare_s: float = field(default=0.0, init=False)

    def score(
        self, model: ServingModel, items: Sequence[Item], *, is_single: bool = False
    ) -> list[Predicted | Exception]:
        """One batch of one model. What cannot be decoded or is refused is its own answer and touches no neighbour.

        is_single: one slice, beside which no other batch is computed. Raises what the engine raises.
        """
        prepared: list[Prepared | Exception] = []
        slices: list[SliceTensor] = []
        outputs: Outputs = {}
        started, decoded = time.perf_counter(), 0
        try:
            for item in items:
                try:
                    decoded += isinstance(item, Encoded)
                    prepared.append(item if isinstance(item, Prepared) else self.preparer.prepare(model, item)[0])
                except Exception as error:  # whatever it is: raised here, it would fail the neighbours too
                    prepared.append(error)
            del item
            if decoded:  # two threads at a time may lose one of their values, which matters to nobody
                each_s = (time.perf_counter() - started) / decoded
                self.prepare_s += (each_s - self.prepare_s) * (0.1 if self.prepare_s else 1.0)
            slices = [one.tensor for one in prepared if isinstance(one, Prepared)]
            if slices:
                infer = model.engine.infer_single if is_single else model.engine.infer
                started = time.perf_counter()
                outputs = infer(np.stack(slices))
                self.metrics.inferred(time.perf_counter() - started)
            rows, judge = iter(range(len(slices))), self.preparer.gate.judge
            return [
                one
                if isinstance(one, Exception)
                else judge(one, outputs, next(rows), model.chest_gate, model.manifest.familiarity)
                for one in prepared
            ]
        finally:
            # an exception among the answers leads to this frame, which must hold neither it nor its neighbours' bytes
            del items, prepared, slices, outputs
