"""One request → its answer: how long a caller is waited for, and what is held for it meanwhile."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request

from service.answers.warnings import input_warnings
from service.api import problems
from service.api.disconnect import cancelled_when_gone
from service.api.middleware.ledger import InputDigests, facts_of
from service.api.params import frame_of
from service.api.problems import FORESEEN, ProblemError, problem_body, problem_of
from service.api.uploads import ByteBudget, NoFiles, Part, TooManyFiles, WrongField, read_parts
from service.auth.api_keys import ApiKeys
from service.explain.explainer import Explainer, Explanation, Question, index_of_class
from service.health.readiness import Readiness
from service.inference.batching import MicroBatcher, QueueFull
from service.inference.chest_gate import warning_of
from service.inference.predictor import Predicted, Predictor
from service.ledger.writer import Ledger
from service.metrics import Metrics
from service.model.hot_reload import HotReload
from service.model.serving_model import ServingModel
from service.schemas import BatchItem, Decision, Prediction
from service.settings import ServiceSettings
from shared.raster.decode import ImageBytes

log = logging.getLogger("lungct.answering")

Answer = TypeVar("Answer")

DISCLAIMER = "Research and education only: not for diagnosis."
_FORM_SLACK_BYTES = 64 * 1024  # boundaries, part headers and small fields around an image
_FORM_SLACK_PARTS = 100


@dataclass(frozen=True)
class Service:
    """The parts that answer requests, wired in service.app."""

    settings: ServiceSettings
    reload: HotReload
    predictor: Predictor
    explainer: Explainer
    readiness: Readiness
    budget: ByteBudget
    metrics: Metrics
    keys: ApiKeys | None = None
    """Where callers must name themselves."""
    ledger: Ledger | None = None
    digests: InputDigests | None = None
    """Where there is a ledger."""

    def check_open(self) -> None:
        """Raises ProblemError where the service takes no more requests. One that was taken is finished."""
        if self.readiness.is_closed:
            raise ProblemError(problems.DRAINING, retry_after_s=max(1.0, self.predictor.batcher.expected_wait_s))

    def model(self) -> ServingModel:
        """The model that serves now. Raises ProblemError while there is none."""
        if self.reload.serving is None:
            reason = "; ".join(self.readiness.health().reasons)
            raise ProblemError(problems.NO_MODEL, f"No model: {reason}.", retry_after_s=self.settings.poll_interval_s)
        return self.reload.serving

    def warnings(self, model: ServingModel) -> list[str]:
        """What a reader of this model's answers must know."""
        return [DISCLAIMER, *model.manifest.warnings]

    def note(self, request: Request, part: Part) -> dict[str, Any]:
        """The facts of one slice for the ledger, to which note_answer() adds; see service.api.middleware.ledger."""
        facts = {"input": part.digest.hexdigest()} if part.digest else {}
        request.scope["state"].setdefault("ledger", []).append(facts)
        return facts

    def note_answer(self, facts: dict[str, Any], model: ServingModel, prediction: Prediction) -> Prediction:
        """Add an answer to the facts of its slice; returns it."""
        if self.ledger is not None:
            facts.update(facts_of(model, prediction))
        return prediction

    def prediction(
        self, model: ServingModel, predicted: Predicted, request_id: str, frame: int | None = None
    ) -> Prediction:
        """The answer for one slice, which is the frame that was asked for."""
        answer = self.describe(model, predicted, request_id, frame)
        self.metrics.predictions.labels(answer.prediction).inc()
        return answer

    def describe(self, model: ServingModel, predicted: Predicted, request_id: str, frame: int | None) -> Prediction:
        """The same, uncounted."""
        names, probabilities = model.manifest.classes.names, predicted.probabilities
        every = dict(zip(names, probabilities.tolist(), strict=True))
        prediction = names[int(probabilities.argmax())]
        rules = model.manifest.thresholds
        return Prediction(
            prediction=prediction,
            confidence=every[prediction],
            all_predictions=every,
            decision=rules and Decision(**dict(rules.decide(list(every.values())))),
            prediction_set=rules and list(rules.prediction_set(list(every.values()))),
            model_version=model.version,
            request_id=request_id,
            warnings=[
                *self.warnings(model),
                *input_warnings(model.manifest, predicted.kind, frame, predicted.frames),
                *warning_of(predicted.doubts),
            ],
        )


