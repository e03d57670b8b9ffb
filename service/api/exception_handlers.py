"""Whatever ends a request without an answer, as the problem that the caller gets."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.api.problems import (
    FORESEEN,
    InternalError,
    MethodNotAllowed,
    NotFound,
    problem_of,
    problem_response,
    refused,
)
from service.errors import InvalidRequest
from service.metrics import Metrics

CLIENT_GONE = 499
"""Nobody hears it; the log and the metrics do."""


class ProblemAnswers:
    """Exceptions → answers, counted."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def of(self, request: Request, error: Exception) -> Response:
        """The answer that an exception means. Raises the exception where it is none that is foreseen."""
        if isinstance(error, ClientDisconnect):
            return Response(status_code=CLIENT_GONE)
        if isinstance(error, FORESEEN):
            return refused(request.scope, problem_of(error), self._metrics)
        try:
            raise error
        finally:
            del error  # else it, its traceback and this frame would hold each other, and what the request sent

    def add_to(self, app: FastAPI) -> None:
        """Have FastAPI answer like this where itself finds something wrong."""
        for kind in (*FORESEEN, ClientDisconnect):
            app.add_exception_handler(kind, self._foreseen)
        app.add_exception_handler(HTTPException, self._http)
        app.add_exception_handler(RequestValidationError, self._invalid)
        app.add_exception_handler(Exception, self._unforeseen)

    async def _foreseen(self, request: Request, error: Exception) -> Response:
        return self.of(request, error)

    async def _http(self, request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == MethodNotAllowed.kind.status:
            allowed = (error.headers or {}).get("Allow", "")
            if allowed == "GET":
                allowed = "GET, HEAD"  # as service.api.fast_path answers it
            return refused(request.scope, MethodNotAllowed(allowed), self._metrics)
        return refused(request.scope, NotFound(), self._metrics)

    async def _invalid(self, request: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        # which parameter, and what was expected; never what came
        detail = " ".join(f"{one['loc'][-1]}: {one['msg']}." for one in found)
        return refused(request.scope, InvalidRequest(detail), self._metrics)

    async def _unforeseen(self, request: Request, _: Exception) -> Response:
        """Starlette raises the exception again after this answer, so that RequestLog logs it."""
        return problem_response(InternalError(), request.state.request_id)
