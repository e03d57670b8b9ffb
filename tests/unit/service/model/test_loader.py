"""A version on its way: the process of its trial may have been started ahead, and is not needed for what is refused."""

from pathlib import Path

import psutil
import pytest

from service.metrics import Metrics
from service.model.loader import load_options, watch_models
from service.model.trial_process import TrialFailed, TrialProcess
from service.model.trial_worker import trial_load
from service.settings import ServiceSettings
from tests.support.serving import wait_until


def _trials() -> list[int]:
    """Processes of ours, dead ones that nobody waited for among them."""
    return [
        child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE or _tries(child)
    ]


def _tries(child: psutil.Process) -> bool:
    return "service.model.trial_worker" in child.cmdline()


def _settings(repository: Path, trusted_key: Path | None = None) -> ServiceSettings:
    return ServiceSettings(model_repository=repository, engine_threads=1, max_batch_size=2, trusted_key=trusted_key)


def test_the_first_trial_is_in_the_process_that_was_started_ahead(tiny_network_repository: Path) -> None:
    """No second process is started, and the version serves."""
    ahead = TrialProcess("openvino")
    reload = watch_models(_settings(tiny_network_repository), Metrics(), ahead)
    reload.poll()
    assert reload.serving is not None
    assert not ahead.is_alive


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
    before = _trials()
    assert before
    reload = watch_models(_settings(tiny_network_repository, trusted_key=tmp_path / "key.pem"), Metrics(), ahead)
    reload.poll()
    assert "sign" in reload.failures[1].reason
    assert _trials() == before
    ahead.end()


def test_a_process_that_nobody_needs_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It waits for its task for some time, not for ever: the memory is the service's."""
    (tmp_path / "sitecustomize.py").write_text(
        "import select\nas_ever = select.select\n"
        "select.select = lambda reading, writing, failing, limit: as_ever(reading, writing, failing, limit / 100)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    ahead = TrialProcess("openvino")
    assert _trials()
    wait_until(lambda: not ahead.is_alive, "it has ended by itself", 30)
    assert not _trials()
    with pytest.raises(TrialFailed, match=r"^a trial load was asked for too late$"):
        trial_load(ahead, tmp_path, load_options(_settings(tmp_path)), tmp_path, timeout_s=60)