# --- one slice --------------------------------------------------------------------------------------------------------


async def predict_one(service: Service, request: Request) -> Prediction:
    """Answer a request that carries one slice.

    Raises ProblemError or an exception that service.api.problems knows, ClientDisconnect where the caller is gone.
    """
    predictor, frame = service.predictor, frame_of(request)
    facts, model, predicted = await _answer_one(
        service, request, predictor.batcher, lambda body, model: predictor.predict(body, model, frame)
    )
    prediction = service.prediction(model, predicted, request.state.request_id, frame)
    return service.note_answer(facts, model, prediction)


async def explain_one(
    service: Service,
    request: Request,
    class_name: str | None,
    present: Callable[[Explanation, Prediction], Answer],
) -> Answer:
    """What present() makes of where the model looked on the one slice of a request. Raises like predict_one().

    class_name: None takes the predicted class. present is called in the thread that explains, off the event loop.
    """
    explainer, frame, request_id = service.explainer, frame_of(request), request.state.request_id
    if service.reload.serving is not None:
        index_of_class(service.reload.serving, class_name)  # before the body is read; looked at again after

    def answer(explanation: Explanation) -> tuple[Prediction, Answer]:
        prediction = service.describe(explanation.model, explanation.predicted, request_id, explanation.frame)
        return prediction, present(explanation, prediction)

    facts, model, (prediction, presented) = await _answer_one(
        service,
        request,
        explainer.batcher,
        lambda body, model: explainer.explain(model, Question(body, frame, class_name, answer)),
    )
    service.note_answer(facts, model, prediction)
    return presented


async def _answer_one(
    service: Service,
    request: Request,
    batcher: MicroBatcher[Any, Any, Any],
    compute: Callable[[ImageBytes, ServingModel], Awaitable[Answer]],
) -> tuple[dict[str, Any], ServingModel, Answer]:
    """Read one slice and have it computed, in a place of the batcher: (facts for the ledger, model, answer)."""
    timeout_s = service.settings.request_timeout_s
    is_uploaded = False
    try:
        async with asyncio.timeout(timeout_s) as limit:
            service.check_open()
            service.model()
            if not batcher.has_room:
                raise QueueFull(batcher.retry_after_s())  # before the body is read; looked at again after
            with await only_part(service, request) as part:
                is_uploaded = True
                facts = service.note(request, part)
                content = part.content
                batcher.reserve((limit.when() or 0) - asyncio.get_running_loop().time())
                try:
                    async with cancelled_when_gone(request):
                        model = service.model()
                        return facts, model, await compute(content, model)
                finally:
                    batcher.release()
    except TimeoutError:
        if not limit.expired():  # not ours
            raise
        if is_uploaded:
            raise ProblemError(problems.DEADLINE_EXCEEDED, f"No answer within {timeout_s:g} s.") from None
        raise ProblemError(problems.UPLOAD_TOO_SLOW, f"The body did not arrive within {timeout_s:g} s.") from None


async def only_part(service: Service, request: Request) -> Part:
    """The raw body, or the one form field `file`; other fields are ignored."""
    max_bytes = service.settings.max_upload_bytes
    wanted: Part | None = None
    parts = read_parts(
        request.stream(),
        request.headers,
        service.budget,
        max_part_bytes=max_bytes,
        max_body_bytes=max_bytes + _FORM_SLACK_BYTES,
        max_parts=1 + _FORM_SLACK_PARTS,
        begin_digest=service.digests.begin if service.digests else None,
    )
    try:
        async with aclosing(parts):
            async for part in parts:
                if part.field not in (None, "file"):
                    part.close()
                    continue
                if wanted is not None:
                    part.close()
                    raise WrongField
                wanted = part
                if part.error:
                    raise part.error  # the rest of the body is not wanted
        if wanted is None:
            raise WrongField
    except BaseException:
        if wanted is not None:
            wanted.close()
        raise
    return wanted


