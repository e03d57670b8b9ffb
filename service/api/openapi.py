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
    WrongField,
)
from service.errors import InvalidRequest
from service.explain.overlay import DEFAULT_OPACITY
from service.inference.batching import BatchFailed
from service.inference.chest_gate import NotAChestCT
from service.inference.places import QueueFull
from service.ledger.writer import LedgerUnavailable
from service.schemas import ExplanationAnswer, Health
from service.settings import PublicPart
from shared.dicom.errors import DecoderUnavailable, Localizer, NoPixelData, NoSuchFrame, NotCt, UnreadPixels
from shared.raster.decode import NotAnImageType, TooManyPixels, TooSmall, Undecodable

_BYTES = {"type": "string", "format": "binary"}  # OpenAPI 3.0's word for bytes, which generators of clients know
_IMAGE = {**_BYTES, "description": "A JPEG, PNG or DICOM slice."}
_RAW_IMAGES = {
    kind: {"schema": {**_BYTES, "contentMediaType": kind}}
    # the last one for generators that know bytes of no other type; whatever type is sent, the bytes say what they are
    for kind in ("image/jpeg", "image/png", "application/dicom", "application/octet-stream")
}
FRAME = {
    "name": "frame",
    "in": "query",
    "description": "Which frame of a multi-frame DICOM file, counted from 1.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1, "default": 1},
}
OPACITY = {
    "name": "opacity",
    "in": "query",
    "description": "Of the colour where the map is strongest; for png.",
    "schema": {"type": "number", "minimum": 0, "maximum": 1, "default": DEFAULT_OPACITY},
}
WINDOW = [
    {
        "name": name,
        "in": "query",
        "description": f"{what} of the window: in Hounsfield units for DICOM, in sample values for 16-bit PNG.",
        "schema": {"type": "number", "minimum": least, "maximum": 1e6},
    }
    for name, what, least in (("level", "Middle", -1e6), ("width", "Extent", 1))
]
_PNG = {"schema": {**_BYTES, "contentMediaType": "image/png"}, "example": "the bytes of a PNG file"}
RENDERED: dict[str, Any] = {
    "description": "The slice as 8-bit grey PNG.",
    "content": {"image/png": _PNG},
    "headers": {
        FRAMES_HEADER: {"description": "Frames of the file.", "schema": {"type": "integer"}},
        LEVEL_HEADER: {"description": "Of the window applied; absent for 8 bits.", "schema": {"type": "number"}},
        WIDTH_HEADER: {"description": "Of the window applied; absent for 8 bits.", "schema": {"type": "number"}},
    },
}
PREDICT_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {"file": _IMAGE}}},
        **_RAW_IMAGES,
    },
}
BATCH_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {"files": {"type": "array", "minItems": 1, "items": _IMAGE}},
            }
        }
    },
}
UNAVAILABLE = (QueueFull, TooManyBytesInFlight, NoModel, Draining, LedgerUnavailable, DecoderUnavailable)
BODY_PROBLEMS = (NothingSent, WrongField, MalformedMultipart, UploadTooSlow)
SLICE_PROBLEMS = (
    EmptyPart, TooManyBytes, TooManyPixels, NotAnImageType, Undecodable, TooSmall, NotCt, Localizer, NoPixelData,
    UnreadPixels, NoSuchFrame, NotAChestCT, InvalidRequest, BatchFailed, InternalError, DeadlineExceeded,
)  # fmt: skip
RENDER_PROBLEMS = (
    *(error for error in SLICE_PROBLEMS if error is not BatchFailed),
    *(error for error in UNAVAILABLE if error is not NoModel),
)
EXPLANATION: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The slice, coloured where what speaks for the class lies; or the grid, with its place",
        "model": ExplanationAnswer,
        "content": {"image/png": _PNG},
        "headers": {"X-Note": {"description": "What the map is, and is not.", "schema": {"type": "string"}}},
    }
}
ALIVE: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"example": {"status": "alive"}}}}}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/plain": {
                "schema": {"type": "string"},
                "example": "# HELP lungct_queue_depth Slices accepted and not yet answered.\n"
                "# TYPE lungct_queue_depth gauge\nlungct_queue_depth 2.0\n",
            }
        }
    }
}
CARD: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/markdown": {"schema": {"type": "string"}, "example": "# Model card\n"}}}
}
FIGURE: dict[int | str, dict[str, Any]] = {200: {"description": "The figure.", "content": {"image/png": _PNG}}}
FIGURE_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "File name of the figure.",
    "schema": {"type": "string"},
    "example": "confusion_matrix.png",
}
HEALTH_503: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "No answers can be given now"}}

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
