"""What the OpenAPI document says of bodies, parameters and answers that FastAPI cannot read off the code."""

from typing import Any

from service.api import problems
from service.api.render import FRAMES_HEADER, LEVEL_HEADER, WIDTH_HEADER
from service.explain.overlay import DEFAULT_OPACITY
from service.schemas import ExplanationAnswer, Health

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
UNAVAILABLE = (
    problems.QUEUE_FULL, problems.TOO_MANY_BYTES_IN_FLIGHT, problems.NO_MODEL, problems.DRAINING,
    problems.LEDGER_UNAVAILABLE, problems.DECODER_UNAVAILABLE,
)  # fmt: skip
BODY_PROBLEMS = (problems.NOTHING_SENT, problems.WRONG_FIELD, problems.MALFORMED_MULTIPART, problems.UPLOAD_TOO_SLOW)
SLICE_PROBLEMS = (
    problems.EMPTY_PART, problems.TOO_MANY_BYTES, problems.TOO_MANY_PIXELS, problems.NOT_AN_IMAGE_TYPE,
    problems.UNDECODABLE, problems.TOO_SMALL, problems.NOT_CT, problems.LOCALIZER, problems.NO_PIXEL_DATA,
    problems.UNREAD_PIXELS, problems.NO_SUCH_FRAME, problems.NOT_A_CHEST_CT, problems.INVALID_REQUEST,
    problems.INFERENCE_FAILED,
    problems.INTERNAL_ERROR, problems.DEADLINE_EXCEEDED,
)  # fmt: skip
RENDER_PROBLEMS = (
    *(kind for kind in SLICE_PROBLEMS if kind is not problems.INFERENCE_FAILED),
    *(kind for kind in UNAVAILABLE if kind is not problems.NO_MODEL),
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
