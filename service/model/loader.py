"""The way of a version to its place: found in the repository, proven in a child process, loaded here."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.metrics import Metrics
from service.model.hot_reload import HotReload
from service.model.serving_model import LoadOptions, ServingModel, import_engine, load_model
from service.model.trial_process import MachineTrouble, TrialFailed, TrialProcess
from service.model.trial_worker import trial_load
from service.scratch import require_room, room_to_convert, scratch_folder
from service.settings import ServiceSettings
from shared.artifact import ArtifactError
from shared.signing import require_signature

_PAUSE_S = 0.3
"""Between steps of a load, while another version answers: what waited meanwhile is answered first."""

_ENDS = "the service ends"


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
        self._stopped = threading.Event()

    def load(self, version_dir: Path, *, is_serving: bool) -> ServingModel:
        """In a child process first, then here: what cannot be loaded never gets near the process that answers.

        is_serving: another version answers meanwhile. Raises OSError, and like trial_load().
        """
        if self._options.trusted_key is not None:
            require_signature(version_dir)  # a thousand unsigned versions are no reason for a thousand processes
        try:
            with scratch_folder() as folder:
                return self._load(version_dir, folder, _PAUSE_S if is_serving else 0)
        except Exception as error:
            if _can_start_threads(self._options):
                raise
            # an engine that gets no threads says, or is made to say, that the version is bad
            raise MachineTrouble("this machine could not load it: no more threads can be started") from error

    def _load(self, version_dir: Path, folder: Path, pause_s: float) -> ServingModel:
        if self._options.engine == "openvino":
            require_room(folder, room_to_convert(version_dir))  # before a process is started in vain
        with ThreadPoolExecutor(1, "engine-import") as meanwhile:
            meanwhile.submit(import_engine, self._options.engine)  # 0.2 s for OpenVINO, 4 s for TensorFlow, once
            proven = trial_load(self._process(), version_dir, self._options, folder, self._timeout_s)
        try:
            return load_model(version_dir, proven, folder, lambda: self._pause(pause_s))
        except ArtifactError as error:
            raise TrialFailed(f"it passed its trial, but not the load after it: {error}") from error

    def stop(self) -> None:
        """End the trial that is under way, or waits, and what follows it at its next step; none is begun any more."""
        self._stopped.set()
        if self._trial is not None:
            self._trial.end()

    def _process(self) -> TrialProcess:
        if self._trial is None or not self._trial.is_alive:
            if self._trial is not None:
                self._trial.end()
            self._trial = TrialProcess(self._options.engine)
        if self._stopped.is_set():
            self._trial.end()
            raise TrialFailed(_ENDS)
        return self._trial

    def _pause(self, pause_s: float) -> None:
        if self._stopped.wait(pause_s):
            raise TrialFailed(_ENDS)


def _can_start_threads(options: LoadOptions) -> bool:
    """As many as a load takes, all at a time."""
    may_end = threading.Event()
    try:
        for _ in range(16 + 4 * options.threads):
            threading.Thread(target=may_end.wait, name="is-there-room", daemon=True).start()
    except RuntimeError:
        return False
    finally:
        may_end.set()
    return True
