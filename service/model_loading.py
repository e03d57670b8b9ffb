"""The way of a version to its place: found in the repository, proven in a child process, loaded here."""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.hot_reload import HotReload
from service.metrics import Metrics
from service.serving_model import LoadOptions, ServingModel, import_engine, load_model
from service.settings import ServiceSettings
from service.trial_load import trial_load
from service.trial_process import TrialProcess
from shared.signing import require_signature

_PAUSE_S = 0.3
"""Between steps of a load, while another version answers: what waited meanwhile is answered first."""


def load_options(settings: ServiceSettings) -> LoadOptions:
    """What the operator set, on the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return LoadOptions(
        settings.engine,
        settings.precision,
        settings.engine_threads or cores,
        settings.max_batch_size,
        trusted_key=None if settings.trusted_key is None else str(settings.trusted_key),
    )


def watch_models(settings: ServiceSettings, metrics: Metrics, ahead: TrialProcess | None = None) -> HotReload:
    """What keeps the wanted version serving, not started yet. ahead: the process of the first trial."""
    options = load_options(settings)
    trials = [ahead] if ahead else []

    def load(version_dir: Path) -> ServingModel:
        if options.trusted_key is not None:
            require_signature(version_dir)  # a thousand unsigned versions are no reason for a thousand processes
        process = trials.pop() if trials else None
        if process is None or not process.is_waiting:
            process = TrialProcess(options.engine)
        return _prove_and_load(process, version_dir, options, settings.load_timeout_s, pause)

    def pause() -> None:
        if reload.serving is not None:
            time.sleep(_PAUSE_S)

    reload = HotReload(
        settings.model_dir,
        load,
        poll_interval_s=settings.poll_interval_s,
        on_load=lambda outcome, _: metrics.loaded(outcome),
    )
    return reload


def _prove_and_load(
    process: TrialProcess, version_dir: Path, options: LoadOptions, timeout_s: float, pause: Callable[[], None]
) -> ServingModel:
    """In a child process first, then here: what cannot be loaded never gets near the process that answers."""
    with tempfile.TemporaryDirectory(prefix="lungct-") as folder:
        with ThreadPoolExecutor(1, "engine-import") as meanwhile:
            meanwhile.submit(import_engine, options.engine)  # 0.2 s for OpenVINO, 4 s for TensorFlow, once
            proven = trial_load(process, version_dir, options, Path(folder), timeout_s)
        return load_model(version_dir, proven, Path(folder), pause)
