"""What an operator types and reads when a service starts: options, variables, version, log lines."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.settings import ServiceSettings
from shared import VERSION
from tests.support.serving import serving, wait_until

_ROOT = Path(__file__).parents[3]


def start(
    program: str, *arguments: str, terminal: int | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """A program as it is typed into a shell, with no other LUNGCT_ variable than these, and what it said."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("LUNGCT_")}
    return subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=_ROOT, env={**inherited, **variables}, stdout=subprocess.PIPE, text=True, timeout=120, check=False,
        stderr=subprocess.PIPE if terminal is None else terminal,
    )  # fmt: skip


@pytest.mark.parametrize(("program", "arguments"), [("service", ()), ("trainer", ("versions",))])
def test_a_misspelt_variable_ends_the_start(program: str, arguments: tuple[str, ...]) -> None:
    """Exit code 2, and one line that names it and the one that was meant; its value, perhaps a key, is not repeated."""
    ended = start(program, *arguments, LUNGCT_MAX_QUEU="secret")
    assert ended.returncode == 2
    assert ended.stderr.endswith("LUNGCT_MAX_QUEU: no such setting; did you mean LUNGCT_MAX_QUEUE?\n")
    assert ended.stderr.count("\n") == 1
    assert "secret" not in ended.stderr


@pytest.mark.parametrize("program", ["service", "trainer"])
def test_both_programs_tell_their_version(program: str) -> None:
    """--version prints name and version, and nothing is started."""
    ended = start(program, "--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"lungct {VERSION}\n", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--port", "70000"), "--port: Input should be less than or equal to 65535, got '70000'"),
        (("--prot", "9000"), "no such option: --prot; did you mean --port?"),
        (("--engine", "onnx"), "invalid choice: 'onnx'"),
        (("--api-keys", "lungct_secret"), "no such option: --api-keys; did you mean --api-keys-file?"),
        (("--port", "9000", "make-key", "pacs"), "make-key takes no settings"),
    ],
)
def test_an_option_that_cannot_be_meant_ends_the_start(arguments: tuple[str, ...], told: str) -> None:
    """Exit code 2, and the option is named. Keys are no option: everybody on the machine can read a command line."""
    ended = start("service", *arguments)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "secret" not in ended.stderr


def test_help_lists_every_setting_as_option_and_variable() -> None:
    """Each with its variable; what must not stand on a command line with the variable only."""
    ended = start("service", "--help")
    assert ended.returncode == 0
    for name, field in ServiceSettings.model_fields.items():
        assert f"LUNGCT_{name.upper()}" in ended.stdout
        assert (f"--{name.replace('_', '-')} " in ended.stdout) == (name != "api_keys"), field


@pytest.mark.slow
def test_options_win_over_variables(tiny_network_repository: Path) -> None:
    """--model-repository and --host=… are taken, and the variables of the same settings are not."""
    with serving(
        Path("/nowhere"), arguments=["--model-repository", str(tiny_network_repository), "--max-files=3"], max_files=0
    ) as service:
        assert service.health()["model_version"] == 1


def test_version_in_health_and_metrics(tiny_network_repository: Path) -> None:
    """/health says which program answers, beside which model; lungct_build_info says it to Prometheus."""
    with serving(tiny_network_repository) as service:
        health = service.health()
        assert (health["service_version"], health["model_version"]) == (VERSION, 1)
        assert service.metric("lungct_build_info", version=VERSION) == 1


