"""Whatever ends a request without an answer, as the problem that the caller gets."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.api import problems
from service.api.problems import FORESEEN, ProblemError, problem_of, problem_response
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
            return self._answer(request, problem_of(error))
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

    def _answer(self, request: Request, problem: ProblemError) -> Response:
        self._metrics.rejected.labels(problem.kind.name).inc()
        request.state.log = {"problem": problem.kind.name}
        return problem_response(problem, request.state.request_id)

    async def _foreseen(self, request: Request, error: Exception) -> Response:
        return self.of(request, error)

    async def _http(self, request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == problems.METHOD_NOT_ALLOWED.status:
            allowed = (error.headers or {}).get("Allow", "")
            if allowed == "GET":
                allowed = "GET, HEAD"  # as service.api.fast_path answers it
            detail = f"This address takes: {allowed}."
            # RFC 9110, 15.5.6 wants Allow
            return self._answer(request, ProblemError(problems.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed}))
        return self._answer(request, ProblemError(problems.NOT_FOUND))

    async def _invalid(self, request: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        # which parameter, and what was expected; never what came
        detail = " ".join(f"{one['loc'][-1]}: {one['msg']}." for one in found)
        return self._answer(request, ProblemError(problems.INVALID_REQUEST, detail or None))

    async def _unforeseen(self, request: Request, _: Exception) -> Response:
        """Starlette raises the exception again after this answer, so that RequestLog logs it."""
        return problem_response(ProblemError(problems.INTERNAL_ERROR), request.state.request_id)
