"""Versions come, go, are pinned and rolled back while requests are answered."""

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Self

import httpx
import pytest

from service.model.hot_reload import fingerprint
from shared import VERSION
from tests.support.inputs.slices import jpeg_slice
from tests.support.model_repository import ModelRepository
from tests.support.serving import DEADLINE_S, RunningService, serving, wait_until


class Callers:
    """Threads that ask without pause, and remember what they were told."""

    def __init__(self, url: str, count: int) -> None:
        self.answers: list[tuple[int, dict[str, float]]] = []
        self.failures: list[str] = []
        self._url = url
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=DEADLINE_S) as client:
            while not self._is_over.is_set():
                try:
                    answer = client.post("/predict", content=jpeg_slice(7))
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code == 200:
                    self.answers.append((answer.json()["model_version"], answer.json()["all_predictions"]))
                else:
                    self.failures.append(answer.text)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


def _trials_that_misbehave(folder: Path) -> tuple[Path, dict[str, str]]:
    """A file, and an environment in which trial loads, and nothing else, do what is written in it while it is there."""
    deed = folder / "deed"
    (folder / "sitecustomize.py").write_text(
        "import os, pathlib, signal, sys\n"
        f"deed = pathlib.Path({str(deed)!r})\n"
        "if 'service.model.trial_worker' in sys.orig_argv and deed.exists():\n"
        "    exec(deed.read_text())\n"
    )
    return deed, {"PYTHONPATH": str(folder)}


def test_an_empty_service_says_so_and_becomes_ready_by_itself(repository: ModelRepository) -> None:
    """Without a repository folder: alive, /health and /predict 503 with Retry-After; a version that appears serves."""
    shutil.rmtree(repository.root)
    with serving(repository.root, is_ready=False) as service:
        assert service.client.get("/health/live").json() == {"status": "alive"}
        for path in ("/health", "/health/ready"):
            answer = service.client.get(path)
            assert answer.status_code == 503
            assert answer.json() == {
                "status": "unavailable",
                "service_version": VERSION,
                "model_version": None,
                "reasons": ["no valid model version is published yet"],
            }
        for path, body in (("/predict", {"content": jpeg_slice()}), ("/predict/batch", {"files": {"files": b"x"}})):
            answer = service.client.post(path, **body)
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:lungct:problem:no-model"
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["retry_after_s"] > 0
        assert service.model_info()["model_version"] is None
        assert service.metric("lungct_serving_version") == 0
        assert service.metric("lungct_ready") == 0
        repository.publish(1)
        service.wait_ready(1)
        assert service.client.post("/predict", content=jpeg_slice()).status_code == 200
        assert service.metric("lungct_ready") == 1
        assert service.metric("lungct_reloads_total", outcome="loaded") == 1


@pytest.mark.slow
def test_swaps_under_load_lose_and_mix_nothing(repository: ModelRepository) -> None:
    """While versions come, are pinned, unpinned and removed, every request is answered, by the version it names."""
    repository.publish(1)
    with serving(repository.root) as service:
        of_odd = service.client.post("/predict", content=jpeg_slice(7)).json()["all_predictions"]
        with Callers(service.url, 8) as callers:
            repository.publish(2)
            service.wait_ready(2)
            of_even = service.client.post("/predict", content=jpeg_slice(7)).json()["all_predictions"]
            repository.pin(1)
            service.wait_ready(1)
            repository.publish(3)
            wait_until(lambda: service.model_info()["versions"] == [1, 2, 3], "version 3 is seen")
            assert service.health()["model_version"] == 1
            repository.pin(None)
            service.wait_ready(3)
            shutil.rmtree(repository.version_dir(3))  # rolled back by removing
            service.wait_ready(2)
            assert service.health() | {"service_version": ""} == {
                "status": "ok", "service_version": "", "model_version": 2, "reasons": [],
            }  # fmt: skip
        assert callers.failures == []
        assert {version for version, _ in callers.answers} == {1, 2, 3}
        assert of_odd != pytest.approx(of_even, abs=1e-4)
        for version, answer in callers.answers:
            assert answer == pytest.approx(of_odd if version % 2 else of_even, abs=1e-5)
        assert service.metric("lungct_reloads_total", outcome="loaded") == 5


@pytest.mark.slow
def test_a_pinned_bad_version_is_never_replaced(repository: ModelRepository) -> None:
    """Pinned to a bad or missing version, a serving model stays and an empty service stays empty, and says why."""
    repository.publish(1)
    (repository.publish(2) / "golden.npz").unlink()
    repository.pin(2)
    with serving(repository.root, is_ready=False) as service:
        wait_until(lambda: service.model_info()["failures"], "version 2 is tried")
        health = wait_until(lambda: (now := service.health())["reasons"][1:] and now, "the complaint is there")
        assert health["status"] == "unavailable"
        assert health["reasons"][1] == "the pinned version 2 is bad: golden.npz is missing"
        assert service.client.post("/predict", content=jpeg_slice()).status_code == 503
        repository.pin(9)
        wait_until(lambda: service.model_info()["pinned"] == 9, "the pin is seen")
        assert "the pinned version 9 is not in the repository" in service.health()["reasons"]
        repository.pin(1)
        service.wait_ready(1)
        repository.pin(2)
        health = wait_until(lambda: (now := service.health())["reasons"] and now, "the complaint is there")
        assert (health["status"], health["model_version"]) == ("degraded", 1)
        (repository.model_dir / "policy.json").write_text("pin = 2", "utf-8")
        wait_until(lambda: "policy.json" in service.health()["reasons"][0], "the policy is refused")
        assert service.client.post("/predict", content=jpeg_slice()).json()["model_version"] == 1


