"""Long work on many items: on several threads, with progress that reads well in a terminal and in `docker logs`."""

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO, TypeVar

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 5.0
_ITEMS_AHEAD = 8  # per thread: keeps all of them busy, and bounds what waits in memory

Item = TypeVar("Item")
Done = TypeVar("Done")


def in_threads(do: Callable[[Item], Done], items: Iterable[Item], threads: int | None = None) -> Iterator[Done]:
    """What do() makes of each item, in the order of the items, on one thread a core unless told otherwise."""
    threads, waiting = threads or os.cpu_count() or 1, iter(items)
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(itertools.islice(waiting, threads * _ITEMS_AHEAD)):
            yield from pool.map(do, chunk)


def with_progress(
    items: Iterable[Item], total: int, label: str, stream: TextIO | None = None, *, step: int = 1
) -> Iterator[Item]:
    """Pass the items through while showing how many of the total have come, each being worth a step.

    A bar that redraws itself where the stream (standard error by default) is a terminal; elsewhere one whole line at
    the start, every five seconds, and at the end, without carriage returns.
    """
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        with tqdm(total=total, desc=label, unit="slice", file=stream, leave=True) as bar:
            for item in items:
                yield item
                bar.update(min(step, total - bar.n))
        return
    started = said = time.monotonic()
    print(f"{label}: {total} to do", file=stream, flush=True)
    done = 0
    for item in items:
        yield item
        done = min(done + step, total)
        if (now := time.monotonic()) - said >= _SECONDS_BETWEEN_LINES:
            said = now
            share, rate = 100 * done // max(total, 1), done / (now - started)
            print(f"{label}: {done}/{total} ({share} %), {rate:.0f}/s", file=stream, flush=True)
    seconds = time.monotonic() - started
    print(f"{label}: {done}/{total} done in {seconds:.1f} s", file=stream, flush=True)
