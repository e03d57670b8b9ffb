"""Puts the parts together. Nothing happens at import."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import get_args

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp

from service.answers.warnings import DISCLAIMER
from service.api.exception_handlers import ProblemAnswers
from service.api.fast_path import FastPath
from service.api.handlers import Handlers
from service.api.middleware.auth import KeyAuth
from service.api.middleware.ledger import LedgerMiddleware
from service.api.middleware.request_log import RequestLog
from service.api.middleware.security_headers import CrossOrigin
from service.api.openapi import add_keys
from service.api.pages import add_pages
from service.api.render import Renderer
from service.api.routes import build_router
from service.api.state import AppState
from service.api.uploads import ByteBudget, Intake
from service.auth.api_keys import ApiKeys
from service.explain.explainer import Explainer
from service.health.readiness import Readiness
from service.health.self_check import SelfCheck
from service.inference.predictor import Predictor
from service.ledger.facts import InputDigests
from service.ledger.writer import Ledger
from service.metrics import Metrics
from service.model.hot_reload import HotReload
from service.model.loader import load_options
from service.schemas import ServedVariant
from service.settings import ServiceSettings
from shared import VERSION

_DESCRIPTION = f"""Classifies lung CT slices as Normal, Benign or Malignant.

**{DISCLAIMER}**

Errors are `application/problem+json` (RFC 9457); `type` names the kind and never changes.
Drop a slice on [the page](./) to try it by hand."""


def create_app(state: AppState) -> ASGIApp:
    """The application, which answers with whatever model state.reload has when a request comes."""
    settings = state.settings
    self_check = SelfCheck(state.reload, state.predictor, state.readiness, settings.self_check_interval_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if state.keys:
            state.keys.start()
        if state.ledger:
            state.ledger.start()
        checking = asyncio.create_task(self_check.run())
        watching = asyncio.create_task(state.readiness.watch())
        yield
        watching.cancel()
        checking.cancel()
        if state.keys:
            state.keys.stop()
        if state.ledger:
            state.ledger.stop(patience_s=settings.ledger_timeout_s)

    app = FastAPI(
        title="lungct",
        version=VERSION,
        summary="Lung CT slice classifier",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        root_path=settings.root_path,
        redirect_slashes=False,  # it would lead to whatever the caller's Host names
        lifespan=lifespan,
    )
    router = build_router(state, Handlers(state))
    app.include_router(router)
    add_pages(app)
    answers = ProblemAnswers(state.metrics)
    answers.add_to(app)
    direct = {
        settings.root_path + route.path: route
        for route in router.routes
        if isinstance(route, APIRoute) and route.name in ("predict", "predict_batch", "render")
    }
    fast_path = FastPath(app, direct, answers.of)
    guarded: ASGIApp = fast_path
    add_keys(app, settings.public, are_set=state.keys is not None)
    if state.keys:
        guarded = KeyAuth(fast_path, state.keys, state.metrics, settings.public, settings.root_path)
    if state.ledger:
        guarded = LedgerMiddleware(guarded, state.ledger, state.metrics)
    guarded = CrossOrigin(guarded, settings.cors_origins, answers.of)
    return RequestLog(guarded, state.metrics, settings.root_path)


def build_state(settings: ServiceSettings, metrics: Metrics, reload: HotReload) -> AppState:
    """The parts, wired; none but reload is started. Raises KeysError or OSError where keys are set and of no use."""
    keys = ledger = digests = None
    watched: list[Callable[[], str | None]] = []
    required: list[Callable[[], str | None]] = []
    if settings.api_keys_file is not None or settings.api_keys.strip():
        keys = ApiKeys(settings.api_keys_file, settings.api_keys, poll_interval_s=settings.poll_interval_s)
        metrics.api_keys.set_function(lambda: len(keys.callers))
        watched.append(lambda: keys.complaint)
    if settings.ledger_dir is not None:
        digests = InputDigests(settings.ledger_key_file.read_bytes().strip() if settings.ledger_key_file else None)
        ledger = Ledger(
            settings.ledger_dir,
            settings.ledger_policy,
            metrics,
            opening={"service": VERSION, "policy": settings.ledger_policy, "input_key": digests.key_id},
            max_file_bytes=settings.ledger_max_file_bytes,
            sync_interval_s=settings.ledger_sync_interval_s,
            timeout_s=settings.ledger_timeout_s,
        )
        trouble_of = required if settings.ledger_policy == "closed" else watched
        trouble_of.append(lambda: ledger.trouble and f"the ledger cannot be written: {ledger.trouble}")
        watched.append(lambda: ledger.damage and f"the ledger is damaged: {ledger.damage}")
    intake = Intake(
        ByteBudget(settings.max_inflight_bytes), settings.max_upload_bytes, digests.begin if digests else None
    )
    predictor = Predictor(settings, metrics, load_options(settings))
    readiness = Readiness(
        reload=reload,
        metrics=metrics,
        batcher=predictor.batcher,
        stuck_after_s=settings.request_timeout_s,
        stale_after_s=max(30.0, 10 * settings.poll_interval_s),
        unchecked_after_s=3 * settings.self_check_interval_s + settings.request_timeout_s,
        clock=time.monotonic,
        watched=watched,
        required=required,
    )
    metrics.queue_depth.set_function(lambda: predictor.batcher.places.held)
    metrics.inflight_bytes.set_function(lambda: intake.budget.held)
    metrics.serving_version.set_function(lambda: reload.serving.version if reload.serving else 0)
    for variant in get_args(ServedVariant):
        metrics.serving_variant.labels(variant).set_function(partial(_serves, reload, variant))
    metrics.ready.set_function(lambda: readiness.health().status != "unavailable")
    metrics.degraded.set_function(lambda: readiness.health().status == "degraded")
    explainer = Explainer(settings, metrics, predictor.decoder)
    renderer = Renderer(predictor.decoder)
    return AppState(settings, reload, predictor, explainer, renderer, readiness, intake, metrics, keys, ledger)


def _serves(reload: HotReload, variant: ServedVariant) -> bool:
    return reload.serving is not None and reload.serving.variant == variant
