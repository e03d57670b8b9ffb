"""Puts the parts together. Nothing happens at import; tests call create_app() with their own settings."""

import asyncio
import functools
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service import problems
from service.answering import DISCLAIMER, Service
from service.batching import BatchFailed, QueueFull
from service.hot_reload import HotReload
from service.metrics import Metrics
from service.prediction import Predictor
from service.problems import ProblemError, problem_of, problem_response
from service.readiness import Readiness
from service.request_scope import RequestScope
from service.routes import build_router
from service.self_check import SelfCheck
from service.serving_model import LoadOptions, ServingModel, import_engine, load_model
from service.settings import ServiceSettings
from service.trial_load import trial_load
from service.upload import ByteBudget, UploadError
from shared.raster import SliceError

_STATIC = Path(__file__).parent / "static"
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"
_CLIENT_GONE = 499

_DESCRIPTION = f"""Classifies lung CT slices as Normal, Benign or Malignant.

**{DISCLAIMER}**

Errors are `application/problem+json` (RFC 9457); `type` names the kind and never changes.
Drop a slice on [the page](./) to try it by hand."""


def create_app(settings: ServiceSettings) -> FastAPI:
    """The application: starts looking for models when it starts, and stops cleanly with it."""
    service = _build_service(settings)
    self_check = SelfCheck(service.reload, service.predictor, service.readiness, settings.self_check_interval_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.reload.start()
        checking = asyncio.create_task(self_check.run())
        yield
        checking.cancel()
        service.reload.stop(patience_s=1.0)

    app = FastAPI(
        title="lungct",
        version="0.1.0",
        summary="Lung CT slice classifier",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        root_path=settings.root_path,
        lifespan=lifespan,
    )
    app.state.service = service
    app.include_router(build_router(service))
    _add_pages(app)
    _add_problem_handlers(app, service.metrics)
    app.add_middleware(RequestScope, metrics=service.metrics, root_path=settings.root_path)
    return app


def _build_service(settings: ServiceSettings) -> Service:
    metrics = Metrics()
    budget = ByteBudget(settings.max_inflight_bytes)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = settings.engine_threads or cores
    options = LoadOptions(settings.engine, settings.precision, threads, settings.max_batch_size)
    predictor = Predictor(settings, metrics, threads)
    reload = HotReload(
        settings.model_dir,
        functools.partial(_prove_and_load, options=options, timeout_s=settings.load_timeout_s),
        poll_interval_s=settings.poll_interval_s,
        on_load=lambda outcome, _: metrics.loaded(outcome),
    )
    readiness = Readiness(
        reload=reload,
        metrics=metrics,
        batcher=predictor.batcher,
        stuck_after_s=settings.request_timeout_s,
        stale_after_s=max(30.0, 10 * settings.poll_interval_s),
        clock=time.monotonic,
    )
    metrics.queue_depth.set_function(lambda: predictor.batcher.depth)
    metrics.inflight_bytes.set_function(lambda: budget.held)
    metrics.serving_version.set_function(lambda: reload.serving.version if reload.serving else 0)
    metrics.ready.set_function(lambda: readiness.health().status != "unavailable")
    return Service(settings, reload, predictor, readiness, budget, metrics)


def _prove_and_load(version_dir: Path, options: LoadOptions, timeout_s: float) -> ServingModel:
    """In a child process first, then here: what cannot be loaded never gets near the process that answers."""
    with ThreadPoolExecutor(1, "engine-import") as meanwhile:
        meanwhile.submit(import_engine, options.engine)  # 0.2 s for OpenVINO, 4 s for TensorFlow, once
        trial_load(version_dir, options, timeout_s=timeout_s)
    return load_model(version_dir, options)


def _add_pages(app: FastAPI) -> None:
    """The upload page and Swagger UI, from files of installed packages: no other host is asked for anything."""
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.mount("/swagger", StaticFiles(directory=_SWAGGER), name="swagger")

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse((_STATIC / "index.html").read_text("utf-8"))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        prefix = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{prefix}/openapi.json",
            title="lungct API",
            swagger_js_url=f"{prefix}/swagger/swagger-ui-bundle.js",
            swagger_css_url=f"{prefix}/swagger/swagger-ui.css",
            swagger_favicon_url=f"{prefix}/static/favicon.svg",
        )


def _add_problem_handlers(app: FastAPI, metrics: Metrics) -> None:
    """Whatever ends a request without an answer becomes a problem; what is unknown becomes one in RequestScope."""

    def answer(request: Request, problem: ProblemError) -> Response:
        metrics.rejected.labels(problem.kind.name).inc()
        request.state.log = {"problem": problem.kind.name}
        return problem_response(problem, request.state.request_id)

    async def known(request: Request, error: Exception) -> Response:
        return answer(request, problem_of(error))

    async def http(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == problems.METHOD_NOT_ALLOWED.status:
            allowed = (error.headers or {}).get("Allow", "")
            detail = f"This address takes: {allowed}."
            return answer(request, ProblemError(problems.METHOD_NOT_ALLOWED, detail, allowed_methods=allowed))
        return answer(request, ProblemError(problems.NOT_FOUND))

    async def invalid(request: Request, _: Exception) -> Response:
        return answer(request, ProblemError(problems.INVALID_REQUEST))

    async def gone(*_: object) -> Response:
        return Response(status_code=_CLIENT_GONE)

    for kind in (ProblemError, UploadError, SliceError, QueueFull, BatchFailed):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, gone)
