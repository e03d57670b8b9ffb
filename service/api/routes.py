"""The HTTP interface: what each address takes and answers."""

from fastapi import APIRouter, Request, Response

from service.answers.model_info import model_info
from service.api import openapi
from service.api.handlers import Handlers
from service.api.problems import InternalError, NoModel, NoSuchDocument, documented
from service.api.state import AppState
from service.api.uploads import TooManyBytes, TooManyFiles
from service.errors import InvalidRequest
from service.schemas import BatchAnswer, Health, ModelInfo, Prediction
from shared.artifact import FIGURES_DIR, MODEL_CARD_FILE


def build_router(state: AppState, handlers: Handlers) -> APIRouter:
    """All addresses but the page and the documentation."""
    router = APIRouter()
    router.add_api_route(
        "/predict",
        handlers.predict,
        methods=["POST"],
        tags=["prediction"],
        operation_id="predict",
        summary="Classify one slice",
        response_model=Prediction,
        responses=documented(*openapi.BODY_PROBLEMS, *openapi.SLICE_PROBLEMS, *openapi.UNAVAILABLE),
        openapi_extra={"requestBody": openapi.PREDICT_BODY, "parameters": [openapi.FRAME]},
    )
    router.add_api_route(
        "/predict/batch",
        handlers.predict_batch,
        methods=["POST"],
        tags=["prediction"],
        operation_id="predict_batch",
        summary="Classify several slices",
        response_model=BatchAnswer,
        responses=documented(
            *openapi.BODY_PROBLEMS, TooManyFiles, TooManyBytes, InvalidRequest, InternalError, *openapi.UNAVAILABLE,
        ),
        openapi_extra={"requestBody": openapi.BATCH_BODY, "parameters": [openapi.FRAME]},
    )  # fmt: skip
    router.add_api_route(
        "/render",
        handlers.render,
        methods=["POST"],
        tags=["display"],
        operation_id="render",
        summary="Show one slice",
        response_class=Response,
        responses={200: openapi.RENDERED, **documented(*openapi.BODY_PROBLEMS, *openapi.RENDER_PROBLEMS)},
        openapi_extra={"requestBody": openapi.PREDICT_BODY, "parameters": [openapi.FRAME, *openapi.WINDOW]},
    )

    router.add_api_route(
        "/explain",
        handlers.explain,
        methods=["POST"],
        tags=["prediction"],
        operation_id="explain",
        summary="Show where the model looked",
        response_class=Response,
        responses={
            **documented(*openapi.BODY_PROBLEMS, *openapi.SLICE_PROBLEMS, *openapi.UNAVAILABLE),
            **openapi.EXPLANATION,
        },
        openapi_extra={"requestBody": openapi.PREDICT_BODY, "parameters": [openapi.FRAME, openapi.OPACITY]},
    )

    @router.get(
        "/health",
        operation_id="health",
        tags=["operation"],
        summary="State of the service",
        responses=openapi.HEALTH_503,
    )
    async def health(response: Response) -> Health:
        """200 while it can answer (`ok`, or `degraded` with reasons), else 503."""
        verdict = state.readiness.health()
        response.status_code = 503 if verdict.status == "unavailable" else 200
        return verdict

    @router.get(
        "/health/live",
        operation_id="health_live",
        tags=["operation"],
        summary="Is the process alive?",
        responses=openapi.ALIVE,
    )
    async def live() -> dict[str, str]:
        """200 as long as the process answers at all: a missing model is no reason to restart it."""
        return {"status": "alive"}

    @router.get(
        "/health/ready",
        operation_id="health_ready",
        tags=["operation"],
        summary="May traffic come?",
        responses=openapi.HEALTH_503,
    )
    async def ready(response: Response) -> Health:
        """200 after a real inference and as long as they succeed; 503 before, while draining, or while they fail."""
        return await health(response)

    @router.get(
        "/model-info",
        name="model_info",
        operation_id="model_info",
        tags=["operation"],
        summary="Which model serves, and what else is published",
    )
    async def info() -> ModelInfo:
        """The manifest of the serving version, how it was measured, and every version that could not be loaded."""
        return model_info(
            state.settings.model_name,
            state.reload,
            state.readiness.health(),
            has_ledger=state.ledger is not None,
        )

    @router.get(
        "/model-info/card",
        operation_id="model_card",
        tags=["operation"],
        summary="The serving version's model card",
        response_class=Response,
        responses={**openapi.CARD, **documented(NoSuchDocument, NoModel)},
    )
    async def model_card(request: Request) -> Response:
        """What a person must know before using the model, as Markdown."""
        return _document(state, request, MODEL_CARD_FILE, "text/markdown; charset=utf-8")

    @router.get(
        "/model-info/figures/{name}",
        operation_id="model_figure",
        tags=["operation"],
        summary="A figure of the serving version",
        response_class=Response,
        responses={**openapi.FIGURE, **documented(NoSuchDocument, NoModel)},
        openapi_extra={"parameters": [openapi.FIGURE_NAME]},
    )
    async def figure(request: Request) -> Response:
        """A PNG that the trainer drew; /model-info lists them under `documents`."""
        return _document(state, request, f"{FIGURES_DIR}/{request.path_params['name']}", "image/png")

    @router.get(
        "/metrics",
        operation_id="metrics",
        tags=["operation"],
        summary="Metrics for Prometheus",
        response_class=Response,
        responses=openapi.METRICS,
    )
    async def metrics() -> Response:
        """Prometheus text format; every name begins with `lungct_` but the process's own."""
        return Response(state.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _document(state: AppState, request: Request, name: str, media_type: str) -> Response:
    """Answered from memory; 304 where the caller has it already."""
    model = state.model()
    content = model.documents.get(name)
    if content is None:
        raise NoSuchDocument
    etag = f'"{model.manifest.files[name].sha256}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
