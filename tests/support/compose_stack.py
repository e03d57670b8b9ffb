"""The project's compose file, run under a name, a port and a volume of its own."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

ROOT = Path(__file__).parents[2]


def compose_command() -> list[str] | None:
    """`docker compose` or `docker-compose`, whichever is there."""
    if shutil.which("docker") and _succeeds("docker", "compose", "version"):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def why_not() -> str | None:
    """Why containers cannot be run on this machine; None where they can."""
    if not shutil.which("docker"):
        return "no docker client on PATH"
    if not _succeeds("docker", "info"):
        return "no docker engine answers"
    return None if compose_command() else "neither `docker compose` nor docker-compose is installed"


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class ComposeStack:
    """`docker compose` on this project; data is the folder that takes the place of ./data."""

    def __init__(self, data: Path) -> None:
        self.port = free_port()
        self.name = f"lungct-test-{self.port}"
        self.data = data
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a compose command; its output goes to one pipe."""
        environment = {
            **os.environ,
            "LUNGCT_PUBLISHED_PORT": str(self.port),
            "LUNGCT_DATA": str(self.data),
        }
        command = [*(compose_command() or ()), "--project-name", self.name, *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def compose(self, *arguments: str, timeout_s: float = 60) -> str:
        """Run a compose command to its end; its output. Fails with the output where it does not exit 0."""
        return finish(self.start(*arguments), timeout_s)

    def container(self, service: str) -> str:
        """The id of a service's one container."""
        ids = docker(
            "ps", "--all", "--quiet", "--no-trunc",
            "--filter", f"label=com.docker.compose.project={self.name}",
            "--filter", f"label=com.docker.compose.service={service}",
            "--filter", "label=com.docker.compose.oneoff=False",
        ).split()  # fmt: skip
        assert len(ids) == 1, f"expected one container of {service}, got {ids}"
        return ids[0]

    def inspect(self, service: str) -> dict[str, object]:
        """What the engine knows of a service's container."""
        described: list[dict[str, object]] = json.loads(docker("inspect", self.container(service)))
        return described[0]

    def wait_until(self, holds: Callable[[], bool], timeout_s: float, waited_for: str) -> None:
        """Return when it holds; fails with the containers' logs where it does not in time."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                logs = self.compose("logs", "--no-color", "--tail", "60")
                raise AssertionError(f"{waited_for}: not within {timeout_s} s\n{logs}")
            time.sleep(0.25)  # each look starts a process or asks a busy container

    def remove(self) -> None:
        """Containers, network, volume and images: everything that this stack made."""
        self.compose("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "5", timeout_s=120)


def finish(process: subprocess.Popen[str], timeout_s: float) -> str:
    """Wait for a command; its output. Fails with the output where it does not exit 0 in time."""
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"{process.args!r} took longer than {timeout_s} s:\n{output}") from None
    assert process.returncode == 0, f"{process.args!r} exited {process.returncode}:\n{output}"
    return output


def docker(*arguments: str) -> str:
    """Run a docker command; its standard output."""
    return subprocess.run(("docker", *arguments), capture_output=True, text=True, check=True, timeout=60).stdout


@dataclass
class SteadyPosts:
    """Posts a slice again and again from a thread of its own, from `with` to the end of its block."""

    url: str
    body: bytes
    versions: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Start posting."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._post, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the last request end."""
        self._stop.set()
        self._thread.join(timeout=60)

    def _post(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self._stop.wait(0.02):
                try:
                    answer = client.post("/predict", files={"file": ("slice.png", self.body, "image/png")})
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code == httpx.codes.OK:
                    self.versions.append(answer.json()["model_version"])
                else:
                    self.failures.append(f"{answer.status_code} {answer.text}")
