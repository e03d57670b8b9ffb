"""A batcher on a function and an executor that the test drives by hand: every interleaving can be chosen."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from service.engines.base import Pace
from service.inference.batching import MicroBatcher
from service.inference.places import Places

Batcher = MicroBatcher[Any, Any, Any]


class HandExecutor(Executor):
    """Runs what was submitted when the test says so, on the test's own thread."""

    def __init__(self) -> None:
        self.pending: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.pending.append((future, lambda: fn(*args, **kwargs)))
        return future

    async def finish(self, index: int = 0) -> None:
        """Run one pending call, and let the event loop see it."""
        future, call = self.pending[index]
        del self.pending[index]
        try:
            result = call()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        await settle()


class Function:
    """What is batched: remembers its batches, answers each item with itself, fails where told."""

    def __init__(self) -> None:
        self.batches: list[tuple[Any, list[Any]]] = []
        self.were_alone: list[Any] = []
        self.fails_with: Exception | None = None
        self.answers: Callable[[Sequence[Any]], Sequence[Any]] = list

    def __call__(self, key: Any, items: Sequence[Any]) -> Sequence[Any]:
        self.batches.append((key, list(items)))
        if self.fails_with:
            raise self.fails_with
        return self.answers([(key, item) for item in items])

    def alone(self, key: Any, items: Sequence[Any]) -> Sequence[Any]:
        """What is called for a single item that has all workers."""
        self.were_alone += items
        return self(key, items)

    @property
    def sizes(self) -> list[int]:
        return [len(items) for _, items in self.batches]


class Observed:
    """An observer that counts."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.errors: list[BaseException | None] = []
        self.waits: list[float] = []

    def batch_done(self, size: int, error: BaseException | None) -> None:
        self.sizes.append(size)
        self.errors.append(error)

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)


class Bench:
    """A batcher on a function and an executor of the test; without a pace, batches are always worth it."""

    def __init__(
        self,
        batch_size: int = 4,
        max_queue: int = 100,
        workers: int = 1,
        in_flight: int | None = None,
        pace: Pace | None = None,
    ) -> None:
        known = pace or Pace(batch_size=batch_size)
        self.function = Function()
        self.executor = HandExecutor()
        self.observed = Observed()
        self.batcher: Batcher = MicroBatcher(
            self.function,
            self.function.alone,
            self.executor,
            workers=workers,
            in_flight=in_flight or workers,
            pace=lambda _: known,
            prepare_s=lambda: 0.0,
            places=Places(max_queue),
            observer=self.observed,
        )

    async def ask(self, key: Any, item: Any) -> Any:
        """As a caller does: a place, the answer, the place back."""
        self.batcher.places.reserve(patience_s=1e9)
        try:
            return await self.batcher.submit(key, item)
        finally:
            self.batcher.places.release()

    async def start(self, key: Any, *items: Any) -> list[asyncio.Task[Any]]:
        """Callers that have submitted and wait."""
        tasks = [asyncio.create_task(self.ask(key, item)) for item in items]
        await settle()
        return tasks


async def settle() -> None:
    """Let everything happen that can happen without the executor."""
    for _ in range(10):
        await asyncio.sleep(0)


def scenario(story: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test whose body is a coroutine."""

    def test() -> None:
        asyncio.run(asyncio.wait_for(story(), 60))

    test.__name__, test.__doc__ = story.__name__, story.__doc__
    return test