def test_links_of_kubernetes_are_no_settings(tmp_path: Path) -> None:
    """A Service named `lungct` puts variables such as LUNGCT_PORT=tcp://… into every Pod: they are passed over."""
    links = {
        "LUNGCT_SERVICE_HOST": "10.0.0.1", "LUNGCT_SERVICE_PORT": "80", "LUNGCT_SERVICE_PORT_HTTP": "80",
        "LUNGCT_PORT": "tcp://10.0.0.1:80", "LUNGCT_PORT_80_TCP": "tcp://10.0.0.1:80",
        "LUNGCT_PORT_80_TCP_PROTO": "tcp", "LUNGCT_PORT_80_TCP_PORT": "80", "LUNGCT_PORT_80_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    with serving(tmp_path, environment=links, arguments=["--port", "0"], is_ready=False) as service:
        assert service.health()["status"] == "unavailable"


def test_a_repository_that_does_not_exist_is_told_and_waited_for(tiny_network_repository: Path, tmp_path: Path) -> None:
    """A warning has its absolute path. When somebody makes it, the model is served, as from any other."""
    with serving(tmp_path / "later", is_ready=False) as service:

        def lines(message: str) -> list[dict[str, Any]]:
            return [line for line in service.log_lines() if line["message"] == message]

        wait_until(lambda: lines("the model repository does not exist"), "it is told")
        (warning,) = lines("the model repository does not exist")
        assert (warning["level"], warning["model_repository"]) == ("WARNING", str(tmp_path / "later"))
        (starting,) = lines("starting")
        assert (starting["model_repository"], starting["version"]) == (str(tmp_path / "later"), VERSION)
        (tmp_path / "later").symlink_to(tiny_network_repository)
        service.wait_ready()
    assert not Path("later").exists()


def test_reasons_of_health_are_logged_when_they_change(tiny_network_repository: Path, tmp_path: Path) -> None:
    """One line where a reason appears, one where it goes, though nobody asks for /health."""
    with serving(tmp_path / "later", is_ready=False) as service:
        reason = "no valid model version is published yet"

        def told(message: str) -> list[str]:
            return [
                line["level"] for line in service.log_lines() if line["message"] == message and line["reason"] == reason
            ]

        wait_until(lambda: told("health: a reason appeared"), "it is told that there is no model")
        (tmp_path / "later").symlink_to(tiny_network_repository)
        wait_until(lambda: told("health: a reason is gone"), "it is told that there is one")
        for _ in range(5):
            service.health()
        assert (told("health: a reason appeared"), told("health: a reason is gone")) == (["WARNING"], ["INFO"])


def test_probes_that_succeed_are_not_logged(tiny_network_repository: Path) -> None:
    """A line every second for each probe hides the others; one that fails is logged, as every other request is."""
    with serving(tiny_network_repository) as service:
        before = len(service.log_lines())
        for path in ("/health", "/health/live", "/health/ready", "/metrics", "/nothing"):
            service.client.get(path)
        service.client.post("/health/live")

        def told() -> list[tuple[str, int]]:
            lines = service.log_lines()[before:]
            return [(line["route"], line["status"]) for line in lines if line["message"] == "request"]

        wait_until(lambda: len(told()) > 1, "the last one is logged, which is after its answer")
        assert told() == [("unmatched", 404), ("/health/live", 405)]


@pytest.mark.parametrize(
    ("format_", "is_plain"), [("auto", lambda line: line[2] == ":"), ("json", lambda line: line[0] == "{")]
)
def test_a_terminal_gets_plain_lines(format_: str, is_plain: Callable[[str], bool], tmp_path: Path) -> None:
    """Where standard error is a terminal a person reads; LUNGCT_LOG_FORMAT says otherwise where that is wrong."""
    ours, theirs = pty.openpty()
    variables = {"LUNGCT_HOST": "no such host", "LUNGCT_MODEL_REPOSITORY": str(tmp_path / "m"), "LUNGCT_PORT": "0"}
    start("service", terminal=theirs, LUNGCT_LOG_FORMAT=format_, **variables)
    os.close(theirs)
    written = os.read(ours, 2**16).decode()
    os.close(ours)
    lines = written.splitlines()
    assert all(map(is_plain, lines[:2])), written
    assert any("starting" in line and str(tmp_path / "m") in line for line in lines), written
