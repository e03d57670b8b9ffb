"""The API's image with 512 MB of memory, all of it asked for: many callers, large slices, a swap meanwhile."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.compose_stack import ROOT, docker, free_port, why_not
from tests.support.inputs.slices import jpeg_slice, png_slice
from tests.support.published import publish_untrained
from tests.support.serving import wait_until

_WHY_NOT = why_not()
pytestmark = [
    pytest.mark.alone,
    pytest.mark.faults,
    pytest.mark.container,
    pytest.mark.skipif(_WHY_NOT is not None, reason=f"containers: {_WHY_NOT}"),
]

MEMORY_MB = 512
LOAD_S = 30
CALLERS = 24


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained `cnn`: 19.4 million parameters, the largest network that 512 MB are said to be enough for."""
    folder = tmp_path_factory.mktemp("memory") / "models"
    publish_untrained(folder, seed=0, network="cnn")
    _let_anyone_read(folder)
    return folder


def _let_anyone_read(folder: Path) -> None:
    for path in (folder, *folder.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):  # pytest keeps its folders to itself
            path.chmod(0o755)


@pytest.fixture(scope="module")
def api(repository: Path) -> Iterator[tuple[str, httpx.Client]]:
    """The image's container, hardened as the compose file has it, and a client of its."""
    image, port = "lungct-test-memory", free_port()
    subprocess.run(
        ("docker", "build", "--quiet", "--file", "Dockerfile.api", "--tag", image, "."),
        cwd=ROOT, check=True, capture_output=True, timeout=1500,
    )  # fmt: skip
    name = docker(
        "run", "--detach", "--init", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--tmpfs", "/tmp:size=512m,mode=1777,noexec,nosuid,nodev", "--pids-limit", "256",
        "--memory", f"{MEMORY_MB}m", "--memory-swap", f"{MEMORY_MB}m", "--volume", f"{repository}:/models:ro",
        "--env", "LUNGCT_MAX_INFLIGHT_BYTES=33554432", "--env", "LUNGCT_ENGINE_THREADS=2",
        "--publish", f"127.0.0.1:{port}:8000", image,
    ).strip()  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

            def is_ready() -> bool:
                try:
                    return client.get("/health/ready").status_code == 200
                except httpx.TransportError:
                    return False

            wait_until(is_ready, "the container is ready")
            yield name, client
    finally:
        docker("rm", "--force", name)
        docker("rmi", "--force", image)


def _large_png() -> bytes:
    """3000 by 3000 pixels: a chest whose noise hardly compresses, megabytes to hold and more to decode."""
    return png_slice(1, side=3000)


def test_512_mb_are_enough_under_load(api: tuple[str, httpx.Client], repository: Path) -> None:
    """Callers that never pause, every eighth with 9 million pixels, and a swap in their midst: each gets 200 or a 503
    with Retry-After, and the service is never killed. Trying a version beside the one that serves may need more: then
    the trial is what ends, the old version goes on, and /health says so.
    """
    name, client = api
    url, end = client.base_url, time.monotonic() + LOAD_S
    bodies = [jpeg_slice()] * 7 + [_large_png()]

    def call(caller: int) -> list[httpx.Response]:
        answers = []
        with httpx.Client(base_url=url, timeout=60) as mine:
            while time.monotonic() < end:
                answers.append(mine.post("/predict", content=bodies[caller % len(bodies)]))
                if answers[-1].status_code == 503:
                    time.sleep(0.05)
        return answers

    with ThreadPoolExecutor(CALLERS) as pool:
        calls = pool.map(call, range(CALLERS))
        time.sleep(LOAD_S / 3)
        publish_untrained(repository, seed=1, network="cnn")
        _let_anyone_read(repository)
        answers = [answer for of_caller in calls for answer in of_caller]
    counts = Counter(answer.status_code for answer in answers)
    state = json.loads(docker("inspect", name))[0]
    peak = "cd /sys/fs/cgroup; cat memory/memory.max_usage_in_bytes 2>/dev/null || cat memory.peak"  # version 1, or 2
    memory = docker("exec", name, "sh", "-c", peak).strip()
    print(f"{dict(counts)}, peak {int(memory) / 2**20:.0f} MiB")  # noqa: T201 - shown with -s
    assert set(counts) <= {200, 503}
    assert counts[200] > CALLERS
    assert all(int(one.headers["Retry-After"]) >= 1 for one in answers if one.status_code == 503)
    assert state["State"]["Running"]
    assert not state["State"]["OOMKilled"]
    assert state["RestartCount"] == 0

    def health() -> dict[str, Any]:
        return dict(client.get("/health").json())

    def is_decided() -> bool:
        return bool(health()["model_version"] == 2 or health()["status"] != "ok")

    wait_until(is_decided, "version 2 serves, or the service says why not", 180)
    if health()["model_version"] != 2:
        assert health()["status"] == "degraded"
        assert health()["reasons"] == ["version 2 is bad: a trial load was ended by signal 9"]
    print(health())  # noqa: T201 - shown with -s
    assert client.post("/predict", content=jpeg_slice()).status_code == 200
    processes = docker("top", name, "-eo", "pid,etimes,args").splitlines()
    ages_s = [int(line.split()[1]) for line in processes if line.endswith("-m service")]  # init's, and its child's
    assert ages_s
    assert min(ages_s) > LOAD_S, "the service itself was started anew"
