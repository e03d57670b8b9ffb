"""ok, degraded or unavailable, and why: told from what the parts did."""

import logging
import weakref
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.health.readiness import Readiness
from service.metrics import Metrics


@dataclass(eq=False)
class Model:
    version: int = 3


@dataclass
class Reload:
    serving: Model | None = field(default_factory=Model)
    loading: int | None = None
    complaint: str | None = None
    last_poll: float | None = 100.0


@dataclass
class Batcher:
    oldest_batch_s: float = 0.0


class Parts:
    """Readiness on parts that the test sets."""

    def __init__(self) -> None:
        self.reload, self.batcher, self.metrics, self.now = Reload(), Batcher(), Metrics(), 100.0
        self.readiness: Any = Readiness(
            reload=self.reload,  # type: ignore[arg-type]
            metrics=self.metrics,
            batcher=self.batcher,  # type: ignore[arg-type]
            stuck_after_s=30,
            stale_after_s=60,
            unchecked_after_s=40,
            clock=lambda: self.now,
        )

    @property
    def verdict(self) -> tuple[str, list[str]]:
        health = self.readiness.health()
        return health.status, health.reasons


@pytest.fixture
def parts() -> Parts:
    return Parts()


def test_all_well(parts: Parts) -> None:
    """With a model, an engine that answers and no complaint the service is ok, and names the version."""
    assert parts.verdict == ("ok", [])
    assert parts.readiness.health().model_version == 3


def test_no_model(parts: Parts) -> None:
    """Without a model it is unavailable, and says whether one is being loaded."""
    parts.reload.serving = None
    assert parts.verdict == ("unavailable", ["no valid model version is published yet"])
    parts.reload.loading = 7
    assert parts.verdict == ("unavailable", ["version 7 is being loaded"])
    assert parts.readiness.health().model_version is None


def test_another_version_than_wanted(parts: Parts) -> None:
    """While an old version serves for a bad one it is degraded, with the complaint as the reason."""
    parts.reload.complaint = "version 4 is bad: golden.npz is missing"
    assert parts.verdict == ("degraded", ["version 4 is bad: golden.npz is missing"])


def test_draining(parts: Parts) -> None:
    """While draining it is unavailable, though it still answers."""
    parts.readiness.is_draining = True
    assert parts.verdict == ("unavailable", ["the service is shutting down"])


def test_an_engine_that_keeps_failing(parts: Parts) -> None:
    """Three failed batches in a row make it unavailable, fewer do not, and one answer ends it."""
    for _ in range(2):
        parts.metrics.batch_done(1, RuntimeError())
    assert parts.verdict == ("ok", [])
    parts.metrics.batch_done(1, RuntimeError())
    assert parts.verdict == ("unavailable", ["the engine keeps failing or does not come back"])
    parts.metrics.inferred(0.01)
    assert parts.verdict == ("ok", [])


def test_a_batch_that_never_asked_the_engine_proves_nothing(parts: Parts) -> None:
    """Batches of which nothing could be decoded do not hide an engine that fails."""
    for _ in range(3):
        parts.metrics.batch_done(1, RuntimeError())
        parts.metrics.batch_done(1, None)
    assert parts.verdict[0] == "unavailable"


def test_a_new_version_proves_the_engine(parts: Parts) -> None:
    """A version that was loaded has answered its golden slices; one that was refused changes nothing."""
    for _ in range(3):
        parts.metrics.batch_done(1, RuntimeError())
    parts.metrics.loaded("bad_content")
    assert parts.verdict[0] == "unavailable"
    parts.metrics.loaded("loaded")
    assert parts.verdict[0] == "ok"


def test_a_batch_that_does_not_come_back(parts: Parts) -> None:
    """An engine that hangs makes it unavailable after the time that requests are given."""
    parts.batcher.oldest_batch_s = 29
    assert parts.verdict[0] == "ok"
    parts.batcher.oldest_batch_s = 31
    assert parts.verdict[0] == "unavailable"


def test_an_engine_that_answers_wrongly(parts: Parts) -> None:
    """A model that answers a golden slice otherwise than when it was loaded is not to be asked."""
    parts.readiness.wrong_model = weakref.ref(parts.reload.serving)
    assert parts.verdict == ("unavailable", ["the engine gives other answers than when the model was loaded"])


def test_a_wrong_answer_says_nothing_of_the_next_version(parts: Parts) -> None:
    """Once another version serves, what the former one answered is of no account, also where nothing serves."""
    parts.readiness.wrong_model = weakref.ref(parts.reload.serving)
    parts.reload.serving = Model(4)
    assert parts.verdict == ("ok", [])
    parts.reload.serving = None
    assert "gives other answers" not in str(parts.verdict)


def test_a_self_check_that_no_longer_runs(parts: Parts) -> None:
    """Where none has ended for long, that is told; before the first one was due, nothing is."""
    parts.now += 1000
    parts.reload.last_poll = parts.now
    assert parts.verdict == ("ok", [])
    parts.readiness.self_checked()
    parts.now += 41
    assert parts.verdict == ("degraded", ["no self-check has ended for 41 s"])
    parts.readiness.self_checked()
    assert parts.verdict == ("ok", [])


def test_a_repository_that_does_not_answer(parts: Parts) -> None:
    """When no look at the repository has ended for long it is degraded, but not during a long load."""
    parts.now += 61
    assert parts.verdict == ("degraded", ["no look at the repository has ended for 61 s"])
    parts.reload.loading = 4
    assert parts.verdict == ("ok", [])


def test_hindrances_come_before_complaints(parts: Parts) -> None:
    """With several reasons all are told, and the worst decides."""
    parts.reload.complaint = "version 4 is bad: x"
    parts.readiness.is_draining = True
    assert parts.verdict == ("unavailable", ["the service is shutting down", "version 4 is bad: x"])


def test_a_reason_is_logged_once_and_when_it_is_gone(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is asked about, and though it counts seconds; what passes by itself is no warning."""
    caplog.set_level(logging.INFO, "lungct.health")
    for parts.now in (161, 162, 163):
        parts.readiness.health()
    parts.now = 100
    parts.readiness.is_draining = True
    for _ in range(3):
        parts.readiness.health()
    assert [(line.levelname, line.getMessage().rsplit(" ", 1)[1], vars(line)["reason"]) for line in caplog.records] == [
        ("WARNING", "appeared", "no look at the repository has ended for 61 s"),
        ("INFO", "appeared", "the service is shutting down"),
        ("INFO", "gone", "no look at the repository has ended for 63 s"),
    ]
