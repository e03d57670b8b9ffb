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

from service.errors import ProblemError, ProblemKind
from service.logging_config import REQUEST_ID

log = logging.getLogger("lungct.batching")

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class QueueFull(ProblemError):
    """No room, or no hope of an answer before the deadline; retry_after_s says when there may be."""

    kind = ProblemKind("queue-full", 503, "Overloaded", lambda: QueueFull(1.3))

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"The queue is full; try again in {retry_after_s:.1f} s.", retry_after_s=retry_after_s)


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
    gets a single item and has all workers to itself; up to single_threshold(key) items are as fast one after the other
    as in batches. in_flight is how many full batches may be on their way: more than workers, so that no worker waits
    for its next one.
    """

    compute: Callable[[Key, Sequence[Item]], Sequence[Answer]]
    compute_single: Callable[[Key, Sequence[Item]], Sequence[Answer]]
    executor: Executor
    _: KW_ONLY
    workers: int
    in_flight: int
    batch_size: int
    single_threshold: Callable[[Key], int]
    max_queue: int
    observer: Observer
    _queue: deque[_Waiting[Key, Item, Answer]] = field(default_factory=deque, init=False)
    _held: int = field(default=0, init=False)
    _room: deque[asyncio.Future[None]] = field(default_factory=deque, init=False)
    _seconds_per_item: float = field(default=0.0, init=False)
    _running: dict[Future[Sequence[Answer]], float] = field(default_factory=dict, init=False)
    _is_alone: bool = field(default=False, init=False)

    # --- admission ----------------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Items accepted and not yet answered."""
        return self._held

    @property
    def round_size(self) -> int:
        """Items that are computed at a time when every worker has a full batch."""
        return self.workers * self.batch_size

    @property
    def oldest_batch_s(self) -> float:
        """For how long the oldest batch now computed has been in the function; 0 when none is."""
        return time.monotonic() - min(self._running.values()) if self._running else 0.0

    @property
    def expected_wait_s(self) -> float:
        """How long what is accepted now will take, by the measured rate; 0 before the first batch."""
        return self._held * self._seconds_per_item

    @property
    def is_full(self) -> bool:
        """Whether reserve() would fail even for a patient caller."""
        return self._held >= self.max_queue

    def reserve(self, patience_s: float) -> None:
        """Take a place for one item, to be given back by release().

        Raises QueueFull where every place is taken, or where by the measured rate the answer would come later than
        patience_s from now: computing it would only delay those who can still be served.
        """
        if self._held >= self.max_queue or self._held * self._seconds_per_item > patience_s:
            raise QueueFull(self.retry_after_s())
        self._held += 1

    async def reserve_when_free(self) -> None:
        """Like reserve(), but wait for a place, first come first served."""
        if not self.is_full:
            self._held += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the place was handed over in the moment of cancellation
            if turn in self._room:
                self._room.remove(turn)
            raise

    def release(self) -> None:
        """Give a reserved place back; the first in line takes it over, so that nobody can slip in before."""
        while self._room:
            turn = self._room.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._held -= 1

    def retry_after_s(self) -> float:
        """When half of what is held now will be done, by the measured rate."""
        return max(0.05, self.expected_wait_s / 2)

    # --- computing ----------------------------------------------------------------------------------------------------

    async def submit(self, key: Key, item: Item) -> Answer:
        """The answer for one item whose place is reserved.

        Cancelling the caller takes the item out at once, unless it is being computed, and touches no other. Raises
        BatchFailed where the function raised for this item's batch.
        """
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Key, Item, Answer] = _Waiting(key, item, loop.time(), loop.create_future(), REQUEST_ID.get())
        self._queue.append(waiting)
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
        """Sizes of the batches that may start now, of items at the head of the queue that have one key.

        Idle workers take what waits: up to single_threshold one after the other, more in one even round. While some are
        busy, a free one takes a batch that is at least half full. Beyond that full batches follow: what does not fill
        one waits.
        """
        waiting = self._waiting_of_one_key()
        if not waiting or (self._running and self._is_alone):
            return []
        if not self._running:
            if waiting <= self.single_threshold(self._queue[0].key):
                return [1]
            if waiting < self.round_size:
                return self._even_round(waiting)
        full = [self.batch_size] * min(self.in_flight - len(self._running), waiting // self.batch_size)
        rest = waiting - sum(full)
        if len(self._running) + len(full) < self.workers and 2 * rest >= self.batch_size:
            return [*full, rest]
        return full

    def _even_round(self, waiting: int) -> list[int]:
        workers = min(self.workers, waiting)
        each, rest = divmod(waiting, workers)
        return [each + 1] * rest + [each] * (workers - rest)

    def _waiting_of_one_key(self) -> int:
        """Items at the head of the queue that share a key, as many as can start, without those whose caller is gone."""
        queue = self._queue
        while queue and queue[0].answer.done():  # cancelled: its caller is gone
            queue.popleft()
        count = 0
        for waiting in queue:
            if waiting.answer.done():
                continue
            if waiting.key is not queue[0].key or count == self.in_flight * self.batch_size:
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
            self._seconds_per_item += (pace - self._seconds_per_item) * (0.1 if self._seconds_per_item else 1.0)
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
        self._dispatch()
