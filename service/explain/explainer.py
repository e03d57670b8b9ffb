"""Bytes → where the model looked: in a pool of its own, beside predictions and never in their way.

One thread of lower priority explains one slice after the other; with OpenVINO the model runs in a process of its own
beside it (service.engines.openvino_explain_worker), which predictions do not notice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engines.base import UNMEASURED
from service.errors import InvalidRequest
from service.explain.occlusion import occlusion_grid
from service.explain.overlay import draw_overlay
from service.inference.batching import MicroBatcher
from service.inference.chest_gate import Gate, Predicted, warning_of
from service.inference.places import Places, QueueFull
from service.inference.scoring import Encoded, Preparer
from service.inference.thread_pools import WorkerPool
from service.metrics import Metrics
from service.model.serving_model import ServingModel
from service.schemas import Method
from service.settings import ServiceSettings
from shared.artifact import ATTENTION_NAME, OUTPUT_NAME
from shared.box import Box
from shared.raster.decode import GreySlice, ImageBytes
from shared.slices import SliceDecoder

_NO_PROCESS_S = 1.0
"""After which a process may be had again, where the machine starts none now."""
_NICENESS = 5
"""Predictions get the cores first. Not 19: in one run at 19 predictions failed beside a caller, perhaps because this
thread held the interpreter while it waited for a core; at 5 none did.
"""


class NoSuchClass(InvalidRequest):
    """The model that serves has no class of this name."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"class: no class of this model; expected one of {', '.join(names)}.")


@dataclass(frozen=True)
class Explanation:
    """Where the model looked on one slice, for one class."""

    class_name: str
    method: Method
    grid: NDArray[np.float32]
    """float32 [rows, columns], 0 to 1: 1 where most speaks for the class, 0 where no more does than on average."""
    box: Box
    """Where the grid lies on the slice."""
    grey: GreySlice
    predicted: Predicted
    overlay: bytes | None
    """A PNG of the slice with the grid over it, where one was asked for."""


@dataclass(frozen=True)
class Question:
    """What a caller wants to know of one slice."""

    body: ImageBytes
    frame: int | None
    """Of a DICOM file, counted from 1."""
    class_name: str | None
    """None takes the predicted class."""
    opacity: float | None
    """Of the overlay where the grid is 1, 0 to 1; None draws none."""


class Explainer:
    """The thread, and its bounded queue."""

    def __init__(self, settings: ServiceSettings, metrics: Metrics, decoder: SliceDecoder) -> None:
        self._preparer = Preparer(
            decoder, Gate(settings.ood_policy, settings.unfamiliar_policy, metrics), timed=lambda _: None
        )
        self.batcher: MicroBatcher[ServingModel, tuple[Question, Encoded], Explanation | Exception] = MicroBatcher(
            self._compute,
            self._compute,
            WorkerPool(1, "explain", _NICENESS),
            workers=1,
            in_flight=1,
            pace=lambda _: UNMEASURED,
            prepare_s=lambda: 0.0,
            places=Places(settings.max_explain_queue),
            observer=_Observer(metrics),
        )

    async def explain(self, model: ServingModel, question: Question) -> Explanation:
        """The explanation of one slice, in a place that the caller has reserved in the batcher.

        Raises NoSuchClass, SliceError, DecoderUnavailable, NotAChestCT, UnfamiliarSlice, or what else broke in
        decoding, QueueFull where this machine starts no process now, or BatchFailed.
        """
        header = self._preparer.decoder.read_header(question.body, question.frame)  # before it waits for its turn
        index_of_class(model, question.class_name)
        encoded = Encoded(question.body, header, question.frame)
        answer = await self.batcher.submit(model, (question, encoded))
        try:
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            del answer  # else it, its traceback and this frame would hold each other, and the body

    def _compute(self, model: ServingModel, items: Sequence[tuple[Question, Encoded]]) -> list[Explanation | Exception]:
        return [self._explain(model, question, encoded) for question, encoded in items]

    def _explain(self, model: ServingModel, question: Question, encoded: Encoded) -> Explanation | Exception:
        try:
            prepared, box, grey = self._preparer.prepare(model, encoded)
        except Exception as error:  # it is this slice's answer, and says nothing of the engine
            return error
        try:
            outputs = model.infer_with_attention(prepared.tensor[np.newaxis])
        except OSError:  # this machine starts or leaves no process now: neither the slice's fault nor the model's
            return QueueFull(_NO_PROCESS_S)
        predicted = self._preparer.gate.judge(prepared, outputs, 0, model.chest_gate, model.manifest.familiarity)
        if isinstance(predicted, Exception):
            return predicted
        probabilities, attention = outputs[OUTPUT_NAME][0], outputs.get(ATTENTION_NAME)
        index = index_of_class(model, question.class_name)
        asked = int(probabilities.argmax()) if index is None else index
        if attention is None:
            evidence = occlusion_grid(
                prepared.tensor, probabilities, asked, lambda images: model.infer_with_attention(images)[OUTPUT_NAME]
            )
        else:
            evidence = class_evidence(attention[0], asked)
        called = model.manifest.classes.names[asked]
        method: Method = "occlusion" if attention is None else "class-activation"
        grid, overlay = relative(evidence), None
        if question.opacity is not None:
            comment = "; ".join([f"{called}, {method}, model version {model.version}", *warning_of(predicted.doubts)])
            overlay = draw_overlay(grey, grid, box, question.opacity, comment)
        return Explanation(
            class_name=called,
            method=method,
            grid=grid,
            box=box,
            grey=grey,
            predicted=predicted,
            overlay=overlay,
        )


def index_of_class(model: ServingModel, class_name: str | None) -> int | None:
    """None stays None. Raises NoSuchClass."""
    names = model.manifest.classes.names
    if class_name is not None and class_name not in names:
        raise NoSuchClass(names)
    return None if class_name is None else names.index(class_name)


def class_evidence(attention: NDArray[np.float32], class_index: int) -> NDArray[np.float32]:
    """Logits by place [h, w, C] → what speaks for a class rather than for the others, less its mean over places [h, w].

    What all classes gain alike changes no probability, and what lies everywhere alike points nowhere.
    """
    others = np.delete(attention, class_index, axis=2).mean(axis=2)
    evidence = attention[:, :, class_index] - others
    return np.asarray(evidence - evidence.mean(), np.float32)


def relative(evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """What speaks for the class, 0 to 1 of the most there is; all 0 where nothing does."""
    positive = np.maximum(evidence, 0)
    return np.asarray(positive / max(float(positive.max()), np.finfo(np.float32).tiny), np.float32)


class _Observer:
    """An explanation that fails says nothing of whether predictions can be made."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def batch_done(self, size: int, error: BaseException | None) -> None:  # noqa: ARG002 - the batcher's protocol
        self._metrics.explanations.labels("failed" if error else "done").inc()

    def waited(self, seconds: float) -> None:
        """Nobody asks."""
