"""Puts the parts together. Nothing happens at import."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.types import ASGIApp

from service.access import Access
from service.access_document import add_keys
from service.answering import DISCLAIMER, Service
from service.api_keys import ApiKeys
from service.browsers import allow_origins
from service.explain import Explainer
from service.front import DirectRoute, Front
from service.hot_reload import HotReload
from service.ledger import Ledger
from service.metrics import Metrics
from service.pages import add_pages
from service.prediction import Predictor
from service.problem_answers import ProblemAnswers
from service.readiness import Readiness
from service.recording import InputDigests, Recording
from service.request_scope import RequestScope
from service.routes import build_router, prediction_endpoints
from service.self_check import SelfCheck
from service.serving_model import LoadOptions, ServingModel, import_engine, load_model
from service.settings import ServiceSettings
from service.trial_load import trial_load
from service.upload import ByteBudget
from shared.signing import require_signature

VERSION = "0.1.0"

_PAUSE_S = 0.3
"""Between steps of a load, while another version answers: what waited meanwhile is answered first."""

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
        if service.keys:
            service.keys.start()
        if service.ledger:
            service.ledger.start()
        checking = asyncio.create_task(self_check.run())
        yield
        checking.cancel()
        if service.keys:
            service.keys.stop()
        if service.ledger:
            service.ledger.stop(patience_s=settings.ledger_timeout_s)
        service.reload.stop(patience_s=1.0)

    app = FastAPI(
        title="lungct",
        version=VERSION,
        summary="Lung CT slice classifier",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        root_path=settings.root_path,
        lifespan=lifespan,
    )
    endpoints = prediction_endpoints(service)
    app.include_router(build_router(service, endpoints))
    add_pages(app)
    answers = ProblemAnswers(service.metrics)
    answers.add_to(app)
    direct = {settings.root_path + path: DirectRoute(path, endpoint) for path, endpoint in endpoints.items()}
    front = Front(app, direct, answers.of)
    guarded: ASGIApp = front
    if service.keys:
        add_keys(app, settings.public)
        guarded = Access(front, service.keys, service.metrics, settings.public, settings.root_path)
    if service.ledger:
        guarded = Recording(guarded, service.ledger, service.metrics)
    if settings.cors_origins:
        guarded = allow_origins(guarded, settings.cors_origins)
    return RequestScope(guarded, service.metrics, settings.root_path)


def build_service(settings: ServiceSettings) -> Service:
    """The parts, wired; none of them has started. Raises KeysError or OSError where keys are set and of no use."""
    metrics = Metrics()
    keys = _api_keys(settings, metrics)
    digests = _input_digests(settings)
    ledger = _ledger(settings, metrics, digests)
    ledger_trouble = (lambda: ledger.trouble and f"the ledger cannot be written: {ledger.trouble}",) if ledger else ()
    is_closed = settings.ledger_policy == "closed"
    budget = ByteBudget(settings.max_inflight_bytes)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = settings.engine_threads or cores
    trusted_key = None if settings.trusted_key is None else str(settings.trusted_key)
    options = LoadOptions(
        settings.engine, settings.precision, threads, settings.max_batch_size, trusted_key=trusted_key
    )
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
        watched=(*([lambda: keys.complaint] if keys else []), *(() if is_closed else ledger_trouble)),
        required=ledger_trouble if is_closed else (),
    )
    metrics.queue_depth.set_function(lambda: predictor.batcher.depth)
    metrics.inflight_bytes.set_function(lambda: budget.held)
    metrics.serving_version.set_function(lambda: reload.serving.version if reload.serving else 0)
    metrics.ready.set_function(lambda: readiness.health().status != "unavailable")
    metrics.degraded.set_function(lambda: readiness.health().status == "degraded")
    explainer = Explainer(settings, metrics, predictor.decoder)
    return Service(settings, reload, predictor, explainer, readiness, budget, metrics, keys, ledger, digests)


def _api_keys(settings: ServiceSettings, metrics: Metrics) -> ApiKeys | None:
    if settings.api_keys_file is None and not settings.api_keys.strip():
        return None
    return ApiKeys(
        settings.api_keys_file,
        settings.api_keys,
        poll_interval_s=settings.poll_interval_s,
        on_change=metrics.api_keys.set,
    )


def _input_digests(settings: ServiceSettings) -> InputDigests | None:
    if settings.ledger_dir is None:
        return None
    return InputDigests(settings.ledger_key_file.read_bytes().strip() if settings.ledger_key_file else None)


def _ledger(settings: ServiceSettings, metrics: Metrics, digests: InputDigests | None) -> Ledger | None:
    if settings.ledger_dir is None or digests is None:
        return None
    return Ledger(
        settings.ledger_dir,
        settings.ledger_policy,
        metrics,
        opening={"service": VERSION, "policy": settings.ledger_policy, "input_key": digests.key_id},
        max_file_bytes=settings.ledger_max_file_bytes,
        sync_interval_s=settings.ledger_sync_interval_s,
        timeout_s=settings.ledger_timeout_s,
    )


def _prove_and_load(
    version_dir: Path, options: LoadOptions, timeout_s: float, pause: Callable[[], None]
) -> ServingModel:
    """In a child process first, then here: what cannot be loaded never gets near the process that answers."""
    if options.trusted_key is not None:
        require_signature(version_dir)  # a thousand unsigned versions are no reason for a thousand processes
    with tempfile.TemporaryDirectory(prefix="lungct-") as folder:
        with ThreadPoolExecutor(1, "engine-import") as meanwhile:
            meanwhile.submit(import_engine, options.engine)  # 0.2 s for OpenVINO, 4 s for TensorFlow, once
            proven = trial_load(version_dir, options, Path(folder), timeout_s)
        return load_model(version_dir, proven, Path(folder), pause)
