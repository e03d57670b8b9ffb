"""What is fuzzed: a function that takes any bytes, and what a call of it may cost."""

import functools
import os
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

MAX_CALL_S = 1.0
"""Processor time of the calling thread: a machine with other work to do makes no finding."""


class TooSlow(Exception):
    """A call took longer than MAX_CALL_S."""


class TooMuchMemory(Exception):
    """Resident memory rose by more than a target's bound during a call."""


@dataclass(frozen=True)
class Target:
    """One reader of bytes from outside."""

    name: str
    call: Callable[[bytes], None]
    """Raises nothing but what its module does not declare, or AssertionError where an answer breaks a promise."""
    seeds: Callable[[], list[bytes]]
    """Inputs that reach far, made by code."""
    words: tuple[bytes, ...]
    """What mutations put in: the dictionary."""
    max_bytes: int = 64 * 1024
    """Of an input that a fuzzer makes; seeds may be longer."""
    max_mib: int = 64
    """By which resident memory may rise during one call."""
    share: float = 1.0
    """Of the mutations that tests try; less where a call takes long."""

    def __call__(self, body: bytes) -> None:
        """Call it. Raises what it raises, TooSlow or TooMuchMemory."""
        _forget_peak()
        before, started = _peak_kib(), time.thread_time()
        self.call(body)
        taken_s, grown_mib = time.thread_time() - started, (_peak_kib() - before) / 1024
        if taken_s > MAX_CALL_S:
            raise TooSlow(f"{self.name}: {taken_s:.2f} s for {len(body)} bytes")
        if grown_mib > self.max_mib:
            raise TooMuchMemory(f"{self.name}: {grown_mib:.0f} MiB for {len(body)} bytes")


class Reader:
    """An input cut into numbers and bytes from its front; 0 and nothing where it has ended."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def byte(self) -> int:
        """0 to 255."""
        return self.take(1)[0] if self._at < len(self._body) else 0

    def take(self, count: int) -> bytes:
        """So many bytes, or what is left."""
        taken = self._body[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._body))


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine that waits for nothing returns; an event loop for each input would be most of its time."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    raise AssertionError("it waits, and nothing is outstanding")


@functools.cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="lungct-fuzz-")


def scratch() -> Path:
    """A folder for what a target reads from files; goes with the process."""
    return Path(_scratch().name)


def _forget_peak() -> None:
    """From now on the peak counts anew, from what is resident now (proc(5), clear_refs)."""
    file = os.open("/proc/self/clear_refs", os.O_WRONLY)
    try:
        os.write(file, b"5")
    finally:
        os.close(file)


def _peak_kib() -> int:
    file = os.open("/proc/self/status", os.O_RDONLY)
    try:
        status = os.read(file, 8192)
    finally:
        os.close(file)
    _, _, after = status.partition(b"VmHWM:")
    return int(after.split(maxsplit=1)[0])
