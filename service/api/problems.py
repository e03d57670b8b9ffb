"""Everything that can be wrong with a request, as RFC 9457 problem details. HTTP status codes live here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Response

from service.api.uploads import (
    EmptyPart,
    MalformedMultipart,
    NoFiles,
    NothingSent,
    TooManyBytes,
    TooManyBytesInFlight,
    TooManyFiles,
    WrongField,
)
from service.explain.explainer import NoSuchClass
from service.inference.batching import BatchFailed, QueueFull
from service.inference.chest_gate import NotAChestCT
from service.schemas import Problem
from shared.dicom.errors import DecoderUnavailable, Localizer, NoPixelData, NoSuchFrame, NotCt, UnreadPixels
from shared.raster.decode import NotAnImageType, TooManyPixels, TooSmall, Undecodable

MEDIA_TYPE = "application/problem+json"
_PROBLEM_SCHEMA = {"$ref": f"#/components/schemas/{Problem.__name__}"}  # BatchItem brings it among the components


@dataclass(frozen=True)
class ProblemType:
    """One kind of problem: stable name, status, title, and an example of the sentence a caller gets."""

    name: str
    status: int
    title: str
    example: str

    @property
    def uri(self) -> str:
        """The `type` member; a URN, so that it is the same behind every proxy and prefix."""
        return f"urn:lungct:problem:{self.name}"


_REFUSAL = NotAChestCT(("colour", "lungs"))

NOTHING_SENT = ProblemType("nothing-sent", 400, "Nothing was sent", str(NothingSent()))
EMPTY_PART = ProblemType("empty-part", 400, "The file is empty", str(EmptyPart()))
WRONG_FIELD = ProblemType("wrong-field", 400, "No such form field", str(WrongField()))
MALFORMED_MULTIPART = ProblemType("malformed-multipart", 400, "Not a form", str(MalformedMultipart("no boundary")))
MALFORMED_HTTP = ProblemType("malformed-http", 400, "Not HTTP", "What came is no HTTP request.")
UNAUTHORIZED = ProblemType("unauthorized", 401, "Key missing or wrong", "This address needs a key in X-API-Key.")
ORIGIN_NOT_ALLOWED = ProblemType(
    "origin-not-allowed",
    403,
    "Pages of this origin may not call",
    "Pages of this origin may not call; LUNGCT_CORS_ORIGINS names the origins that may.",
)
NOT_FOUND = ProblemType("not-found", 404, "No such resource", "There is nothing at this address.")
NO_SUCH_DOCUMENT = ProblemType(
    "no-such-document", 404, "No such document", "The version that serves has no document of this name."
)
METHOD_NOT_ALLOWED = ProblemType("method-not-allowed", 405, "Method not allowed", "This address takes: POST.")
HEAD_TOO_SLOW = ProblemType("head-too-slow", 408, "Head too slow", "The request's head did not arrive in time.")
UPLOAD_TOO_SLOW = ProblemType("upload-too-slow", 408, "Upload too slow", "The body did not arrive within 30 s.")
TOO_MANY_BYTES = ProblemType("too-many-bytes", 413, "Too many bytes", str(TooManyBytes(20 * 1024 * 1024)))
TOO_MANY_PIXELS = ProblemType("too-many-pixels", 413, "Too many pixels", str(TooManyPixels(30000, 30000, 16777216)))
TOO_MANY_FILES = ProblemType("too-many-files", 413, "Too many files", str(TooManyFiles(256)))
TARGET_TOO_LONG = ProblemType("target-too-long", 414, "Address too long", "The address is longer than 8192 bytes.")
NOT_AN_IMAGE_TYPE = ProblemType(
    "not-an-image-type", 415, "Not a JPEG, PNG or DICOM", str(NotAnImageType("a GIF image"))
)
UNDECODABLE = ProblemType("undecodable", 422, "Cannot be decoded whole", str(Undecodable("Premature end of JPEG file")))
TOO_SMALL = ProblemType("too-small", 422, "Too small", str(TooSmall(1, 1, 32)))
NOT_CT = ProblemType("not-ct", 422, "Not a CT image", str(NotCt("an MR image")))
LOCALIZER = ProblemType("localizer", 422, "A localizer", str(Localizer()))
NO_PIXEL_DATA = ProblemType("no-pixel-data", 422, "No pixel data", str(NoPixelData()))
UNREAD_PIXELS = ProblemType("unread-pixels", 422, "Pixels of a kind that is not read", str(UnreadPixels("colour")))
NO_SUCH_FRAME = ProblemType("no-such-frame", 422, "No such frame", str(NoSuchFrame(31, 30)))
NOT_A_CHEST_CT = ProblemType("not-a-chest-ct", 422, "Not a CT slice of the chest", str(_REFUSAL))
INVALID_REQUEST = ProblemType("invalid-request", 422, "Invalid parameter", "opacity must be a number from 0 to 1.")
RATE_LIMITED = ProblemType(
    "rate-limited", 429, "Limit reached", "The key pacs may ask for 600 slices in 60 s; it has used them up."
)
HEADERS_TOO_LARGE = ProblemType(
    "headers-too-large", 431, "Headers too large",
    "At most 100 header fields of 8192 bytes each are accepted, and 65536 bytes in all.",
)  # fmt: skip
INTERNAL_ERROR = ProblemType("internal-error", 500, "Internal error", "Something broke here; it is in the log.")
INFERENCE_FAILED = ProblemType("inference-failed", 500, "Inference failed", "The model failed on this batch.")
QUEUE_FULL = ProblemType("queue-full", 503, "Overloaded", str(QueueFull(1.3)))
TOO_MANY_BYTES_IN_FLIGHT = ProblemType("too-many-bytes-in-flight", 503, "Overloaded", str(TooManyBytesInFlight()))
NO_MODEL = ProblemType("no-model", 503, "No model yet", "No valid model version is published yet.")
DECODER_UNAVAILABLE = ProblemType("decoder-unavailable", 503, "No decoder", str(DecoderUnavailable()))
DRAINING = ProblemType("draining", 503, "Shutting down", "This instance is shutting down.")
KEYS_UNAVAILABLE = ProblemType(
    "keys-unavailable", 503, "Keys cannot be read", "The list of keys cannot be read now, so nobody is let in."
)
LEDGER_UNAVAILABLE = ProblemType(
    "ledger-unavailable", 503, "Ledger cannot be written", "No answer leaves without a line in the ledger."
)
DEADLINE_EXCEEDED = ProblemType("deadline-exceeded", 504, "Too late", "No answer within 30 s.")

_PASSING = (
    QUEUE_FULL, TOO_MANY_BYTES_IN_FLIGHT, NO_MODEL, DECODER_UNAVAILABLE, DRAINING, RATE_LIMITED, KEYS_UNAVAILABLE,
    LEDGER_UNAVAILABLE,
)  # fmt: skip

_OF_EXCEPTION: dict[type[Exception], ProblemType] = {
    NothingSent: NOTHING_SENT,
    EmptyPart: EMPTY_PART,
    WrongField: WRONG_FIELD,
    NoFiles: WRONG_FIELD,
    MalformedMultipart: MALFORMED_MULTIPART,
    TooManyBytes: TOO_MANY_BYTES,
    TooManyPixels: TOO_MANY_PIXELS,
    TooManyFiles: TOO_MANY_FILES,
    NotAnImageType: NOT_AN_IMAGE_TYPE,
    Undecodable: UNDECODABLE,
    TooSmall: TOO_SMALL,
    NotCt: NOT_CT,
    Localizer: LOCALIZER,
    NoPixelData: NO_PIXEL_DATA,
    UnreadPixels: UNREAD_PIXELS,
    NoSuchFrame: NO_SUCH_FRAME,
    NotAChestCT: NOT_A_CHEST_CT,
    QueueFull: QUEUE_FULL,
    TooManyBytesInFlight: TOO_MANY_BYTES_IN_FLIGHT,
    NoSuchClass: INVALID_REQUEST,
    DecoderUnavailable: DECODER_UNAVAILABLE,
    BatchFailed: INFERENCE_FAILED,
}


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        reasons: list[str] | None = None,
    ) -> None:
        super().__init__(detail or kind.example)
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})
        self.reasons = reasons


FORESEEN: tuple[type[Exception], ...] = (ProblemError, *_OF_EXCEPTION)
"""What problem_of() knows, subclasses included. Whatever else is raised is a bug, and whoever answers it logs it."""


def problem_of(error: Exception) -> ProblemError:
    """The problem that an exception of the lower layers means to the caller, or the class that it was derived from.

    One that is not foreseen, and a failure of the engine, which was logged where it happened, tell nothing of
    themselves.
    """
    if isinstance(error, ProblemError):
        return error
    kind = next((_OF_EXCEPTION[one] for one in type(error).__mro__ if one in _OF_EXCEPTION), INTERNAL_ERROR)
    if kind in (INTERNAL_ERROR, INFERENCE_FAILED):
        return ProblemError(kind)
    reasons = error.reasons if isinstance(error, NotAChestCT) else None
    return ProblemError(kind, str(error), getattr(error, "retry_after_s", None), reasons=reasons)


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
    headers = problem.headers.copy()
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_s)))
    body = problem_body(problem, request_id).model_dump_json()
    return Response(body, status_code=problem.kind.status, media_type=MEDIA_TYPE, headers=headers)


def documented(*kinds: ProblemType) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for these kinds, one example each, grouped by status."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        response = responses.setdefault(
            kind.status,
            # the schema and not FastAPI's "model", which would announce application/json beside it
            {"description": kind.title, "content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA, "examples": {}}}},
        )
        if kind.title not in response["description"]:
            response["description"] += f", or {kind.title[0].lower()}{kind.title[1:]}"
        retry_after_s = 1.3 if kind in _PASSING else None
        reasons = _REFUSAL.reasons if kind is NOT_A_CHEST_CT else None
        error = ProblemError(kind, retry_after_s=retry_after_s, reasons=reasons)
        example = problem_body(error, "4f0c6a1e5d2b4c7f9a3e8d1b6c5f2a70")
        value = example.model_dump(exclude_none=True)
        response["content"][MEDIA_TYPE]["examples"][kind.name] = {"summary": kind.title, "value": value}
        if retry_after_s is not None:
            response["headers"] = {
                "Retry-After": {"description": "Whole seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
            }
    return responses
