"""How the service starts, what takes longest first, and how it ends."""

import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Mapping

from pydantic import ValidationError

from service.early_signals import EarlySignals
from service.logging_config import configure_logging
from service.memory import set_heap
from service.metrics import Metrics
from service.model.hot_reload import HotReload
from service.model.loader import watch_models
from service.model.trial_process import TrialProcess
from service.scratch import end_process, sweep
from service.settings import ServiceSettings
from shared import VERSION, signing
from shared.settings import PREFIX, option, unknown_settings

log = logging.getLogger("lungct.service")

_EXIT_USAGE = 2


class UnusableSetting(Exception):
    """The service cannot start as it is set; str() names the variable and says what came."""


def serve(
    ahead: TrialProcess | None,
    early: EarlySignals,
    make_metrics: Callable[[], Metrics] = Metrics,
    given: Mapping[str, str] | None = None,
) -> int:
    """Read the settings, serve until SIGTERM, and return the exit code.

    ahead: the process of the first trial. given: settings that win over the environment, beside what is none.
    """
    fields = ServiceSettings.model_fields
    try:
        settings = _settings({name: value for name, value in (given or {}).items() if name in fields})
    except UnusableSetting as error:
        if ahead is not None:
            ahead.end()
        return _refused(error)
    configure_logging(settings.log_level, settings.log_format)
    repository = str(settings.model_repository.absolute())
    log.info("starting", extra={"version": VERSION, "model_repository": repository, "model_name": settings.model_name})
    set_heap(2)
    sweep()
    metrics = make_metrics()
    reload = watch_models(settings, metrics, ahead)
    reload.start()
    code, is_idle = 1, True
    try:
        code, is_idle = _serve_http(settings, metrics, reload, early)
    except UnusableSetting as error:
        code = _refused(error)
    finally:
        is_clean = reload.stop() and is_idle
    if code == 0:
        log.info("stopped", extra={"is_clean": is_clean})
    if not is_clean:  # a thread hangs in a stalled volume or in the engine, and must not keep the process alive
        end_process(code)
    return code


def _refused(error: UnusableSetting) -> int:
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()
    return _EXIT_USAGE


def _settings(given: Mapping[str, str]) -> ServiceSettings:
    if unknown := unknown_settings(os.environ, ServiceSettings.model_fields):
        raise UnusableSetting("\n".join(unknown))
    try:
        settings = ServiceSettings(**given)  # type: ignore[arg-type]  # pydantic makes of the text what it should be
    except ValidationError as error:
        lines = []
        for one in error.errors():
            field = str(one["loc"][0]) if one["loc"] else ""
            name = option(field) if field in given else PREFIX + field.upper() if field else "settings"
            got = f", got {one['input']!r}" if one["loc"] else ""  # all settings would come, keys among them
            lines.append(f"{name}: {one['msg']}{got}")
        raise UnusableSetting("\n".join(lines)) from error
    if importlib.util.find_spec(settings.engine) is None:
        raise UnusableSetting(
            f"LUNGCT_ENGINE: the package {settings.engine} is not installed; "
            "OpenVINO comes with lungct[service], TensorFlow with lungct[trainer]"
        )
    if settings.trusted_key is not None:
        try:
            signing.require_library()
            signing.trusted_keys(settings.trusted_key)
        except signing.UnusableKey as error:
            raise UnusableSetting(f"LUNGCT_TRUSTED_KEY: {error.strerror}") from error
    return settings


def _serve_http(
    settings: ServiceSettings, metrics: Metrics, reload: HotReload, early: EarlySignals
) -> tuple[int, bool]:
    """Serve; the exit code, and whether no batch is left that hangs.

    What answers is imported here, which takes as long as half a load of the model: the two go on side by side.
    """
    from service.app import build_state
    from service.auth.api_keys import KeysError
    from service.server import serve_http

    try:
        state = build_state(settings, metrics, reload)
    except KeysError as error:
        raise UnusableSetting(f"LUNGCT_API_KEYS: {error}") from error
    except OSError as error:
        raise UnusableSetting(f"LUNGCT_LEDGER_KEY_FILE: {error}") from error
    code = 0 if serve_http(state, early) else 1
    batcher = state.predictor.batcher
    return code, not batcher.places.held and not batcher.oldest_batch_s
