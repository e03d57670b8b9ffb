"""The HTTP interface: what each address takes and answers."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from service import problems
from service.answering import Service, explain_one, predict_files, predict_one
from service.explain import NOTE, Explanation
from service.front import Endpoint
from service.heatmap import draw_overlay
from service.problems import ProblemError
from service.render import FRAMES_HEADER, LEVEL_HEADER, WIDTH_HEADER, Renderer
from service.schemas import (
    BatchAnswer,
    ExplanationAnswer,
    Failure,
    GridBox,
    Health,
    ModelInfo,
    Prediction,
    SliceSize,
)
from shared.artifact import FIGURES_DIR, MODEL_CARD_FILE

_IMAGE = {"type": "string", "format": "binary", "description": "A JPEG, PNG or DICOM slice."}
_RAW_IMAGES = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in ("image/jpeg", "image/png", "application/dicom")
}
_FRAME = {
    "name": "frame",
    "in": "query",
    "description": "Which frame of a multi-frame DICOM file, counted from 1.",
    "schema": {"type": "integer", "minimum": 1, "default": 1},
}
_WINDOW = [
    {
        "name": name,
        "in": "query",
        "description": f"{what} of the window: in Hounsfield units for DICOM, in sample values for 16-bit PNG.",
        "schema": {"type": "number", "minimum": least, "maximum": 1e6},
    }
    for name, what, least in (("level", "Middle", -1e6), ("width", "Extent", 1))
]
_PNG = {"schema": {"type": "string", "format": "binary"}, "example": "the bytes of a PNG file"}
_RENDERED: dict[str, Any] = {
    "description": "The slice as 8-bit grey PNG.",
    "content": {"image/png": _PNG},
    "headers": {
        FRAMES_HEADER: {"description": "Frames of the file.", "schema": {"type": "integer"}},
        LEVEL_HEADER: {"description": "Of the window applied; absent for 8 bits.", "schema": {"type": "number"}},
        WIDTH_HEADER: {"description": "Of the window applied; absent for 8 bits.", "schema": {"type": "number"}},
    },
}
_PREDICT_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {"file": _IMAGE}}},
        **_RAW_IMAGES,
    },
}
_BATCH_BODY = {
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
_UNAVAILABLE = (
    problems.QUEUE_FULL, problems.TOO_MANY_BYTES_IN_FLIGHT, problems.NO_MODEL, problems.DRAINING,
    problems.LEDGER_UNAVAILABLE,
)  # fmt: skip
_BODY_PROBLEMS = (problems.NOTHING_SENT, problems.WRONG_FIELD, problems.MALFORMED_MULTIPART, problems.UPLOAD_TOO_SLOW)
_SLICE_PROBLEMS = (
    problems.EMPTY_PART, problems.TOO_MANY_BYTES, problems.TOO_MANY_PIXELS, problems.NOT_AN_IMAGE_TYPE,
    problems.UNDECODABLE, problems.TOO_SMALL, problems.NOT_CT, problems.LOCALIZER, problems.NO_PIXEL_DATA,
    problems.UNREAD_PIXELS, problems.NO_SUCH_FRAME, problems.NOT_A_CHEST_CT, problems.INVALID_REQUEST,
    problems.INFERENCE_FAILED,
    problems.INTERNAL_ERROR, problems.DEADLINE_EXCEEDED,
)  # fmt: skip
_RENDER_PROBLEMS = (
    *(kind for kind in _SLICE_PROBLEMS if kind is not problems.INFERENCE_FAILED),
    *(kind for kind in _UNAVAILABLE if kind is not problems.NO_MODEL),
)
_EXPLANATION: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The slice, coloured where what speaks for the class lies; or the grid, with its place",
        "model": ExplanationAnswer,
        "content": {"image/png": _PNG},
        "headers": {"X-Note": {"description": "What the map is, and is not.", "schema": {"type": "string"}}},
    }
}
_ALIVE: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"example": {"status": "alive"}}}}}
_METRICS: dict[int | str, dict[str, Any]] = {
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
_CARD: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/markdown": {"schema": {"type": "string"}, "example": "# Model card\n"}}}
}
_FIGURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}, "example": "(a PNG)"}}}
}
_FIGURE_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "File name of the figure.",
    "schema": {"type": "string"},
    "example": "confusion_matrix.png",
}
_HEALTH_503: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "No answers can be given now"}}


def prediction_endpoints(service: Service) -> dict[str, Endpoint]:
    """What answers a POST to each of these paths."""
    renderer = Renderer(service)

    async def predict(request: Request) -> Response:
        """Send a JPEG, PNG or DICOM slice as the form field `file`, or as the raw body."""
        prediction = await predict_one(service, request)
        request.state.log = {"model_version": prediction.model_version, "prediction": prediction.prediction}
        return Response(prediction.model_dump_json(), media_type="application/json")

    async def predict_batch(request: Request) -> Response:
        """Send slices as form fields `files`: each gets its own result or problem, in order.

        There is no answer for the series as a whole. Items wait for room where a single request would be refused.
        """
        results = await predict_files(service, request)
        request.state.log = {"items": len(results)}
        return Response(BatchAnswer(results=results).model_dump_json(), media_type="application/json")

    async def render(request: Request) -> Response:
        """Send any accepted slice as the form field `file`, or as the raw body; it comes back as an 8-bit PNG.

        DICOM and 16-bit PNG are shown in a window, which `level` and `width` change; by default in the one that the
        model sees. Images of 8 bits have none.
        """
        return await renderer.render(request)

    return {"/predict": predict, "/predict/batch": predict_batch, "/render": render}


def build_router(service: Service, endpoints: Mapping[str, Endpoint]) -> APIRouter:
    """All addresses but the page and the documentation. endpoints: those of prediction_endpoints()."""
    router = APIRouter()
    router.add_api_route(
        "/predict",
        endpoints["/predict"],
        methods=["POST"],
        tags=["prediction"],
        summary="Classify one slice",
        response_model=Prediction,
        responses=problems.documented(*_BODY_PROBLEMS, *_SLICE_PROBLEMS, *_UNAVAILABLE),
        openapi_extra={"requestBody": _PREDICT_BODY, "parameters": [_FRAME]},
    )
    router.add_api_route(
        "/predict/batch",
        endpoints["/predict/batch"],
        methods=["POST"],
        tags=["prediction"],
        summary="Classify several slices",
        response_model=BatchAnswer,
        responses=problems.documented(
            *_BODY_PROBLEMS, problems.TOO_MANY_FILES, problems.TOO_MANY_BYTES, problems.INVALID_REQUEST,
            problems.INTERNAL_ERROR, *_UNAVAILABLE,
        ),
        openapi_extra={"requestBody": _BATCH_BODY, "parameters": [_FRAME]},
    )  # fmt: skip
    router.add_api_route(
        "/render",
        endpoints["/render"],
        methods=["POST"],
        tags=["display"],
        summary="Show one slice",
        response_class=Response,
        responses={200: _RENDERED, **problems.documented(*_BODY_PROBLEMS, *_RENDER_PROBLEMS)},
        openapi_extra={"requestBody": _PREDICT_BODY, "parameters": [_FRAME, *_WINDOW]},
    )

    _add_explain(router, service)

    @router.get("/health", tags=["operation"], summary="State of the service", responses=_HEALTH_503)
    async def health(response: Response) -> Health:
        """200 while it can answer (`ok`, or `degraded` with reasons), else 503."""
        verdict = service.readiness.health()
        response.status_code = 503 if verdict.status == "unavailable" else 200
        return verdict

    @router.get("/health/live", tags=["operation"], summary="Is the process alive?", responses=_ALIVE)
    async def live() -> dict[str, str]:
        """200 as long as the process answers at all: a missing model is no reason to restart it."""
        return {"status": "alive"}

    @router.get("/health/ready", tags=["operation"], summary="May traffic come?", responses=_HEALTH_503)
    async def ready(response: Response) -> Health:
        """200 after a real inference and as long as they succeed; 503 before, while draining, or while they fail."""
        return await health(response)

    @router.get("/model-info", tags=["operation"], summary="Which model serves, and what else is published")
    async def model_info() -> ModelInfo:
        """The manifest of the serving version, how it was measured, and every version that could not be loaded."""
        return _model_info(service)

    @router.get(
        "/model-info/card",
        tags=["operation"],
        summary="The serving version's model card",
        response_class=Response,
        responses={**_CARD, **problems.documented(problems.NO_SUCH_DOCUMENT, problems.NO_MODEL)},
    )
    async def model_card(request: Request) -> Response:
        """What a person must know before using the model, as Markdown."""
        return _document(service, request, MODEL_CARD_FILE, "text/markdown; charset=utf-8")

    @router.get(
        "/model-info/figures/{name}",
        tags=["operation"],
        summary="A figure of the serving version",
        response_class=Response,
        responses={**_FIGURE, **problems.documented(problems.NO_SUCH_DOCUMENT, problems.NO_MODEL)},
        openapi_extra={"parameters": [_FIGURE_NAME]},
    )
    async def figure(request: Request) -> Response:
        """A PNG that the trainer drew; /model-info lists them under `documents`."""
        return _document(service, request, f"{FIGURES_DIR}/{request.path_params['name']}", "image/png")

    @router.get(
        "/metrics",
        tags=["operation"],
        summary="Metrics for Prometheus",
        response_class=Response,
        responses=_METRICS,
    )
    async def metrics() -> Response:
        """Prometheus text format; every name begins with `lungct_` but the process's own."""
        return Response(service.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _add_explain(router: APIRouter, service: Service) -> None:
    @router.post(
        "/explain",
        tags=["prediction"],
        summary="Show where the model looked",
        response_class=Response,
        responses={
            **problems.documented(*_BODY_PROBLEMS, *_SLICE_PROBLEMS, *_UNAVAILABLE),
            **_EXPLANATION,
        },
        openapi_extra={"requestBody": _PREDICT_BODY, "parameters": [_FRAME]},
    )
    async def explain(
        request: Request,
        class_name: Annotated[
            str | None,
            Query(
                alias="class", description="Name of a class of the model; default: the predicted one.", max_length=200
            ),
        ] = None,
        picture: Annotated[
            Literal["png", "json"], Query(alias="format", description="An overlay over the slice, or the grid itself.")
        ] = "png",
        opacity: Annotated[
            float, Query(ge=0, le=1, description="Of the colour where the map is strongest; for png.")
        ] = 0.6,
    ) -> Response:
        """Send a slice as for /predict. **The map is model attention, not lesion location.**

        It shows where what speaks for the class lies, in relation to the rest of this slice: not how much that is, and
        not whether the model is right. Explanations have a lane and a queue of their own and never delay predictions.
        """

        def present(explanation: Explanation, prediction: Prediction) -> bytes:
            request.state.log = {"model_version": explanation.model.version, "explained_by": explanation.method}
            if picture == "png":
                return draw_overlay(explanation, opacity)
            return _explanation_answer(explanation, prediction).model_dump_json().encode()

        content = await explain_one(service, request, class_name, present)
        media_type = {"png": "image/png", "json": "application/json"}[picture]
        return Response(content, media_type=media_type, headers={"X-Note": NOTE})


def _explanation_answer(explanation: Explanation, prediction: Prediction) -> ExplanationAnswer:
    height, width = explanation.grey.shape
    return ExplanationAnswer(
        class_name=explanation.class_name,
        method=explanation.method,
        note=NOTE,
        grid=[[round(value, 4) for value in row] for row in explanation.grid.tolist()],
        box=GridBox(**asdict(explanation.box)),
        slice=SliceSize(width=width, height=height),
        prediction=prediction,
        model_version=prediction.model_version,
        request_id=prediction.request_id,
        warnings=prediction.warnings,
    )


def _model_info(service: Service) -> ModelInfo:
    reload, serving = service.reload, service.reload.serving
    failures = sorted(reload.failures.values(), key=lambda failure: failure.at, reverse=True)
    return ModelInfo(
        model_name=service.settings.model_name,
        model_version=serving.version if serving else None,
        engine=serving.engine.name if serving else None,
        loaded_at=serving.loaded_at if serving else None,
        versions=list(reload.versions),
        loading=reload.loading,
        pinned=reload.pin,
        failures=[
            Failure(model_version=one.version, reason=one.reason, at=one.at, retried=one.retry_at is not None)
            for one in failures
        ],
        warnings=service.warnings(serving) if serving else [],
        health=service.readiness.health(),
        documents=[_address(name) for name in serving.documents] if serving else [],
        manifest=serving.manifest.model_dump(mode="json", exclude={"files"}) if serving else None,
    )


def _address(document: str) -> str:
    """Where a document of the serving version is found, relative to /model-info."""
    return "model-info/card" if document == MODEL_CARD_FILE else f"model-info/{document}"


def _document(service: Service, request: Request, name: str, media_type: str) -> Response:
    """Answered from memory; 304 where the caller has it already."""
    model = service.model()
    content = model.documents.get(name)
    if content is None:
        raise ProblemError(problems.NO_SUCH_DOCUMENT)
    etag = f'"{model.manifest.files[name].sha256}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
