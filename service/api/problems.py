"""Every problem that a caller can meet, and how it is told: as RFC 9457 problem details."""

import math
from collections.abc import Mapping
from typing import Any

from fastapi import Response
from starlette.types import Scope

from service.errors import ProblemError, ProblemKind
from service.metrics import Metrics
from service.schemas import Problem
from shared.dicom.errors import DecoderUnavailable, Localizer, NoPixelData, NoSuchFrame, NotCt, UnreadPixels
from shared.raster.decode import NotAnImageType, TooManyPixels, TooSmall, Undecodable

MEDIA_TYPE = "application/problem+json"
_PROBLEM_SCHEMA = {"$ref": f"#/components/schemas/{Problem.__name__}"}  # BatchItem brings it among the components


# --- of HTTP, and of the service as a whole ---------------------------------------------------------------------------


class MalformedHttp(ProblemError):
    """The bytes are no HTTP/1.1; or a chunked body has trailers, long chunk lines, or chunks of a few bytes."""

    kind = ProblemKind("malformed-http", 400, "Not HTTP")
    message = "What came is no HTTP request."


class OriginNotAllowed(ProblemError):
    """A page of another origin asked whether it may call."""

    kind = ProblemKind("origin-not-allowed", 403, "Pages of this origin may not call")
    message = "Pages of this origin may not call; LUNGCT_CORS_ORIGINS names the origins that may."


class NotFound(ProblemError):
    """No such address."""

    kind = ProblemKind("not-found", 404, "No such resource")
    message = "There is nothing at this address."


class NoSuchDocument(ProblemError):
    """The version that serves has no such figure, or no model card."""

    kind = ProblemKind("no-such-document", 404, "No such document")
    message = "The version that serves has no document of this name."


class MethodNotAllowed(ProblemError):
    """The address is there, and takes other methods (RFC 9110, 15.5.6)."""

    kind = ProblemKind("method-not-allowed", 405, "Method not allowed", lambda: MethodNotAllowed("POST"))

    def __init__(self, allowed: str) -> None:
        super().__init__(f"This address takes: {allowed}.")
        self.headers = {"Allow": allowed}


class HeadTooSlow(ProblemError):
    """The request's head did not arrive in 10 s."""

    kind = ProblemKind("head-too-slow", 408, "Head too slow")
    message = "The request's head did not arrive in time."


class UploadTooSlow(ProblemError):
    """The body did not arrive in LUNGCT_REQUEST_TIMEOUT_S, or no file of a batch did after the one before."""

    kind = ProblemKind(
        "upload-too-slow", 408, "Upload too slow", lambda: UploadTooSlow("The body did not arrive within 30 s.")
    )


class TargetTooLong(ProblemError):
    """The address, with its parameters, is longer than 8 KiB."""

    kind = ProblemKind("target-too-long", 414, "Address too long")
    message = "The address is longer than 8192 bytes."


class HeadersTooLarge(ProblemError):
    """The request's head is longer than 64 KiB, or has a field of more than 8 KiB, or more than 100 fields."""

    kind = ProblemKind("headers-too-large", 431, "Headers too large")
    message = "At most 100 header fields of 8192 bytes each are accepted, and 65536 bytes in all."


class InternalError(ProblemError):
    """A bug. It is in the log, with the request's id."""

    kind = ProblemKind("internal-error", 500, "Internal error")
    message = "Something broke here; it is in the log."


class NoModel(ProblemError):
    """No valid version is published yet, or none could be loaded; /health has the reasons."""

    kind = ProblemKind("no-model", 503, "No model yet", lambda: NoModel(retry_after_s=1.3))
    message = "No valid model version is published yet."


class Draining(ProblemError):
    """The instance got SIGTERM and takes no more; another one will."""

    kind = ProblemKind("draining", 503, "Shutting down", lambda: Draining(retry_after_s=1.3))
    message = "This instance is shutting down."


class DeadlineExceeded(ProblemError):
    """The answer was not ready in LUNGCT_REQUEST_TIMEOUT_S."""

    kind = ProblemKind("deadline-exceeded", 504, "Too late", lambda: DeadlineExceeded("No answer within 30 s."))


# --- of the slice, found while it was decoded -------------------------------------------------------------------------

