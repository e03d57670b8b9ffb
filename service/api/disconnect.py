"""A caller that hangs up stops costing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.requests import ClientDisconnect


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
