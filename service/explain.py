"""Bytes → where the model looked: in a lane of its own, beside predictions and never in their way.

One thread of low priority explains one slice after the other; what it runs is a compiled model of its own, made when
the first explanation of a version is asked for and gone with that version.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.batching import MicroBatcher
from service.lanes import Lanes
from service.metrics import Metrics
from service.occlusion import occlusion_grid
from service.serving_model import ServingModel
from service.settings import ServiceSettings
from shared.box import Box
from shared.imaging import to_placed_tensor
from shared.raster import GreySlice, ImageBytes, RasterLimits, decode_grey, read_header

Presented = TypeVar("Presented")
Method = Literal["class-activation", "occlusion"]

NOTE = "model attention, not lesion location"

_NICENESS = 19


class NoSuchClass(ValueError):
    """The model that serves has no class of this name."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"class: no class of this model; expected one of {', '.join(names)}.")


@dataclass(frozen=True)
class Explanation:
    """Where the model looked on one slice, for one class."""

    model: ServingModel
    class_name: str
    method: Method
    grid: NDArray[np.float32]
    """float32 [rows, columns], 0 to 1: 1 where most speaks for the class, 0 where no more does than on average."""
    box: Box
    """Where the grid lies on the slice."""
    grey: GreySlice
    probabilities: NDArray[np.float32]
    """float32 [C]."""


@dataclass(frozen=True)
class _Question:
    body: ImageBytes
    class_name: str | None
    present: Callable[[Explanation], Any]


class Explainer:
    """The lane, and its bounded queue."""

    def __init__(self, settings: ServiceSettings, metrics: Metrics) -> None:
        self._limits = RasterLimits(max_pixels=settings.max_pixels)
        self.batcher: MicroBatcher[ServingModel, _Question, Any] = MicroBatcher(
            self._compute,
            self._compute,
            Lanes(1, "explain", _NICENESS),
            lanes=1,
            in_flight=1,
            batch_size=1,
            few=lambda _: 1,
            max_queue=settings.max_explain_queue,
            observer=_Observer(metrics),
        )

    async def explain(
        self,
        body: ImageBytes,
        class_name: str | None,
        model: ServingModel,
        present: Callable[[Explanation], Presented],
    ) -> Presented:
        """What present() makes of the explanation, in the lane too; in a place that the caller has reserved there.

        class_name: None takes the predicted class.
        Raises NoSuchClass, shared.raster.SliceError, or what else broke in decoding, or service.batching.BatchFailed.
        """
        read_header(body, self._limits)  # before it waits for its turn
        index_of_class(model, class_name)
        answer: Presented | Exception = await self.batcher.submit(model, _Question(body, class_name, present))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _compute(self, model: ServingModel, questions: Sequence[_Question]) -> list[Any]:
        return [self._explain(model, question) for question in questions]

    def _explain(self, model: ServingModel, question: _Question) -> Any:
        try:
            grey = decode_grey(question.body, self._limits)
            tensor, box = to_placed_tensor(grey, model.manifest.preprocessing)
        except Exception as error:  # it is this slice's answer, and says nothing of the engine
            return error
        index = index_of_class(model, question.class_name)
        answers, attention = model.engine.infer_aside(tensor[np.newaxis])
        probabilities = answers[0]
        asked = int(probabilities.argmax()) if index is None else index
        if attention is None:
            evidence = occlusion_grid(tensor, probabilities, asked, lambda images: model.engine.infer_aside(images)[0])
        else:
            evidence = class_evidence(attention[0], asked)
        explanation = Explanation(
            model=model,
            class_name=model.manifest.classes.names[asked],
            method="occlusion" if attention is None else "class-activation",
            grid=relative(evidence),
            box=box,
            grey=grey,
            probabilities=probabilities,
        )
        return question.present(explanation)


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
