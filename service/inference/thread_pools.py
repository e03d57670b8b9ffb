"""Threads that compute: batches (WorkerPool), and what takes long beside them (BoundedPool)."""

import asyncio
import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from service.inference.places import QueueFull

Answer = TypeVar("Answer")

_NICENESS = 10
_NO_THREAD_S = 1.0
"""After which a thread may be had again, where the machine has none now."""


def give_way(niceness: int) -> None:
    """Give this thread a lower priority, where a thread has one of its own; one that is lower already stays so."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # what was started as nicer than that may not take it back, unless it is root's
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))


class WorkerPool(Executor):
    """So many threads, started at once, that never end before the process does.

    concurrent.futures.ThreadPoolExecutor also counts idle threads and ends in order, on the event loop's time: with it,
    and a second turn of the loop for each batch, 2 % fewer slices were answered.
    """

    def __init__(self, count: int, name: str, niceness: int = 0) -> None:
        """niceness: of these threads, and of those they start; 19 is what runs when nobody else wants a core."""
        self._niceness = niceness
        self._work: SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, fn: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:
        """Call fn in the next free thread."""
        future: Future[Answer] = Future()
        self._work.put((future, fn, args, kwargs))
        return future

    def _run(self) -> None:
        if self._niceness:
            give_way(self._niceness)
        while True:
            future, fn, args, kwargs = self._work.get()
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)
            del future, fn, args, kwargs  # the next may be long in coming, and these hold a batch


class BoundedPool:
    """So many threads, and so many places for who waits for one. low_priority: predictions get the cores first.

    Who waits is on the event loop, not in the executor's queue, so one that goes leaves nothing behind. One that goes
    while its call runs is not waited for, but its place and its thread are free only when the call has ended.
    """

    def __init__(self, name: str, *, threads: int, places: int, low_priority: bool = False) -> None:
        yielding = functools.partial(give_way, _NICENESS) if low_priority else None
        self._threads = ThreadPoolExecutor(threads, name, initializer=yielding)
        self._width = threads
        self._places = asyncio.Semaphore(places)
        self._free = asyncio.Semaphore(threads)
        self._held = 0
        self._seconds = 0.0

    async def run(self, call: Callable[..., Answer], *arguments: Any, waits: bool = False) -> Answer:
        """call(*arguments) in the next free thread. No place: wait for one, too, where waits, else raise QueueFull.

        QueueFull, too, where the machine has no thread to start.
        """
        if self._places.locked() and not waits:
            raise QueueFull(max(0.05, self._held * self._seconds / self._width / 2))
        await self._places.acquire()
        self._held += 1
        try:
            await self._free.acquire()
        except BaseException:
            self._leave()
            raise
        # no local variable: the traceback of what it raises holds this frame, and a frame that holds its own exception
        # is not freed before the garbage collector comes, with all that it was given
        return await self._begin(call, *arguments)

    def _begin(self, call: Callable[..., Answer], *arguments: Any) -> asyncio.Future[Answer]:
        # not run_in_executor(): the two futures that it makes hold each other, and so what the call raised
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        held: list[Callable[[], Answer]] = [functools.partial(call, *arguments)]
        try:
            work: Future[Answer] = self._threads.submit(self._timed, held)
        except RuntimeError:  # no thread can be started now; the executor keeps what it was given all the same
            held.clear()
            self._free.release()
            self._leave()
            raise QueueFull(_NO_THREAD_S) from None
        work.add_done_callback(functools.partial(self._tell_loop, loop, answer))
        return answer

    def _tell_loop(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Answer], work: Future[Answer]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._end, answer, work)

    def _end(self, answer: asyncio.Future[Answer], work: Future[Answer]) -> None:
        self._free.release()
        self._leave()
        if answer.done():  # cancelled: its caller is gone
            return
        if (error := work.exception()) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(work.result())

    def _leave(self) -> None:
        self._held -= 1
        self._places.release()

    def _timed(self, held: list[Callable[[], Answer]]) -> Answer:
        started = time.monotonic()
        try:
            return held.pop()()
        finally:
            # exponential moving average over about ten calls
            self._seconds += (time.monotonic() - started - self._seconds) * (0.1 if self._seconds else 1.0)
