"""What every request that carries a slice goes through, from its first look to its answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.api.multipart import read_parts
from service.api.problems import DeadlineExceeded, UploadTooSlow
from service.api.state import AppState
from service.api.uploads import Part, WrongField
from service.inference.batching import MicroBatcher, QueueFull

FORM_SLACK_BYTES = 64 * 1024
"""Boundaries, part headers and small fields around an image."""
FORM_SLACK_PARTS = 100


@dataclass(frozen=True)
class Admitted:
    """A slice that may be computed now."""

    content: bytearray
    facts: dict[str, Any]
    """Its line in the ledger, to which the handler adds what was answered."""


@asynccontextmanager
async def admitted(
    state: AppState, request: Request, batcher: MicroBatcher[Any, Any, Any] | None = None
) -> AsyncIterator[Admitted]:
    """Hold for the one slice of a request what it needs until it is answered: its time, its bytes, its place.

    batcher: where it takes a place; None where it needs neither that nor a model. What runs inside is cancelled when
    the caller is gone or its time is up. Raises a ProblemError where the slice cannot be taken or was not answered in
    time, and ClientDisconnect.
    """
    timeout_s = state.settings.request_timeout_s
    is_uploaded = False
    try:
        async with asyncio.timeout(timeout_s) as limit:
            state.check_open()
            if batcher is not None:
                state.model()
                if not batcher.has_room:
                    raise QueueFull(batcher.retry_after_s())  # before the body is read; looked at again after
            with await _only_part(state, request) as part:
                is_uploaded = True
                admitted_ = Admitted(part.content, begin_facts(request, part))
                if batcher is not None:
                    batcher.reserve((limit.when() or 0) - asyncio.get_running_loop().time())
                try:
                    async with cancelled_when_gone(request):
                        yield admitted_
                finally:
                    if batcher is not None:
                        batcher.release()
    except TimeoutError:
        if not limit.expired():  # not ours
            raise
        if is_uploaded:
            raise DeadlineExceeded(f"No answer within {timeout_s:g} s.") from None
        raise UploadTooSlow(f"The body did not arrive within {timeout_s:g} s.") from None


def begin_facts(request: Request, part: Part) -> dict[str, Any]:
    """The facts of one slice for the ledger, in the order in which slices come; see service.api.middleware.ledger."""
    facts = {"input": part.digest.hexdigest()} if part.digest else {}
    request.scope["state"].setdefault("ledger", []).append(facts)
    return facts


async def _only_part(state: AppState, request: Request) -> Part:
    """The raw body, or the one form field `file`; other fields are ignored."""
    max_bytes = state.settings.max_upload_bytes
    wanted: Part | None = None
    parts = read_parts(
        request.stream(),
        request.headers,
        state.budget,
        max_part_bytes=max_bytes,
        max_body_bytes=max_bytes + FORM_SLACK_BYTES,
        max_parts=1 + FORM_SLACK_PARTS,
        begin_digest=state.digests.begin if state.digests else None,
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


@asynccontextmanager
async def cancelled_when_gone(request: Request) -> AsyncIterator[None]:
    """Cancel what runs inside as soon as the caller disconnects, and raise ClientDisconnect then.

    To be entered once the body has been read to its end: it consumes the messages that follow.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("cancelled_when_gone() needs a running task")
    watch = asyncio.ensure_future(_gone(request))
    is_inside = True

    def cancel(watched: asyncio.Future[None]) -> None:
        # may be called late: a callback that is due is called although it was removed
        if is_inside and not watched.cancelled():
            task.cancel()

    watch.add_done_callback(cancel)
    try:
        yield
    except asyncio.CancelledError:
        if watch.done() and not watch.cancelled() and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        is_inside = False
        watch.remove_done_callback(cancel)
        watch.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
