"""The way of a version to its place: found in the repository, proven in a child process, loaded here."""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.hot_reload import HotReload
from service.metrics import Metrics
from service.serving_model import LoadOptions, ServingModel, import_engine, load_model, no_pause
from service.settings import ServiceSettings
from service.trial_load import TrialFailed, trial_load
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
    loader = _Loader(load_options(settings), settings.load_timeout_s, ahead)
    reload = HotReload(
        settings.model_dir,
        lambda version_dir: loader.load(version_dir, is_serving=reload.serving is not None),
        stop_loading=loader.stop,
        poll_interval_s=settings.poll_interval_s,
        on_load=lambda outcome, _: metrics.loaded(outcome),
    )
    return reload


class _Loader:
    """Loads one version at a time."""

    def __init__(self, options: LoadOptions, timeout_s: float, ahead: TrialProcess | None) -> None:
        self._options = options
        self._timeout_s = timeout_s
        self._trial = ahead
        """Of the load that is under way, or waiting for the first one."""
        self._is_stopped = False

    def load(self, version_dir: Path, *, is_serving: bool) -> ServingModel:
        """In a child process first, then here: what cannot be loaded never gets near the process that answers.

        is_serving: another version answers meanwhile. Raises like trial_load().
        """
        if self._options.trusted_key is not None:
            require_signature(version_dir)  # a thousand unsigned versions are no reason for a thousand processes
        with tempfile.TemporaryDirectory(prefix="lungct-") as folder:
            with ThreadPoolExecutor(1, "engine-import") as meanwhile:
                meanwhile.submit(import_engine, self._options.engine)  # 0.2 s for OpenVINO, 4 s for TensorFlow, once
                proven = trial_load(self._process(), version_dir, self._options, Path(folder), self._timeout_s)
            return load_model(version_dir, proven, Path(folder), _pause if is_serving else no_pause)

    def stop(self) -> None:
        """End the trial that is under way, or waits; none is begun any more."""
        self._is_stopped = True
        if self._trial is not None:
            self._trial.end()

    def _process(self) -> TrialProcess:
        if self._trial is None or not self._trial.is_alive:
            if self._trial is not None:
                self._trial.end()
            self._trial = TrialProcess(self._options.engine)
        if self._is_stopped:
            self._trial.end()
            raise TrialFailed("the service ends")
        return self._trial


def _pause() -> None:
    time.sleep(_PAUSE_S)
