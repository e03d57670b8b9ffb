"""Threads that compute batches."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def give_way(niceness: int) -> None:
    """Give this thread a lower priority, where a thread has one of its own; one that is lower already stays so."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # what was started as nicer than that may not take it back, unless it is root's
        os.setpriority(os.PRIO_PROCESS, thread, max(niceness, os.getpriority(os.PRIO_PROCESS, thread)))


class Lanes(Executor):
    """So many threads, started at once, that never end before the process does.

    concurrent.futures.ThreadPoolExecutor also counts idle threads and ends in order, on the event loop's time: with it,
    and a second turn of the loop for each batch, 2 % fewer slices were answered.
    """

    def __init__(self, count: int, name: str, niceness: int = 0) -> None:
        """niceness: of these threads, and of those they start; 19 is what runs when nobody else wants a core."""
        self._niceness = niceness
        self._work: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, fn: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Future[Answer]:
        """Call fn in the next free thread."""
        future: Future[Answer] = Future()
        self._work.put((future, lambda: fn(*args, **kwargs)))
        return future

    def _run(self) -> None:
        if self._niceness:
            give_way(self._niceness)
        while True:
            future, call = self._work.get()
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            del future, call  # the next may be long in coming, and these hold a batch
