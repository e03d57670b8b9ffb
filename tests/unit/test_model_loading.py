"""A version on its way: the process of its trial may have been started ahead, and is not needed for what is refused."""

from pathlib import Path

import psutil
import pytest

from service.metrics import Metrics
from service.model_loading import watch_models
from service.settings import ServiceSettings
from service.trial_process import TrialProcess
from tests.serving import wait_until


def _settings(repository: Path, trusted_key: Path | None = None) -> ServiceSettings:
    return ServiceSettings(model_repository=repository, engine_threads=1, max_batch_size=2, trusted_key=trusted_key)


def test_the_first_trial_is_in_the_process_that_was_started_ahead(tiny_network_repository: Path) -> None:
    """No second process is started, and the version serves."""
    ahead = TrialProcess("openvino")
    reload = watch_models(_settings(tiny_network_repository), Metrics(), ahead)
    reload.poll()
    assert reload.serving is not None
    assert not ahead.is_waiting


def test_a_process_that_has_ended_meanwhile_is_replaced(tiny_network_repository: Path) -> None:
    """One that was started ahead, and waited in vain for its version, is no reason for a failure."""
    ahead = TrialProcess("openvino")
    ahead.end()
    reload = watch_models(_settings(tiny_network_repository), Metrics(), ahead)
    reload.poll()
    assert reload.failures == {}
    assert reload.serving is not None


def test_an_unsigned_version_costs_no_process(tiny_network_repository: Path, tmp_path: Path) -> None:
    """Where a signature is asked for, one without is refused before anything is started or read."""
    ahead = TrialProcess("openvino")
    reload = watch_models(_settings(tiny_network_repository, trusted_key=tmp_path / "key.pem"), Metrics(), ahead)
    reload.poll()
    assert "sign" in reload.failures[1].reason
    assert ahead.is_waiting
    ahead.end()


def test_a_process_that_nobody_needs_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It waits for its task for some time, not for ever: the memory is the service's."""
    (tmp_path / "sitecustomize.py").write_text(
        "import select\nas_ever = select.select\n"
        "select.select = lambda reading, writing, failing, limit: as_ever(reading, writing, failing, limit / 100)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    ahead = TrialProcess("openvino")
    wait_until(lambda: not ahead.is_waiting, "it has ended by itself", 30)
    ahead.end()
    assert not [child for child in psutil.Process().children() if "trial_load" in " ".join(child.cmdline())]
