"""The HTTP interface: what each address takes and answers."""

from functools import partial

from fastapi import APIRouter, Request, Response

from service.answers.model_info import model_info
from service.api import openapi
from service.api.handlers import Handlers
from service.api.problems import NoModel, NoSuchDocument, documented
from service.api.state import AppState
from service.schemas import BatchAnswer, Health, ModelInfo, Prediction
from shared.artifact import FIGURES_DIR, MODEL_CARD_FILE


def build_router(state: AppState, handlers: Handlers) -> APIRouter:
    """All addresses but the page and the documentation, where each has the name of its function."""
    router = APIRouter(generate_unique_id_function=lambda route: route.name)
    router.post(
        "/predict",
        tags=["prediction"],
        summary="Classify one slice",
        response_model=Prediction,
        responses=documented(*openapi.PREDICT_PROBLEMS),
        openapi_extra={"requestBody": openapi.SLICE_BODY, "parameters": [openapi.FRAME]},
    )(handlers.predict)
    router.post(
        "/predict/batch",
        tags=["prediction"],
        summary="Classify several slices",
        response_model=BatchAnswer,
        responses=documented(*openapi.BATCH_PROBLEMS),
        openapi_extra={"requestBody": openapi.BATCH_BODY, "parameters": [openapi.FRAME]},
    )(handlers.predict_batch)
    router.post(
        "/render",
        tags=["display"],
        summary="Show one slice",
        response_class=Response,
        responses={**openapi.RENDERED, **documented(*openapi.RENDER_PROBLEMS)},
        openapi_extra={"requestBody": openapi.SLICE_BODY, "parameters": [openapi.FRAME, openapi.LEVEL, openapi.WIDTH]},
    )(handlers.render)
    router.post(
        "/explain",
        tags=["prediction"],
        summary="Show where the model looked",
        response_class=Response,
        responses={**documented(*openapi.PREDICT_PROBLEMS), **openapi.EXPLANATION},
        openapi_extra={"requestBody": openapi.SLICE_BODY, "parameters": [openapi.FRAME, openapi.OPACITY]},
    )(handlers.explain)
    get = partial(router.get, tags=["operation"])

    @get("/health", summary="State of the service", responses=openapi.HEALTH_503)
    async def health(response: Response) -> Health:
        """200 while it can answer (`ok`, or `degraded` with reasons), else 503."""
        verdict = state.readiness.health()
        response.status_code = 503 if verdict.status == "unavailable" else 200
        return verdict

    @get("/health/live", summary="Is the process alive?", responses=openapi.ALIVE)
    async def health_live() -> dict[str, str]:
        """200 as long as the process answers at all: a missing model is no reason to restart it."""
        return {"status": "alive"}

    @get("/health/ready", summary="May traffic come?", responses=openapi.HEALTH_503)
    async def health_ready(response: Response) -> Health:
        """200 after a real inference and as long as they succeed; 503 before, while draining, or while they fail."""
        return await health(response)

    @get("/model-info", name="model_info", summary="Which model serves, and what else is published")
    async def info() -> ModelInfo:
        """The manifest of the serving version, how it was measured, and every version that could not be loaded."""
        has_ledger = state.ledger is not None
        return model_info(state.settings.model_name, state.reload, state.readiness.health(), has_ledger=has_ledger)

    @get(
        "/model-info/card",
        summary="The serving version's model card",
        response_class=Response,
        responses={**openapi.CARD, **documented(NoSuchDocument, NoModel)},
    )
    async def model_card(request: Request) -> Response:
        """What a person must know before using the model, as Markdown."""
        return _document(state, request, MODEL_CARD_FILE, "text/markdown; charset=utf-8")

    @get(
        "/model-info/figures/{name}",
        summary="A figure of the serving version",
        response_class=Response,
        responses={**openapi.FIGURE, **documented(NoSuchDocument, NoModel)},
        openapi_extra={"parameters": [openapi.FIGURE_NAME]},
    )
    async def model_figure(request: Request) -> Response:
        """A PNG that the trainer drew; /model-info lists them under `documents`."""
        return _document(state, request, f"{FIGURES_DIR}/{request.path_params['name']}", "image/png")

    @get("/metrics", summary="Metrics for Prometheus", response_class=Response, responses=openapi.METRICS)
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
