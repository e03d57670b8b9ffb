"""Threads beside the batches: what takes long there delays only its own kind."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from service.batching import QueueFull

Answer = TypeVar("Answer")

_NICENESS = 10


class SideLane:
    """So many threads, and so many places for who waits for one. low_priority: predictions get the cores first."""

    def __init__(self, name: str, *, threads: int, places: int, low_priority: bool = False) -> None:
        self._threads = ThreadPoolExecutor(threads, name, initializer=_give_way if low_priority else None)
        self._width = threads
        self._places = asyncio.Semaphore(places)
        self._held = 0
        self._seconds = 0.0

    async def run(self, call: Callable[..., Answer], *arguments: Any, waits: bool = False) -> Answer:
        """call(*arguments) in the next free thread. No place: wait for one, too, where waits, else raise QueueFull."""
        if self._places.locked() and not waits:
            raise QueueFull(max(0.05, self._held * self._seconds / self._width / 2))
        async with self._places:
            self._held += 1
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._timed, call, *arguments)
            finally:
                self._held -= 1

    def _timed(self, call: Callable[..., Answer], *arguments: Any) -> Answer:
        started = time.monotonic()
        try:
            return call(*arguments)
        finally:
            # exponential moving average over about ten calls
            self._seconds += (time.monotonic() - started - self._seconds) * (0.1 if self._seconds else 1.0)


def _give_way() -> None:
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
