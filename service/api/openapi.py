"""What the OpenAPI document says of bodies, parameters and answers that FastAPI cannot read off the code."""

from typing import Any

from fastapi import FastAPI

from service.api.handlers import FRAMES_HEADER, LEVEL_HEADER, WIDTH_HEADER
from service.api.middleware.auth import KEY_HEADER, KeysUnavailable, RateLimited, Unauthorized, is_public
from service.api.problems import (
    MEDIA_TYPE,
    DeadlineExceeded,
    Draining,
    InternalError,
    NoModel,
    UploadTooSlow,
    documented,
)
from service.api.uploads import (
    EmptyPart,
    MalformedMultipart,
    NothingSent,
    TooManyBytes,
    TooManyBytesInFlight,
    TooManyFiles,
    WrongField,
)
from service.errors import InvalidRequest
from service.explain.overlay import DEFAULT_OPACITY
from service.inference.batching import BatchFailed
from service.inference.chest_gate import NotAChestCT, UnfamiliarSlice
from service.inference.places import QueueFull
from service.ledger.writer import LedgerUnavailable
from service.schemas import ExplanationAnswer, Health
from service.settings import PublicPart
from shared.dicom.errors import DecoderUnavailable, Localizer, NoPixelData, NoSuchFrame, NotCt, UnreadPixels
from shared.raster.decode import NotAnImageType, TooManyPixels, TooSmall, Undecodable

Responses = dict[int | str, dict[str, Any]]
"""By status, as FastAPI takes them."""


def _query(name: str, description: str, **schema: object) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _body(field: str, field_schema: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    form = {"type": "object", "required": [field], "properties": {field: field_schema}}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}, **raw}}


def _header(description: str, kind: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


_BYTES = {"type": "string", "format": "binary"}  # OpenAPI 3.0's word for bytes, which generators of clients know
_IMAGE = {**_BYTES, "description": "A JPEG, PNG or DICOM slice."}
_RAW_IMAGES = {
    kind: {"schema": {**_BYTES, "contentMediaType": kind}}
    # the last one for generators that know bytes of no other type; whatever type is sent, the bytes say what they are
    for kind in ("image/jpeg", "image/png", "application/dicom", "application/octet-stream")
}
_PNG = {"image/png": {"schema": {**_BYTES, "contentMediaType": "image/png"}, "example": "the bytes of a PNG file"}}
_WINDOW = "of the window: in Hounsfield units for DICOM, in sample values for 16-bit PNG."
_APPLIED = "Of the window applied; absent for 8 bits."

SLICE_BODY = _body("file", _IMAGE, _RAW_IMAGES)
BATCH_BODY = _body("files", {"type": "array", "minItems": 1, "items": _IMAGE}, {})
FRAME = _query(
    "frame",
    "Which frame of a multi-frame DICOM file, counted from 1.",
    type="integer", minimum=1, maximum=2**31 - 1, default=1,
)  # fmt: skip
OPACITY = _query(
    "opacity",
    "Of the colour where the map is strongest; for png.",
    type="number", minimum=0, maximum=1, default=DEFAULT_OPACITY,
)  # fmt: skip
LEVEL = _query("level", f"Middle {_WINDOW}", type="number", minimum=-1e6, maximum=1e6)
WIDTH = _query("width", f"Extent {_WINDOW}", type="number", minimum=1, maximum=1e6)

_UNAVAILABLE = (QueueFull, TooManyBytesInFlight, NoModel, Draining, LedgerUnavailable, DecoderUnavailable)
_BODY_PROBLEMS = (NothingSent, WrongField, MalformedMultipart, UploadTooSlow)
_SLICE_PROBLEMS = (
    EmptyPart, TooManyBytes, TooManyPixels, NotAnImageType, Undecodable, TooSmall, NotCt, Localizer, NoPixelData,
    UnreadPixels, NoSuchFrame, NotAChestCT, UnfamiliarSlice, InvalidRequest, BatchFailed, InternalError,
    DeadlineExceeded,
)  # fmt: skip
PREDICT_PROBLEMS = (*_BODY_PROBLEMS, *_SLICE_PROBLEMS, *_UNAVAILABLE)
BATCH_PROBLEMS = (*_BODY_PROBLEMS, TooManyFiles, TooManyBytes, InvalidRequest, InternalError, *_UNAVAILABLE)
_OF_THE_MODEL = (NotAChestCT, UnfamiliarSlice, BatchFailed, NoModel)  # which a slice that is only shown does not meet
RENDER_PROBLEMS = tuple(error for error in PREDICT_PROBLEMS if error not in _OF_THE_MODEL)
RENDERED: Responses = {
    200: {
        "description": "The slice as 8-bit grey PNG.",
        "content": _PNG,
        "headers": {
            FRAMES_HEADER: _header("Frames of the file.", "integer"),
            LEVEL_HEADER: _header(_APPLIED, "number"),
            WIDTH_HEADER: _header(_APPLIED, "number"),
        },
    }
}
EXPLANATION: Responses = {
    200: {
        "description": "The slice, coloured where what speaks for the class lies; or the grid, with its place",
        "model": ExplanationAnswer,
        "content": _PNG,
        "headers": {"X-Note": _header("What the map is, and is not.", "string")},
    }
}
ALIVE: Responses = {200: {"content": {"application/json": {"example": {"status": "alive"}}}}}
HEALTH_503: Responses = {503: {"model": Health, "description": "No answers can be given now"}}
_METRICS = "# HELP lungct_queue_depth Slices accepted and not yet answered.\n# TYPE lungct_queue_depth gauge\n"
METRICS: Responses = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": f"{_METRICS}lungct_queue_depth 2.0\n"}}}
}
CARD: Responses = {200: {"content": {"text/markdown": {"schema": {"type": "string"}, "example": "# Model card\n"}}}}
FIGURE: Responses = {200: {"description": "The figure.", "content": _PNG}}
FIGURE_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "File name of the figure.",
    "schema": {"type": "string"},
    "example": "confusion_matrix.png",
}

_SCHEME = "ApiKey"
_SECURITY = {
    "type": "apiKey",
    "in": "header",
    "name": KEY_HEADER,
    "description": "Names the caller. Whoever runs the service makes keys: `python -m service make-key NAME`.",
}


def add_keys(app: FastAPI, public: frozenset[PublicPart], *, are_set: bool) -> None:
    """Have the document say which addresses can ask for a key, and that they do where keys are set.

    401 and 429 stand in every document: a client generated from a service without keys will meet one that has some.
    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            if are_set:
                document["components"].setdefault("securitySchemes", {})[_SCHEME] = _SECURITY
            for path, operations in document["paths"].items():
                if not is_public(path, public):
                    for method, operation in operations.items():
                        if are_set:
                            operation["security"] = [{_SCHEME: []}]
                        _add_problems(method, operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # the way that FastAPI documents


def _add_problems(method: str, operation: dict[str, Any]) -> None:
    errors = [Unauthorized, KeysUnavailable, *([RateLimited] if method == "post" else [])]
    for status, response in documented(*errors).items():
        known = operation["responses"].get(str(status))
        if known is None:
            operation["responses"][str(status)] = response
        elif MEDIA_TYPE in known["content"]:
            known["content"][MEDIA_TYPE].setdefault("examples", {}).update(response["content"][MEDIA_TYPE]["examples"])
        else:
            known["content"].update(response["content"])
