"""The service asks its model what it knows the answer to, and its readiness follows."""

import asyncio
import logging
import weakref
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.health.readiness import Readiness
from service.health.self_check import SelfCheck
from service.inference.places import QueueFull
from service.inference.predictor import Predictor
from service.metrics import Metrics
from service.model.serving_model import LoadOptions, ServingModel
from service.settings import ServiceSettings
from tests.support.fake_model import FakeEngine, fake_model


class FakeReadiness:
    """Takes what it is told, and counts."""

    def __init__(self) -> None:
        self.wrong_model: weakref.ref[ServingModel] | None = None
        self.checks = 0

    def self_checked(self) -> None:
        self.checks += 1


class Bench:
    """A self-check on a predictor, an engine that the test spoils, and what readiness is told."""

    def __init__(self) -> None:
        self.metrics, self.engine = Metrics(), FakeEngine()
        self.predictor = Predictor(ServiceSettings(max_queue=1), self.metrics, LoadOptions("openvino", "f32", 1, 4))
        self.reload: Any = SimpleNamespace(serving=fake_model(self.engine))
        self.readiness = FakeReadiness()
        self.self_check = SelfCheck(cast("Any", self.reload), self.predictor, cast("Readiness", self.readiness), 0.01)

    @property
    def is_wrong(self) -> bool:
        wrong = self.readiness.wrong_model
        return wrong is not None and wrong() is self.reload.serving

    def check(self) -> None:
        asyncio.run(asyncio.wait_for(self.self_check.check(), 60))
        assert self.predictor.batcher.places.held == 0


def test_a_right_answer_is_well() -> None:
    """An engine that answers as at loading is asked one slice and nothing is wrong."""
    bench = Bench()
    bench.check()
    assert (bench.engine.sizes, bench.is_wrong) == ([1], False)


def test_a_wrong_answer_is_told_and_forgotten_when_it_is_right_again() -> None:
    """An engine that answers otherwise than at loading is wrong, until it no longer does."""
    bench = Bench()
    bench.engine.lie = 0.1
    bench.check()
    assert bench.is_wrong
    bench.engine.lie = 0.0
    bench.check()
    assert not bench.is_wrong


def test_failures_and_recovery_are_counted_as_anybodys() -> None:
    """An engine that fails while nobody asks becomes known, and so does its recovery."""
    bench = Bench()
    bench.engine.fails_with = RuntimeError("engine")
    for _ in range(3):
        bench.check()
    assert bench.metrics.consecutive_failures == 3
    bench.engine.fails_with = None
    bench.check()
    assert bench.metrics.consecutive_failures == 0


def test_without_a_model_or_a_place_nothing_is_asked() -> None:
    """No model, or a queue that others fill: the check passes by."""
    bench = Bench()
    bench.predictor.batcher.places.reserve(patience_s=1)
    try:
        bench.predictor.batcher.places.reserve(patience_s=1)
    except QueueFull:
        asyncio.run(bench.self_check.check())
    bench.predictor.batcher.places.release()
    bench.reload.serving = None
    bench.check()
    assert bench.engine.sizes == []


def test_it_goes_on_until_cancelled() -> None:
    """The loop asks again and again, whatever the answers are, and ends when told."""
    bench = Bench()
    bench.engine.fails_with = RuntimeError("engine")

    async def story() -> None:
        running = asyncio.create_task(bench.self_check.run())
        while len(bench.engine.sizes) < 3:
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_verdict_is_about_the_model_that_was_asked() -> None:
    """A version that is swapped in while another's wrong answer is on its way is not taken for that one."""
    bench = Bench()
    bench.engine.lie = 0.1
    bench.engine.may_answer.clear()

    async def story() -> None:
        checking = asyncio.create_task(bench.self_check.check())
        while not bench.engine.sizes:
            await asyncio.sleep(0.001)
        bench.reload.serving = fake_model(version=2)
        bench.engine.may_answer.set()
        await checking

    asyncio.run(asyncio.wait_for(story(), 60))
    assert not bench.is_wrong


def test_what_nobody_foresaw_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """A check that breaks is logged with its traceback and is none that ended; the next one is made all the same."""
    bench = Bench()
    golden, bench.reload.serving.__dict__["golden"] = bench.reload.serving.golden, None  # as no version can be

    async def story() -> None:
        running = asyncio.create_task(bench.self_check.run())
        with caplog.at_level(logging.ERROR, "lungct.self_check"):
            while not caplog.records:
                await asyncio.sleep(0.001)
        assert bench.readiness.checks == 1  # that it began
        bench.reload.serving.__dict__["golden"] = golden
        while bench.readiness.checks < 3:
            await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(asyncio.wait_for(story(), 60))
    assert caplog.records[0].exc_info is not None
    assert bench.predictor.batcher.places.held == 0
