"""What every request that carries a slice goes through, from its first look to its answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from fastapi import Request

from service.api.disconnect import cancelled_when_gone
from service.api.middleware.ledger import begin_facts
from service.api.multipart import MEDIA_TYPE, read_file
from service.api.problems import DeadlineExceeded, UploadTooSlow
from service.api.state import AppState
from service.api.uploads import EmptyPart, read_raw
from service.errors import ProblemError
from service.inference.places import Places, QueueFull
from service.model.serving_model import ServingModel

Model = TypeVar("Model", bound=ServingModel | None)


@dataclass(frozen=True, slots=True)
class Admitted(Generic[Model]):
    """A slice that may be computed now."""

    content: bytearray
    model: Model
    """The one that served when the slice was there."""
    facts: dict[str, Any]
    """Its line in the ledger, to which the handler adds what was answered."""


@overload
def admitted(
    state: AppState, request: Request, places: Places
) -> AbstractAsyncContextManager[Admitted[ServingModel]]: ...
@overload
def admitted(state: AppState, request: Request) -> AbstractAsyncContextManager[Admitted[ServingModel | None]]: ...
@asynccontextmanager
async def admitted(state: AppState, request: Request, places: Places | None = None) -> AsyncIterator[Admitted[Any]]:
    """Hold for the one slice of a request what it needs until it is answered: its time, its bytes, its place.

    places: where it takes one; None where it needs neither that nor a model. What runs inside is cancelled when
    the caller is gone or its time is up. Raises a ProblemError where the slice cannot be taken or was not answered in
    time, and ClientDisconnect.
    """
    timeout_s = state.settings.request_timeout_s
    late: type[ProblemError] = UploadTooSlow
    what = "The body did not arrive"
    try:
        async with asyncio.timeout(timeout_s) as limit:
            if state.readiness.is_closed or (places is not None and state.reload.serving is None):
                raise state.unavailable()  # before the body is read; looked at again after
            if places is not None and places.held >= places.most:
                raise QueueFull(places.retry_after_s())
            is_form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == MEDIA_TYPE
            content = await (read_file if is_form else read_raw)(request.stream(), request.headers, state.intake)
            late, what = DeadlineExceeded, "No answer"
            facts = begin_facts(request, content.digest) if content.digest and places is not None else {}
            if not content:
                raise EmptyPart
            model = state.reload.serving
            async with cancelled_when_gone(request):
                if places is None:
                    yield Admitted(content, model, facts)
                    return
                if model is None:
                    raise state.unavailable()
                places.reserve((limit.when() or 0) - asyncio.get_running_loop().time())
                try:
                    yield Admitted(content, model, facts)
                finally:
                    places.release()
    except TimeoutError:
        if not limit.expired():  # not ours
            raise
        raise late(f"{what} within {timeout_s:g} s.") from None
