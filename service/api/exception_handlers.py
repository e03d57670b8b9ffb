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
from service.errors import InvalidRequest, ProblemError
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
        if isinstance(error, HTTPException):
            return refused(request.scope, _of_http(error), self._metrics)
        if isinstance(error, RequestValidationError):
            # which parameter, and what was expected; never what came
            detail = " ".join(f"{one['loc'][-1]}: {one['msg']}." for one in error.errors())
            return refused(request.scope, InvalidRequest(detail), self._metrics)
        try:
            raise error
        finally:
            del error  # else it, its traceback and this frame would hold each other, and what the request sent

    def add_to(self, app: FastAPI) -> None:
        """Have FastAPI answer like this where itself finds something wrong."""
        for kind in (*FORESEEN, ClientDisconnect, HTTPException, RequestValidationError):
            app.add_exception_handler(kind, self._foreseen)
        app.add_exception_handler(Exception, self._unforeseen)

    async def _foreseen(self, request: Request, error: Exception) -> Response:
        return self.of(request, error)

    async def _unforeseen(self, request: Request, _: Exception) -> Response:
        """Starlette raises the exception again after this answer, so that RequestLog logs it."""
        return problem_response(InternalError(), request.state.request_id)


def _of_http(error: HTTPException) -> ProblemError:
    if error.status_code != MethodNotAllowed.kind.status:
        return NotFound()
    allowed = (error.headers or {}).get("Allow", "")
    return MethodNotAllowed("GET, HEAD" if allowed == "GET" else allowed)  # as service.api.fast_path answers it
