"""What answers which request, and what of it the log and the metrics learn."""

import asyncio
from contextlib import suppress

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Scope

from service.api.fast_path import FastPath


class BrokenError(Exception):
    """What a bug raises."""


def unknown(request: Request, error: Exception) -> Response:  # noqa: ARG001 - FastPath's
    """An answer to no error."""
    raise error


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_route_of_a_request_that_broke_is_known(method: str) -> None:
    """HEAD that ends in an error is told under its address, as GET is."""
    app = FastAPI()

    @app.get("/broken")
    def broken() -> None:
        raise BrokenError

    scope: Scope = {"type": "http", "method": method, "path": "/broken", "query_string": b"", "headers": []}

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    with suppress(BrokenError):
        asyncio.run(FastPath(app, {}, unknown)(scope, receive, send))
    assert getattr(scope.get("route"), "path", "unmatched") == "/broken"
