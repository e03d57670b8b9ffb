"""The HTTP interface: what each address takes and answers."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from service.api import openapi, problems
from service.api.fast_path import Endpoint
from service.api.handlers import Service, explain_one, predict_files, predict_one
from service.api.model_info import document, model_info
from service.api.params import number_of, parameter_of
from service.api.render import Renderer
from service.explain.explainer import Explanation
from service.explain.overlay import DEFAULT_OPACITY, draw_overlay
from service.schemas import NOTE, BatchAnswer, ExplanationAnswer, GridBox, Health, ModelInfo, Prediction, SliceSize
from shared.artifact import FIGURES_DIR, MODEL_CARD_FILE


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
        operation_id="predict",
        summary="Classify one slice",
        response_model=Prediction,
        responses=problems.documented(*openapi.BODY_PROBLEMS, *openapi.SLICE_PROBLEMS, *openapi.UNAVAILABLE),
        openapi_extra={"requestBody": openapi.PREDICT_BODY, "parameters": [openapi.FRAME]},
    )
    router.add_api_route(
        "/predict/batch",
        endpoints["/predict/batch"],
        methods=["POST"],
        tags=["prediction"],
        operation_id="predict_batch",
        summary="Classify several slices",
        response_model=BatchAnswer,
        responses=problems.documented(
            *openapi.BODY_PROBLEMS, problems.TOO_MANY_FILES, problems.TOO_MANY_BYTES, problems.INVALID_REQUEST,
            problems.INTERNAL_ERROR, *openapi.UNAVAILABLE,
        ),
        openapi_extra={"requestBody": openapi.BATCH_BODY, "parameters": [openapi.FRAME]},
    )  # fmt: skip
    router.add_api_route(
        "/render",
        endpoints["/render"],
        methods=["POST"],
        tags=["display"],
        operation_id="render",
        summary="Show one slice",
        response_class=Response,
        responses={200: openapi.RENDERED, **problems.documented(*openapi.BODY_PROBLEMS, *openapi.RENDER_PROBLEMS)},
        openapi_extra={"requestBody": openapi.PREDICT_BODY, "parameters": [openapi.FRAME, *openapi.WINDOW]},
    )

    _add_explain(router, service)

    @router.get(
        "/health",
        operation_id="health",
        tags=["operation"],
        summary="State of the service",
        responses=openapi.HEALTH_503,
    )
    async def health(response: Response) -> Health:
        """200 while it can answer (`ok`, or `degraded` with reasons), else 503."""
        verdict = service.readiness.health()
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
        return model_info(service)

    @router.get(
        "/model-info/card",
        operation_id="model_card",
        tags=["operation"],
        summary="The serving version's model card",
        response_class=Response,
        responses={**openapi.CARD, **problems.documented(problems.NO_SUCH_DOCUMENT, problems.NO_MODEL)},
    )
    async def model_card(request: Request) -> Response:
        """What a person must know before using the model, as Markdown."""
        return document(service, request, MODEL_CARD_FILE, "text/markdown; charset=utf-8")

    @router.get(
        "/model-info/figures/{name}",
        operation_id="model_figure",
        tags=["operation"],
        summary="A figure of the serving version",
        response_class=Response,
        responses={**openapi.FIGURE, **problems.documented(problems.NO_SUCH_DOCUMENT, problems.NO_MODEL)},
        openapi_extra={"parameters": [openapi.FIGURE_NAME]},
    )
    async def figure(request: Request) -> Response:
        """A PNG that the trainer drew; /model-info lists them under `documents`."""
        return document(service, request, f"{FIGURES_DIR}/{request.path_params['name']}", "image/png")

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
        return Response(service.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _add_explain(router: APIRouter, service: Service) -> None:
    @router.post(
        "/explain",
        operation_id="explain",
        tags=["prediction"],
        summary="Show where the model looked",
        response_class=Response,
        responses={
            **problems.documented(*openapi.BODY_PROBLEMS, *openapi.SLICE_PROBLEMS, *openapi.UNAVAILABLE),
            **openapi.EXPLANATION,
        },
        openapi_extra={"requestBody": openapi.PREDICT_BODY, "parameters": [openapi.FRAME, openapi.OPACITY]},
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
    ) -> Response:
        """Send a slice as for /predict. **The map is model attention, not lesion location.**

        It shows where what speaks for the class lies, in relation to the rest of this slice: not how much that is, and
        not whether the model is right. Explanations have a worker and a queue of their own and never delay predictions.
        """
        opacity = number_of(request, "opacity", 0, 1)
        for name in ("class", "format"):
            parameter_of(request, name)  # FastAPI takes the last one of several

        def present(explanation: Explanation, prediction: Prediction) -> bytes:
            request.state.log = {"model_version": explanation.model.version, "explained_by": explanation.method}
            if picture == "png":
                return draw_overlay(explanation, DEFAULT_OPACITY if opacity is None else opacity)
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
