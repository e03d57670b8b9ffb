"""The servers of the comparison: how each is started, asked and ended."""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from benchmarks.load.processes import end_tree
from benchmarks.load.slices import CONTENT_TYPE, form

MAX_BATCH_SIZE = 8
_ROOT = Path(__file__).parents[2]
_START_DEADLINE_S = 90.0


@dataclass(frozen=True)
class Server:
    """One row of the comparison. `{port}` in the command is replaced; BIN is the environment's folder of programs."""

    name: str
    label: str
    engine: Literal["openvino", "tensorflow"]
    command: tuple[str, ...]
    path: str = "/predict"
    environment: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every request beside the content type."""
    root: Path = _ROOT
    """The checkout that it runs from."""


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module of ours."""
    return (sys.executable, "-m", name, *arguments)


def _program(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).parent / name), *arguments)


_BENTO = _program(
    "bentoml", "serve", "benchmarks.peers.bentoml_server:SliceService", "--host", "127.0.0.1", "--port", "{port}"
)
_MOSEC = module(
    "benchmarks.peers.mosec_server", "--address", "127.0.0.1", "--port", "{port}",
    "--timeout", "60000", "--log-level", "warning",
)  # fmt: skip
_LITSERVE = module("benchmarks.peers.litserve_server")
_FLASK = _program(
    "gunicorn", "--bind", "127.0.0.1:{port}", "--worker-class", "gthread", "--workers", "1", "--threads", "8",
    "--timeout", "120", "--no-control-socket", "benchmarks.peers.flask_server:app",
)  # fmt: skip

LUNGCT = Server("lungct", "lungct", "openvino", module("service"))
SERVERS = (
    LUNGCT,
    Server("litserve_tf", "LitServe, TensorFlow", "tensorflow", _LITSERVE),
    Server("litserve_ov", "LitServe, OpenVINO", "openvino", _LITSERVE),
    Server("bentoml_tf", "BentoML, TensorFlow", "tensorflow", _BENTO),
    Server("mosec_tf", "mosec, TensorFlow", "tensorflow", _MOSEC, path="/inference"),
    Server("mosec_ov", "mosec, OpenVINO", "openvino", _MOSEC, path="/inference"),
    Server("flask_tf", "Flask + gunicorn, TensorFlow", "tensorflow", _FLASK),
)

Precision = Literal["f32", "auto"]
"""What OpenVINO computes in: float32, or what it chooses itself, which is bf16 on processors that have it."""

PRECISION: Precision = "auto"
"""What `ratios` are about: every program as it comes. A run in float32 everywhere is kept beside it."""


def in_precision(server: Server, precision: Precision) -> Server:
    """The same server with that precision, where it runs OpenVINO."""
    return replace(server, environment={"BENCH_PRECISION": precision, "LUNGCT_PRECISION": precision})


NULL = Server("null", "nothing", "openvino", module("benchmarks.serving.null_server"))
"""Answers at once: what the load generator reaches at best."""


class ServerFailed(Exception):
    """It did not start, or gave no right answer; str() ends with what it wrote."""


@dataclass(frozen=True)
class Running:
    """A server that has answered."""

    server: Server
    process: psutil.Popen
    port: int
    log: Path
    """What it writes to standard output and error."""
    first_answer_s: float
    """From starting the process to its first right answer over HTTP."""

    @property
    def url(self) -> str:
        """Where slices are sent."""
        return f"http://127.0.0.1:{self.port}{self.server.path}"

    def ask(self, jpeg: bytes) -> dict[str, Any]:
        """Send one slice. Raises ServerFailed where the answer is not 200."""
        status, body = post(self.server, self.port, jpeg)
        if status != http.client.OK:
            raise ServerFailed(f"{self.server.name} answered {status}: {body[:500]!r}")
        answer = json.loads(body)
        return dict(answer[0] if isinstance(answer, list) else answer)  # BentoML answers for a batch of one

    def health(self) -> dict[str, Any]:
        """What the service says of itself at /health."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=60) as answer:
            return dict(json.load(answer))


def post(server: Server, port: int, jpeg: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own: (status, body). Raises OSError or http.client.HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", server.path, form(jpeg), {"Content-Type": CONTENT_TYPE, **server.headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def running(server: Server, version_dir: Path, jpeg: bytes) -> Iterator[Running]:
    """The server, from its first answer to the end of the block. Raises ServerFailed.

    version_dir: <repository>/<model name>/<number>.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.NamedTemporaryFile() as log:
        started = time.monotonic()
        process = psutil.Popen(
            [part.format(port=port) for part in server.command],
            cwd=server.root,
            env=_environment(server, version_dir, port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for_answer(server, process, port, jpeg, started)
            yield Running(server, process, port, Path(log.name), time.monotonic() - started)
        except ServerFailed as error:
            lines = Path(log.name).read_text("utf-8", "replace").splitlines()
            telling = [line for line in lines if '"message": "request"' not in line]
            raise ServerFailed("\n".join([str(error), *telling[-20:]])) from error
        finally:
            end_tree(process)


def _wait_for_answer(server: Server, process: psutil.Popen, port: int, jpeg: bytes, started: float) -> None:
    while True:
        if process.poll() is not None:
            raise ServerFailed(f"{server.name} ended with exit code {process.returncode} before it answered")
        if time.monotonic() - started > _START_DEADLINE_S:
            raise ServerFailed(f"{server.name} gave no answer within {_START_DEADLINE_S:g} s")
        try:
            if post(server, port, jpeg)[0] == http.client.OK:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)


def _environment(server: Server, version_dir: Path, port: int) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LUNGCT_", "BENCH_"))}
    return {
        **inherited,
        "PYTHONPATH": str(server.root),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "BENCH_MODEL": str(version_dir),
        "BENCH_ENGINE": server.engine,
        "BENCH_PORT": str(port),
        "BENCH_MAX_BATCH_SIZE": str(MAX_BATCH_SIZE),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(version_dir.parents[2] / "bentoml"),
        "LUNGCT_MODEL_REPOSITORY": str(version_dir.parent.parent),
        "LUNGCT_MODEL_NAME": version_dir.parent.name,
        "LUNGCT_PORT": str(port),
        "LUNGCT_DRAIN_DELAY_S": "0",
        **server.environment,
    }
