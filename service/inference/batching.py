"""Requests that wait together are computed together.

A bounded queue in front of one function that computes several batches at a time, each in a worker. A lone request never
waits for company, and under load batches grow by themselves. All but the function itself runs on the event loop,
so there is no lock. This module knows neither HTTP nor what the function computes.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import Generic, Protocol, TypeVar

from service.engines.base import Pace
from service.errors import ProblemError, ProblemKind
from service.inference.batch_sizes import next_sizes
from service.inference.places import Places
from service.logging_config import REQUEST_ID

log = logging.getLogger("lungct.batching")

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class BatchFailed(ProblemError):
    """The function raised; every item of that batch gets this, and no other."""

    kind = ProblemKind("inference-failed", 500, "Inference failed")
    message = "The model failed on this batch."


class Observer(Protocol):
    """Is told what happens, for metrics and readiness."""

    def batch_done(self, size: int, error: BaseException | None) -> None:
        """A batch left the function."""

    def waited(self, seconds: float) -> None:
        """An item left the queue for the function."""


@dataclass(eq=False, slots=True)
class _Waiting(Generic[Key, Item, Answer]):
    key: Key
    item: Item
    since: float
    answer: asyncio.Future[Answer]
    request_id: str | None


@dataclass(eq=False)
class MicroBatcher(Generic[Key, Item, Answer]):
    """Items of one key (here: one model version) share a batch; a batch never mixes keys.

    compute(key, items) runs in the executor and returns one answer an item, in order. So does compute_single, which
    gets a single item and has all workers to itself. in_flight is how many full batches may be on their way: more than
    workers, so that no worker waits for its next one. pace(key): how long the function takes. prepare_s(): seconds
    that each item takes before. places: what callers take before they submit an item.
    """

    compute: Callable[[Key, Sequence[Item]], Sequence[Answer]]
    compute_single: Callable[[Key, Sequence[Item]], Sequence[Answer]]
    executor: Executor
    _: KW_ONLY
    workers: int
    in_flight: int
    pace: Callable[[Key], Pace]
    prepare_s: Callable[[], float]
    places: Places
    observer: Observer
    _queue: deque[_Waiting[Key, Item, Answer]] = field(default_factory=deque, init=False)
    _running: dict[Future[Sequence[Answer]], float] = field(default_factory=dict, init=False)
    _is_alone: bool = field(default=False, init=False)

    @property
    def oldest_batch_s(self) -> float:
        """For how long the oldest batch now computed has been in the function; 0 when none is."""
        return time.monotonic() - min(self._running.values()) if self._running else 0.0

    async def submit(self, key: Key, item: Item) -> Answer:
        """The answer for one item whose place is reserved.

        Cancelling the caller takes the item out at once, unless it is being computed, and touches no other. Raises
        BatchFailed where the function raised for this item's batch.
        """
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Key, Item, Answer] = _Waiting(key, item, loop.time(), loop.create_future(), REQUEST_ID.get())
        is_lone = not self._queue and not self._running
        self._queue.append(waiting)
        if is_lone:  # as _dispatch() would find, in more steps
            self._is_alone = True
            self._start(1)
        else:
            self._dispatch()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            if waiting in self._queue:  # asked, not tried: the error would spell out the whole item
                self._queue.remove(waiting)
            raise
        finally:
            del waiting  # else an answer that raised, its traceback and this frame would hold each other, and the item

    def _dispatch(self) -> None:
        while self._queue and (sizes := self._next_sizes()):
            self._is_alone = sizes == [1] and not self._running
            for size in sizes:
                self._start(size)

    def _next_sizes(self) -> list[int]:
        """Sizes of the batches that may start now, of items at the head of the queue that have one key."""
        waiting = self._waiting_of_one_key()
        if not waiting or (self._running and self._is_alone):
            return []
        return next_sizes(
            waiting,
            len(self._running),
            self.pace(self._queue[0].key),
            self.prepare_s(),
            workers=self.workers,
            in_flight=self.in_flight,
        )

    def _waiting_of_one_key(self) -> int:
        """Items at the head of the queue that share a key, as many as can start, without those whose caller is gone."""
        queue = self._queue
        while queue and queue[0].answer.done():  # cancelled: its caller is gone
            queue.popleft()
        count, most = 0, self.in_flight * self.pace(queue[0].key).batch_size if queue else 0
        for waiting in queue:
            if waiting.answer.done():
                continue
            if waiting.key is not queue[0].key or count == most:
                break
            count += 1
        return count

    def _start(self, size: int) -> None:
        """Compute the first so many items that callers still wait for; there are as many."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        batch: list[_Waiting[Key, Item, Answer]] = []
        while len(batch) < size:
            waiting = self._queue.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
                self.observer.waited(started - waiting.since)
        compute = self.compute_single if self._is_alone else self.compute
        work = self.executor.submit(compute, batch[0].key, [one.item for one in batch])
        self._running[work] = time.monotonic()

        def tell_loop(done: Future[Sequence[Answer]]) -> None:
            # run_in_executor() would take a second turn of the loop for each batch
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._finish, batch, started, done)

        work.add_done_callback(tell_loop)

    def _finish(self, batch: list[_Waiting[Key, Item, Answer]], started: float, done: Future[Sequence[Answer]]) -> None:
        del self._running[done]
        seconds = asyncio.get_running_loop().time() - started
        error = done.exception()
        if error is None and len(done.result()) != len(batch):
            error = ValueError(f"expected {len(batch)} answers, got {len(done.result())}")
        self.observer.batch_done(len(batch), error)
        if error is None:
            # exponential moving average over about ten batches; those that ran beside it shared the time
            pace = seconds / (len(batch) * (len(self._running) + 1))
            known = self.places.seconds_per_item
            self.places.seconds_per_item += (pace - known) * (0.1 if known else 1.0)
            for waiting, answer in zip(batch, done.result(), strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(answer)
        else:
            # once for all of them: a caller's own failure says no more
            named = sorted({one.request_id for one in batch if one.request_id})
            log.error("batch failed", exc_info=error, extra={"request_ids": named})
            for waiting in batch:
                if not waiting.answer.done():
                    failure = BatchFailed()
                    failure.__cause__ = error
                    waiting.answer.set_exception(failure)
        if self._queue:
            self._dispatch()