# --- several slices ---------------------------------------------------------------------------------------------------


async def predict_files(service: Service, request: Request) -> list[BatchItem]:
    """Answer a request that carries several slices: one item for each, in order.

    Items are computed while later ones still arrive, and no more of them are held at a time than keep the cores busy:
    one long series leaves room for everybody else. Raises like predict_one().
    """
    settings, loop, frame = service.settings, asyncio.get_running_loop(), frame_of(request)
    service.check_open()
    service.model()
    places = asyncio.Semaphore(2 * service.predictor.batcher.round_size)
    items: list[asyncio.Task[BatchItem]] = []
    parts = read_parts(
        request.stream(),
        request.headers,
        service.budget,
        max_part_bytes=settings.max_upload_bytes,
        max_body_bytes=settings.max_files * (settings.max_upload_bytes + _FORM_SLACK_BYTES),
        max_parts=settings.max_files + _FORM_SLACK_PARTS,
        begin_digest=service.digests.begin if service.digests else None,
    )

    def start(part: Part) -> None:
        def end(_: asyncio.Task[BatchItem]) -> None:
            part.close()
            places.release()

        if items and (caller := request.scope["state"].get("caller")) and caller.allowance:
            caller.allowance.take_more(1)  # the first was taken before anything was read
        facts = service.note(request, part)
        request_id = request.state.request_id
        item = loop.create_task(
            _predict_item(service, part, index=len(items), frame=frame, request_id=request_id, facts=facts)
        )
        item.add_done_callback(end)  # and not a finally inside: a task cancelled before its first step runs none
        items.append(item)

    try:
        async with asyncio.timeout(settings.request_timeout_s) as patience, aclosing(parts):
            async for part in parts:
                if part.field != "files":
                    part.close()
                    continue
                if len(items) == settings.max_files:
                    part.close()
                    raise TooManyFiles(settings.max_files)
                patience.reschedule(None)  # it is us who are slow now, not the caller
                await places.acquire()
                start(part)
                patience.reschedule(loop.time() + settings.request_timeout_s)
        if not items:
            raise NoFiles
        async with cancelled_when_gone(request):
            return await asyncio.gather(*items)
    except TimeoutError:
        detail = f"No file arrived within {settings.request_timeout_s:g} s of the one before."
        raise ProblemError(problems.UPLOAD_TOO_SLOW, detail) from None
    finally:
        for item in items:
            item.cancel()


async def _predict_item(
    service: Service, part: Part, *, index: int, frame: int | None, request_id: str, facts: dict[str, Any]
) -> BatchItem:
    batcher, timeout_s = service.predictor.batcher, service.settings.request_timeout_s
    try:
        async with asyncio.timeout(timeout_s) as limit:
            content = part.content
            await batcher.reserve_when_free()
            try:
                model = service.model()
                predicted = await service.predictor.predict(content, model, frame, waits=True)
            finally:
                batcher.release()
        result = service.note_answer(facts, model, service.prediction(model, predicted, request_id, frame))
        return BatchItem(index=index, file_name=part.file_name, status=200, result=result)
    except Exception as error:  # whatever is wrong with one item is that item's answer
        if isinstance(error, TimeoutError) and limit.expired():
            problem = ProblemError(problems.DEADLINE_EXCEEDED, f"No answer within {timeout_s:g} s.")
        else:
            problem = problem_of(error)
            if not isinstance(error, FORESEEN):
                log.exception("an item of a batch broke", extra={"request_id": request_id, "index": index})
    finally:
        del limit  # it has the task, which has the error that cancelled it, which has this frame, which has the bytes
    facts["outcome"] = problem.kind.name
    service.metrics.rejected.labels(problem.kind.name).inc()
    said = problem_body(problem, request_id)
    return BatchItem(index=index, file_name=part.file_name, status=problem.kind.status, problem=said)
