"""Puts the parts together. Nothing happens at import."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from service.answering import DISCLAIMER, Service
from service.explain import Explainer
from service.front import DirectRoute, Front
from service.hot_reload import HotReload
from service.metrics import Metrics
from service.prediction import Predictor
from service.problem_answers import ProblemAnswers
from service.readiness import Readiness
from service.request_scope import RequestScope
from service.routes import build_router, prediction_endpoints
from service.self_check import SelfCheck
from service.serving_model import LoadOptions, ServingModel, import_engine, load_model
from service.settings import ServiceSettings
from service.trial_load import trial_load
from service.upload import ByteBudget

_PAUSE_S = 0.3
"""Between steps of a load, while another version answers: what waited meanwhile is answered first."""

_STATIC = Path(__file__).parent / "static"
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"

_DESCRIPTION = f"""Classifies lung CT slices as Normal, Benign or Malignant.

**{DISCLAIMER}**

Errors are `application/problem+json` (RFC 9457); `type` names the kind and never changes.
Drop a slice on [the page](./) to try it by hand."""


def create_app(service: Service) -> ASGIApp:
    """The application: starts looking for models when it starts, and stops cleanly with it."""
    settings = service.settings
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
    endpoints = prediction_endpoints(service)
    app.include_router(build_router(service, endpoints))
    _add_pages(app)
    answers = ProblemAnswers(service.metrics)
    answers.add_to(app)
    direct = {settings.root_path + path: DirectRoute(path, endpoint) for path, endpoint in endpoints.items()}
    return RequestScope(Front(app, direct, answers.of), service.metrics, settings.root_path)


def build_service(settings: ServiceSettings) -> Service:
    """The parts, wired; none of them has started."""
    metrics = Metrics()
    budget = ByteBudget(settings.max_inflight_bytes)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = settings.engine_threads or cores
    options = LoadOptions(settings.engine, settings.precision, threads, settings.max_batch_size)
    predictor = Predictor(settings, metrics, options)

    def pause() -> None:
        if reload.serving is not None:
            time.sleep(_PAUSE_S)

    reload = HotReload(
        settings.model_dir,
        lambda version_dir: _prove_and_load(version_dir, options, settings.load_timeout_s, pause),
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
    return Service(
        settings, reload, predictor, Explainer(settings, metrics, predictor.decoder), readiness, budget, metrics
    )


def _prove_and_load(
    version_dir: Path, options: LoadOptions, timeout_s: float, pause: Callable[[], None]
) -> ServingModel:
    """In a child process first, then here: what cannot be loaded never gets near the process that answers."""
    with tempfile.TemporaryDirectory(prefix="lungct-") as folder:
        with ThreadPoolExecutor(1, "engine-import") as meanwhile:
            meanwhile.submit(import_engine, options.engine)  # 0.2 s for OpenVINO, 4 s for TensorFlow, once
            proven = trial_load(version_dir, options, Path(folder), timeout_s)
        return load_model(version_dir, proven, Path(folder), pause)


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
