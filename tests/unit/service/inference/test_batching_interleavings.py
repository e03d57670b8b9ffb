"""Callers, batches, failures and cancellations in many orders: no answer is lost, doubled or mixed up."""

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.engines.base import Pace
from service.inference.batching import BatchFailed, MicroBatcher
from service.inference.places import Places
from tests.support.batching_bench import Batcher, Bench, Function, Observed, settle


class Crowd:
    """Callers of three models that come, wait for a place, go, and whose batches fail, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.batch_size, workers = chance.choice([1, 3, 4, 8]), chance.choice([1, 2, 3])
        self.bench = Bench(
            self.batch_size,
            max_queue=chance.choice([1, 3, 30]),
            workers=workers,
            in_flight=workers * chance.choice([1, 2]),
            pace=Pace(alone_s=chance.choice([0.1, 1, 5]), batch_size=self.batch_size),
        )
        self.tasks: dict[int, asyncio.Task[Any]] = {}
        self.failed: set[int] = set()

    async def step(self, number: int) -> None:
        """One thing happens, and then more or less of what follows from it."""
        action = self._chance.random()
        if action < 0.5:
            self.tasks[number] = asyncio.create_task(self._ask(self._chance.choice("abc"), number))
        elif action < 0.65 and self.tasks:
            self._chance.choice(list(self.tasks.values())).cancel()
        elif self.bench.executor.pending:
            await self._finish_a_batch()
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)

    async def _ask(self, key: str, item: int) -> Any:
        await self.bench.batcher.places.reserve_when_free()
        try:
            return await self.bench.batcher.submit(key, item)
        finally:
            self.bench.batcher.places.release()

    async def _finish_a_batch(self) -> None:
        function, pending = self.bench.function, self.bench.executor.pending
        function.fails_with = RuntimeError("engine") if self._chance.random() < 0.2 else None
        await self.bench.executor.finish(self._chance.randrange(len(pending)))
        if function.fails_with:
            self.failed |= set(function.batches[-1][1])

    async def outcomes(self) -> dict[int, Any]:
        """What each caller got, once everything has come to its end."""
        self.bench.function.fails_with = None
        await settle()
        while self.bench.executor.pending:
            await self.bench.executor.finish()
        gathered = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return dict(zip(self.tasks, gathered, strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_no_interleaving_loses_or_mixes_an_answer(seed: int) -> None:
    """Whatever happens around them, callers get their own answer, computed once, or the error of their batch."""

    async def story() -> None:
        crowd = Crowd(random.Random(seed))
        for number in range(300):
            await crowd.step(number)
        outcomes = await crowd.outcomes()
        function = crowd.bench.function
        computed = [(key, item) for key, items in function.batches for item in items]
        assert set(Counter(item for _, item in computed).values()) <= {1}
        assert max(function.sizes) <= crowd.batch_size
        answered = {item: outcome for item, outcome in outcomes.items() if isinstance(outcome, tuple)}
        assert len(answered) > 20
        assert all(answer[1] == item and answer in computed for item, answer in answered.items())
        failed = {item for item, outcome in outcomes.items() if isinstance(outcome, BatchFailed)}
        assert failed <= crowd.failed
        rest = [outcomes[item] for item in outcomes.keys() - answered.keys() - failed]
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in rest)
        assert crowd.bench.batcher.places.held == 0

    asyncio.run(asyncio.wait_for(story(), 60))


def test_real_threads_lose_nothing() -> None:
    """With a real thread pool and hundreds of callers at a time every caller gets its own answer."""
    function, observed = Function(), Observed()

    async def story() -> None:
        with ThreadPoolExecutor(2) as executor:
            batcher: Batcher = MicroBatcher(
                function, function.alone, executor,
                workers=2, in_flight=2, pace=lambda _: Pace(batch_size=8), prepare_s=lambda: 0.0, places=Places(50),
                observer=observed,
            )  # fmt: skip

            async def ask(item: int) -> Any:
                await batcher.places.reserve_when_free()
                try:
                    return await batcher.submit(item % 3, item)
                finally:
                    batcher.places.release()

            answers = await asyncio.gather(*(ask(item) for item in range(600)))
            assert answers == [(item % 3, item) for item in range(600)]
            assert batcher.places.held == 0

    asyncio.run(asyncio.wait_for(story(), 60))
    assert sum(observed.sizes) == len(observed.waits) == 600
