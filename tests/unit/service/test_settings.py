"""Settings come from the environment, are checked at the start, and never change."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import ServiceSettings


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ServiceSettings.model_fields:
        monkeypatch.delenv(f"LUNGCT_{name.upper()}", raising=False)


def test_every_setting_has_a_default_and_a_sentence() -> None:
    """Nothing must be set, and each setting says in one sentence what it does."""
    settings = ServiceSettings()
    assert settings.model_dir == Path("models/lung-ct")
    for name, field in ServiceSettings.model_fields.items():
        assert not field.is_required(), name
        assert (field.description or "").endswith("."), name


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LUNGCT_<NAME> sets a field; what others put into the environment does not matter."""
    monkeypatch.setenv("LUNGCT_MODEL_REPOSITORY", str(tmp_path))
    monkeypatch.setenv("LUNGCT_MODEL_NAME", "other")
    monkeypatch.setenv("LUNGCT_MAX_QUEUE", "7")
    monkeypatch.setenv("LUNGCT_NO_SUCH_SETTING", "x")
    settings = ServiceSettings()
    assert (settings.model_dir, settings.max_queue) == (tmp_path / "other", 7)


def test_settings_are_frozen() -> None:
    """A setting cannot be changed while the service runs."""
    with pytest.raises(ValidationError, match="frozen"):
        ServiceSettings().max_queue = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_NAME", "../escape"), ("MODEL_NAME", ""), ("MODEL_NAME", ".hidden"), ("ENGINE", "onnx"),
        ("POLL_INTERVAL_S", "0"), ("MAX_BATCH_SIZE", "0"), ("MAX_QUEUE", "none"), ("MAX_QUEUE", "0"),
        ("REQUEST_TIMEOUT_S", "-1"), ("MAX_UPLOAD_BYTES", "0"), ("MAX_FILES", "0"), ("DRAIN_DELAY_S", "-1"),
        ("GRACE_PERIOD_S", "0"), ("PORT", "70000"), ("ROOT_PATH", "no-slash"), ("ROOT_PATH", "/end/"),
        ("LOG_LEVEL", "loud"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that cannot be meant ends the start, and the error names the setting."""
    monkeypatch.setenv(f"LUNGCT_{name}", value)
    with pytest.raises(ValidationError) as refused:
        ServiceSettings()
    assert [error["loc"] for error in refused.value.errors()] == [(name.lower(),)]


def test_limits_must_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes in flight that do not hold one upload would refuse everything: both settings are named."""
    monkeypatch.setenv("LUNGCT_MAX_UPLOAD_BYTES", "2000")
    monkeypatch.setenv("LUNGCT_MAX_INFLIGHT_BYTES", "1999")
    with pytest.raises(ValidationError, match=r"LUNGCT_MAX_INFLIGHT_BYTES \(1999\).*LUNGCT_MAX_UPLOAD_BYTES, 2000"):
        ServiceSettings()


@pytest.mark.parametrize("prefix", ["", "/ct", "/ct/v1"])
def test_prefixes_are_accepted(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """No prefix, or one that begins with a slash and does not end with one."""
    monkeypatch.setenv("LUNGCT_ROOT_PATH", prefix)
    assert ServiceSettings().root_path == prefix