@pytest.mark.slow
def test_a_load_that_crashes_harms_nobody(repository: ModelRepository, tmp_path: Path) -> None:
    """A trial load that crashes or exits leaves the old version answering, and is tried again until it succeeds."""
    deed, environment = _trials_that_misbehave(tmp_path)
    repository.publish(1)
    with serving(repository.root, environment=environment) as service:
        deed.write_text("os.kill(os.getpid(), signal.SIGSEGV)")
        repository.publish(2)
        for reason in ("ended by signal 11", "exit code 77"):
            wait_until(lambda: any(reason in one for one in service.health()["reasons"]), reason)  # noqa: B023 - at once
            health = service.health()
            assert (health["status"], health["model_version"]) == ("degraded", 1)
            (failure,) = service.model_info()["failures"]
            assert (failure["model_version"], failure["retried"]) == (2, True)
            assert service.client.post("/predict", content=jpeg_slice()).json()["model_version"] == 1
            deed.write_text("os._exit(77)")
        assert service.metric("lungct_reloads_total", outcome="trouble") >= 2
        deed.unlink()
        service.wait_ready(2)
        assert service.health()["status"] == "ok"


@pytest.mark.slow
def test_a_stalled_volume_stalls_no_answer(repository: ModelRepository) -> None:
    """A manifest, and then a policy, that opens but never reads: the old version goes on answering, and ends well."""
    repository.publish(1)
    # long enough for a good load on a busy machine, which would be tried again
    with serving(repository.root, load_timeout_s=10) as service:
        folder = repository.prepare(2)
        manifest = (folder / "manifest.json").read_text("utf-8")
        (folder / "manifest.json").unlink()
        os.mkfifo(folder / "manifest.json")  # reading it blocks, as on a network volume that went away
        folder.rename(repository.version_dir(2))
        failure = wait_until(lambda: service.model_info()["failures"], "the load fails")[0]
        assert "took longer than 10 s" in failure["reason"]
        assert (service.health()["status"], service.health()["model_version"]) == ("degraded", 1)
        wait_until(lambda: not service.children, "the trial load is ended")
        (repository.version_dir(2) / "manifest.json").unlink()
        (repository.version_dir(2) / "manifest.json").write_text(manifest, "utf-8")
        service.wait_ready(2)
        os.mkfifo(repository.model_dir / "policy.json")
        for _ in range(20):
            assert service.client.post("/predict", content=jpeg_slice()).json()["model_version"] == 2
        service.signal(signal.SIGTERM)
        assert service.wait_end() == 0


@pytest.mark.slow
def test_memory_is_given_back_after_a_swap(repository: ModelRepository) -> None:
    """After a few swaps the service holds about as much memory as after the first ones."""
    repository.publish(1)
    with serving(repository.root) as service:
        sizes = []
        for version in range(2, 8):
            repository.publish(version)
            service.wait_ready(version)
            shutil.rmtree(repository.version_dir(version - 1))
            for turn in range(20):
                assert service.client.post("/predict", content=jpeg_slice(turn)).status_code == 200
            sizes.append(service.rss_mib)
        # the small network is far below what a leak of compiled models, threads or heaps would show
        assert max(sizes[-2:]) < 1.1 * max(sizes[:2]), sizes


@pytest.mark.slow
def test_both_engines_give_the_same_answers(repository: ModelRepository, service: RunningService) -> None:
    """TensorFlow over the same SavedModel answers as OpenVINO does, and neither writes into the repository."""
    repository.publish(1)
    published = fingerprint(repository.root)
    with serving(repository.root, engine="tensorflow", precision="f32", load_timeout_s=900, is_ready=False) as other:
        wait_until(lambda: other.health()["model_version"] == 1, "TensorFlow is imported twice", 4 * DEADLINE_S)
        assert other.model_info()["engine"].startswith("tensorflow ")
        assert service.model_info()["engine"].startswith("openvino ")
        for seed in range(5):
            answers = [one.client.post("/predict", content=jpeg_slice(seed)).json() for one in (service, other)]
            assert answers[0]["all_predictions"] == pytest.approx(answers[1]["all_predictions"], abs=1e-5)
            assert answers[0]["prediction"] == answers[1]["prediction"]
    assert fingerprint(repository.root) == published
