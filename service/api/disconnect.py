"""A caller that hangs up stops costing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message


@asynccontextmanager
async def cancelled_when_gone(request: Request) -> AsyncIterator[None]:
    """Cancel what runs inside as soon as the caller disconnects, and raise ClientDisconnect then.

    To be entered once the body has been read to its end: it consumes the messages that follow.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("cancelled_when_gone() needs a running task")
    is_inside = True
    watch: asyncio.Future[Message] = asyncio.ensure_future(request.receive())

    def heard(watched: asyncio.Future[Message]) -> None:
        nonlocal watch
        # may be called late: a callback that is due is called although it was removed
        if not is_inside or watched.cancelled():
            return
        if watched.exception() is None and watched.result()["type"] != "http.disconnect":
            watch = asyncio.ensure_future(request.receive())
            watch.add_done_callback(heard)  # noqa: F821 - deleted at the end alone
        else:
            task.cancel()

    watch.add_done_callback(heard)
    try:
        yield
    except asyncio.CancelledError:
        if watch.done() and not watch.cancelled() and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        is_inside = False
        watch.remove_done_callback(heard)
        watch.cancel()
        del heard  # which names itself: it would keep the request until the garbage collector comes