OF_DECODING: Mapping[type[Exception], ProblemKind] = {
    TooManyPixels: ProblemKind(
        "too-many-pixels", 413, "Too many pixels", lambda: TooManyPixels(30000, 30000, 16777216)
    ),
    NotAnImageType: ProblemKind(
        "not-an-image-type", 415, "Not a JPEG, PNG or DICOM", lambda: NotAnImageType("a GIF image")
    ),
    Undecodable: ProblemKind(
        "undecodable", 422, "Cannot be decoded whole", lambda: Undecodable("Premature end of JPEG file")
    ),
    TooSmall: ProblemKind("too-small", 422, "Too small", lambda: TooSmall(1, 1, 32)),
    NotCt: ProblemKind("not-ct", 422, "Not a CT image", lambda: NotCt("an MR image")),
    Localizer: ProblemKind("localizer", 422, "A localizer", Localizer),
    NoPixelData: ProblemKind("no-pixel-data", 422, "No pixel data", NoPixelData),
    UnreadPixels: ProblemKind(
        "unread-pixels", 422, "Pixels of a kind that is not read", lambda: UnreadPixels("colour")
    ),
    NoSuchFrame: ProblemKind("no-such-frame", 422, "No such frame", lambda: NoSuchFrame(31, 30)),
    DecoderUnavailable: ProblemKind("decoder-unavailable", 503, "No decoder", DecoderUnavailable),
}

FORESEEN: tuple[type[Exception], ...] = (ProblemError, *OF_DECODING)
"""What problem_of() knows, subclasses included. Whatever else is raised is a bug, and whoever answers it logs it."""


def problem_of(error: Exception) -> ProblemError:
    """The problem that an exception means to the caller. One that is not foreseen tells nothing of itself."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, tuple(OF_DECODING)):
        return ProblemError(str(error), kind=kind_of(type(error)), retry_after_s=getattr(error, "retry_after_s", None))
    return InternalError()


def kind_of(error: type[Exception]) -> ProblemKind:
    """Of a class of exceptions that is foreseen, or of the one that it is derived from."""
    if issubclass(error, ProblemError):
        return error.kind
    return next(OF_DECODING[one] for one in error.__mro__ if one in OF_DECODING)


def example_of(error: type[Exception]) -> ProblemError:
    """A problem of that class as a caller may meet it."""
    return problem_of((kind_of(error).example or error)())


# --- told -------------------------------------------------------------------------------------------------------------


def problem_body(problem: ProblemError, request_id: str) -> Problem:
    """The problem as the JSON that the caller gets."""
    return Problem(
        type=problem.kind.uri,
        title=problem.kind.title,
        status=problem.kind.status,
        detail=str(problem),
        reasons=problem.reasons,
        request_id=request_id,
        retry_after_s=None if problem.retry_after_s is None else round(problem.retry_after_s, 3),
    )


def problem_response(problem: ProblemError, request_id: str) -> Response:
    """application/problem+json, with Retry-After in whole seconds (RFC 9110, 10.2.3) where the problem passes."""
    headers = dict(problem.headers)
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_s)))
    body = problem_body(problem, request_id).model_dump_json()
    return Response(body, status_code=problem.kind.status, media_type=MEDIA_TYPE, headers=headers)


def refused(scope: Scope, problem: ProblemError, metrics: Metrics) -> Response:
    """The answer to a request that ends with a problem; it is counted, and named in the request's log line."""
    metrics.rejected.labels(problem.kind.name).inc()
    scope["state"]["log"] = {"problem": problem.kind.name}
    return problem_response(problem, scope["state"]["request_id"])


def documented(*errors: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for these errors, one example each, grouped by status."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        kind, example = kind_of(error), example_of(error)
        response = responses.setdefault(
            kind.status,
            # the schema and not FastAPI's "model", which would announce application/json beside it
            {"description": kind.title, "content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA, "examples": {}}}},
        )
        if kind.title not in response["description"]:
            response["description"] += f", or {kind.title[0].lower()}{kind.title[1:]}"
        value = problem_body(example, "4f0c6a1e5d2b4c7f9a3e8d1b6c5f2a70").model_dump(exclude_none=True)
        response["content"][MEDIA_TYPE]["examples"][kind.name] = {"summary": kind.title, "value": value}
        if example.retry_after_s is not None:
            response["headers"] = {
                "Retry-After": {"description": "Whole seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
            }
    return responses
