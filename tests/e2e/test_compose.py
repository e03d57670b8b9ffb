"""The containers as an operator uses them: built, started, trained again under traffic, stopped."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import pytest

from shared.classes import LUNG_CT_CLASSES
from tests.support.compose_stack import ComposeStack, SteadyPosts, docker, finish, why_not
from trainer.phantoms.phantom import draw_phantom
from trainer.phantoms.phantom_folder import synthesize

_WHY_NOT = why_not()
pytestmark = [
    pytest.mark.alone,
    pytest.mark.container,
    pytest.mark.skipif(_WHY_NOT is not None, reason=f"containers: {_WHY_NOT}"),
]

UID = "10001"


def _png(class_index: int) -> bytes:
    return cv2.imencode(".png", draw_phantom(class_index, case_seed=7, slice_index=3))[1].tobytes()


def _data_folder(folder: Path) -> Path:
    """Not pytest's own folder, which only its owner may enter: the container's user must read it."""
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """Both images built and the stack told to start, on an empty data folder and an empty volume."""
    stack = ComposeStack(_data_folder(tmp_path_factory.mktemp("compose") / "empty"))
    try:
        stack.compose("build", timeout_s=1500)
        stack.compose("up", "--detach", timeout_s=120)
        yield stack
    finally:
        stack.remove()


@pytest.fixture(scope="module")
def serving(stack: ComposeStack) -> ComposeStack:
    """The stack once it is ready; until then it must have said 503 and when to come back."""
    early: list[httpx.Response] = []

    def is_ready() -> bool:
        try:
            if httpx.get(f"{stack.url}/health/ready").status_code == httpx.codes.OK:
                return True
            early.append(httpx.post(f"{stack.url}/predict", content=_png(0), headers={"Content-Type": "image/png"}))
        except httpx.TransportError:
            pass  # the container is still starting
        return False

    stack.wait_until(is_ready, 300, "the first model to serve")
    while early and early[-1].status_code == httpx.codes.OK:
        early.pop()  # the model came between the two requests
    assert early, "the API answered nothing while the first model was being trained"
    assert {answer.status_code for answer in early} == {503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in early)
    return stack


def test_up_trains_the_demo_and_serves_it(serving: ComposeStack) -> None:
    """With no data and no model, `up` trains on phantoms, answers slices, and says that it has never seen a patient."""
    answer = httpx.post(f"{serving.url}/predict", files={"file": ("slice.png", _png(2), "image/png")}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model_version"] == 1
    assert set(answer.json()["all_predictions"]) == set(LUNG_CT_CLASSES.names)
    assert answer.json()["warnings"]
    serving.wait_until(
        lambda: (
            docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", serving.container("trainer"))
            == "exited 0\n"
        ),
        30,
        "the trainer's exit",
    )
    serving.wait_until(
        lambda: docker("inspect", "--format", "{{.State.Health.Status}}", serving.container("api")) == "healthy\n",
        30,
        "the health check",
    )


def test_the_api_runs_unprivileged_and_cannot_write(serving: ComposeStack) -> None:
    """The API is no root, and not even root in its container could write to the repository or to the image."""
    api = serving.container("api")
    assert docker("exec", api, "id", "-u").strip() == UID
    assert docker("exec", api, "cat", "/proc/1/status").count(f"Uid:\t{UID}\t{UID}") == 1
    for user in (UID, "0"):
        for path in ("/models/planted", "/models/lung-ct/1/planted", "/app/planted"):
            attempt = subprocess.run(
                ["docker", "exec", "--user", user, api, "touch", path], capture_output=True, text=True, check=False
            )
            assert attempt.returncode != 0
            assert "Read-only file system" in attempt.stderr


@pytest.mark.parametrize("service", ["api", "trainer"])
def test_containers_are_hardened(serving: ComposeStack, service: str) -> None:
    """As the engine sees it: a stated uid, a read-only root, no capabilities, no way to more rights, bounded scratch
    space from which nothing can be executed, and limits of memory and processes.
    """
    described = serving.inspect(service)
    host, config = described["HostConfig"], described["Config"]
    assert isinstance(host, dict)
    assert isinstance(config, dict)
    assert config["User"] == f"{UID}:{UID}"
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert {"noexec", "nosuid", "nodev"} <= set(host["Tmpfs"]["/tmp"].split(","))
    assert "size=" in host["Tmpfs"]["/tmp"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0


def test_a_second_training_is_picked_up_without_a_failed_request(serving: ComposeStack, tmp_path: Path) -> None:
    """`run --rm trainer` on class folders publishes version 2; the running API goes over to it, no request fails."""
    api, started = serving.container("api"), serving.inspect("api")["State"]["StartedAt"]
    serving.data = _data_folder(tmp_path / "slices")
    synthesize(serving.data, cases_per_class=3, slices_per_case=4, seed=11)
    with SteadyPosts(serving.url, _png(1)) as posts:
        settings = ("LUNGCT_NETWORK=tiny", "LUNGCT_EPOCHS=2", "LUNGCT_FOLDS=3")
        trainer = ("run", "--rm", *(part for setting in settings for part in ("-e", setting)), "trainer")
        serving.compose(*trainer, timeout_s=300)
        serving.wait_until(lambda: 2 in posts.versions or bool(posts.failures), 60, "version 2 to serve")
        answered = len(posts.versions)
        serving.wait_until(lambda: len(posts.versions) >= answered + 50 or bool(posts.failures), 60, "50 more answers")
    assert not posts.failures
    assert posts.versions == sorted(posts.versions)
    assert set(posts.versions) == {1, 2}
    assert serving.container("api") == api
    assert serving.inspect("api")["State"]["StartedAt"] == started


def test_down_ends_the_api_cleanly(serving: ComposeStack) -> None:
    """`down` ends the API by SIGTERM, well before the grace period is over, with exit code 0."""
    exit_code = subprocess.Popen(["docker", "wait", serving.container("api")], stdout=subprocess.PIPE, text=True)
    started = time.monotonic()
    serving.compose("down", timeout_s=60)
    assert time.monotonic() - started < 20
    assert finish(exit_code, 10).strip() == "0"
