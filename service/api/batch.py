"""Several slices in one request: each is computed while later ones still arrive."""

import asyncio
import logging
from contextlib import aclosing
from typing import Any

from fastapi import Request

from service.api.disconnect import cancelled_when_gone
from service.api.middleware.ledger import begin_facts
from service.api.multipart import SLACK_BYTES, SLACK_PARTS, Part, read_parts
from service.api.params import frame_of
from service.api.problems import FORESEEN, DeadlineExceeded, UploadTooSlow, problem_body, problem_of
from service.api.state import AppState
from service.api.uploads import NoFiles, TooManyFiles
from service.schemas import BatchItem

log = logging.getLogger("lungct.batch")


async def predict_files(state: AppState, request: Request) -> list[BatchItem]:
    """Answer a request that carries several slices: one item for each, in order.

    Items are computed while later ones still arrive, and no more of them are held at a time than keep the cores busy:
    one long series leaves room for everybody else. Raises ProblemError, or ClientDisconnect where the caller is gone.
    """
    settings, loop, frame = state.settings, asyncio.get_running_loop(), frame_of(request)
    state.check_available()
    places = asyncio.Semaphore(2 * state.predictor.batcher.workers * settings.max_batch_size)
    items: list[asyncio.Task[BatchItem]] = []
    parts = read_parts(
        request.stream(),
        request.headers,
        state.intake,
        max_body_bytes=settings.max_files * (settings.max_upload_bytes + SLACK_BYTES),
        max_parts=settings.max_files + SLACK_PARTS,
    )

    def start(part: Part) -> None:
        def end(_: asyncio.Task[BatchItem]) -> None:
            part.close()
            places.release()

        if items and (caller := request.scope["state"].get("caller")) and caller.allowance:
            caller.allowance.take_more(1)  # the first was taken before anything was read
        facts = begin_facts(request, part.digest) if part.digest else {}
        request_id = request.state.request_id
        item = loop.create_task(
            _predict_item(state, part, index=len(items), frame=frame, request_id=request_id, facts=facts)
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
        raise UploadTooSlow(detail) from None
    finally:
        for item in items:
            item.cancel()


async def _predict_item(
    state: AppState, part: Part, *, index: int, frame: int | None, request_id: str, facts: dict[str, Any]
) -> BatchItem:
    batcher, timeout_s = state.predictor.batcher, state.settings.request_timeout_s
    try:
        async with asyncio.timeout(timeout_s) as limit:
            content = part.content
            await batcher.places.reserve_when_free()
            try:
                model = state.model()
                predicted = await state.predictor.predict(content, model, frame, waits=True)
            finally:
                batcher.places.release()
        result = state.answer(model, predicted, facts, request_id, frame)
        return BatchItem(index=index, file_name=part.file_name, status=200, result=result)
    except Exception as error:  # whatever is wrong with one item is that item's answer
        is_late = isinstance(error, TimeoutError) and limit.expired()
        if not is_late and not isinstance(error, FORESEEN):
            log.exception("an item of a batch broke", extra={"request_id": request_id, "index": index})
        # no local variable: an exception's traceback leads to this frame, which must not lead back to the exception
        problem = problem_body(
            DeadlineExceeded(f"No answer within {timeout_s:g} s.") if is_late else problem_of(error), request_id
        )
    finally:
        del limit  # it has the task, which has the error that cancelled it, which has this frame, which has the bytes
    facts["outcome"] = name = problem.type.rpartition(":")[2]
    state.metrics.rejected.labels(name).inc()
    return BatchItem(index=index, file_name=part.file_name, status=problem.status, problem=problem)
