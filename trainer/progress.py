"""Progress that reads well in a terminal and in `docker logs`."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 5.0

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], total: int, label: str, stream: TextIO | None = None) -> Iterator[Item]:
    """Pass the items through while showing how many have come.

    A bar that redraws itself where the stream (standard error by default) is a terminal; elsewhere one whole line at
    the start, every five seconds, and at the end, without carriage returns.
    """
    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        yield from tqdm(items, total=total, desc=label, unit="slice", file=stream, leave=True)
        return
    started = said = time.monotonic()
    print(f"{label}: {total} to do", file=stream, flush=True)
    done = 0
    for item in items:
        yield item
        done += 1
        if (now := time.monotonic()) - said >= _SECONDS_BETWEEN_LINES:
            said = now
            share, rate = 100 * done // max(total, 1), done / (now - started)
            print(f"{label}: {done}/{total} ({share} %), {rate:.0f}/s", file=stream, flush=True)
    seconds = time.monotonic() - started
    print(f"{label}: {done}/{total} done in {seconds:.1f} s", file=stream, flush=True)
