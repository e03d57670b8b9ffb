"""What uvicorn calls: predictions go straight to their endpoint, everything else through FastAPI."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True)
class FastPath:
    """ASGI. direct: FastAPI's route for a POST to a path.

    FastAPI documents these addresses like any other. But nine of its layers surround an endpoint, and where that takes
    the request and makes the response itself they do nothing, for a quarter of the event loop's time.
    """

    app: ASGIApp
    direct: Mapping[str, APIRoute]
    as_problem: Callable[[Request, Exception], Response]
    """The answer that an exception means. Raises what it does not know."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or FastAPI's lifespan."""
        route = self.direct.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._by_fastapi(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive)
        try:
            response: Response = await route.endpoint(request)
        except Exception as error:  # raised again where nobody knows it
            response = self.as_problem(request, error)
        await response(scope, receive, send)

    async def _by_fastapi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """HEAD is answered like GET, whose content the server leaves out; FastAPI's own routes know nothing of it."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            asked = {**scope, "method": "GET"}
            try:
                await self.app(asked, receive, send)
            finally:
                scope["route"] = asked.get("route")  # for log and metrics, of errors too
        else:
            await self.app(scope, receive, send)
