"""Names that begin with LUNGCT_: which are known, and what is said of the others."""

import re
from pathlib import Path

import pytest

from service.settings import ServiceSettings
from shared.settings import OF_PROGRAMS, OF_SURROUNDINGS, REMOVED, unknown_settings
from trainer.settings import TrainerSettings

ROOT = Path(__file__).parents[3]
_FIELDS = {name.upper() for settings in (ServiceSettings, TrainerSettings) for name in settings.model_fields}


def test_the_settings_of_both_programs_are_listed() -> None:
    """Neither program may look at the other's class, so a list has both; this keeps it true."""
    assert OF_PROGRAMS == _FIELDS


def test_the_names_of_what_is_around_are_listed() -> None:
    """Compose, make, CI, containers, tests and benchmarks read these names and no other, and each is read."""
    read: set[str] = set()
    for path in ("docker-compose.yml", "Makefile", "Dockerfile.api", "Dockerfile.trainer", ".ci/run", "deploy"):
        for file in [ROOT / path] if (ROOT / path).is_file() else (ROOT / path).rglob("*.y*ml"):
            read |= set(re.findall(r"LUNGCT_([A-Z0-9_]*[A-Z0-9])", file.read_text("utf-8")))
    for folder in ("tests", "benchmarks"):
        for file in (ROOT / folder).rglob("*.py"):
            read |= set(re.findall(r"environ(?:\.get\(|\[)\"LUNGCT_([A-Z0-9_]+)", file.read_text("utf-8")))
    assert read - _FIELDS == OF_SURROUNDINGS


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LUNGCT_MAX_QUEU", "LUNGCT_MAX_QUEUE"), ("LUNGCT_QUEUE", "LUNGCT_MAX_QUEUE"),
        ("LUNGCT_EPOCH", "LUNGCT_EPOCHS"), ("LUNGCT_REPOSITORY", "LUNGCT_MODEL_REPOSITORY"),
        ("lungct_prot", "LUNGCT_PORT"), ("LUNGCT_", None),
        ("LUNGCT_ENGINE_THREAD", "LUNGCT_ENGINE_THREADS"), ("LUNGCT_XYZZY", None),
    ],
)  # fmt: skip
def test_what_nothing_reads_is_told_with_what_was_meant(name: str, meant: str | None) -> None:
    """The nearest known name is suggested, and none where nothing is near."""
    told = unknown_settings({name: "5"}, ())
    assert told == [f"{name}: no such setting" + (f"; did you mean {meant}?" if meant else "")]


@pytest.mark.parametrize("name", sorted(REMOVED))
def test_what_was_removed_is_told_with_what_to_do_instead(name: str) -> None:
    """It is no setting of either program any more, and says since when."""
    assert name.upper() not in _FIELDS | OF_PROGRAMS
    assert unknown_settings({f"LUNGCT_{name.upper()}": "5"}, ()) == [f"LUNGCT_{name.upper()}: {REMOVED[name]}"]
    assert "was removed in 0." in REMOVED[name]


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "LUNGCTX", "XLUNGCT_Y", "lungct_max_queue", "LUNGCT_EPOCHS", "LUNGCT_TEST_DATA", "LUNGCT_OWN_SETTING",
        "LUNGCT_SERVICE_HOST", "LUNGCT_SERVICE_PORT_HTTP", "LUNGCT_API_SERVICE_PORT", "LUNGCT_PORT_8000_TCP",
        "LUNGCT_API_PORT_80_TCP_ADDR",
    ],
)  # fmt: skip
def test_what_is_known_passes(name: str) -> None:
    """The program's own names, also in small letters, the other's, those around, and Kubernetes' links."""
    assert unknown_settings({name: "5"}, ["own_setting"]) == []


def test_an_address_is_a_link_and_a_number_is_not() -> None:
    """LUNGCT_API_PORT=tcp://… was made by Kubernetes; LUNGCT_API_PORT=80 by somebody who meant LUNGCT_PORT."""
    assert unknown_settings({"LUNGCT_API_PORT": "tcp://10.0.0.1:80"}, ()) == []
    assert unknown_settings({"LUNGCT_API_PORT": "80"}, ()) != []
