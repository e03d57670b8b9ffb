"""Gives memory back that nobody will read again, where the C library is glibc.

OpenVINO maps the weights' file and keeps a packed copy: after warming, the mapped pages (77 MB for `cnn`) are resident
for nothing. And glibc keeps what a released model freed, which would look like a leak after each swap.
"""

import ctypes
import gc
import re
import sys
from pathlib import Path

_MADV_DONTNEED = 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT, _MAPPED = 8 * 2**20, 4 * 2**20  # bytes
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+\s+(.*)")


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:  # another C library
        return None
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def collect_rarely() -> None:
    """Take what is there now out of garbage collection, and look for the rest's cycles less often.

    Requests leave hardly any cycles, and walking through every module's objects takes 6 % of the event loop's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def set_heap(arenas: int) -> None:
    """Let all threads share so many heaps; by default each thread keeps its own peak for ever.

    Each heap keeps 8 MiB that were freed. By default it keeps twice the largest block, so that most of the 5 MB which
    drawing an explanation takes were mapped anew for every picture: 550 page faults, a millisecond.
    """
    if libc := _glibc():
        libc.mallopt(_M_ARENA_MAX, arenas)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED)  # stays at 128 KiB otherwise, once one of them is set


def drop_mapped_pages(folder: Path) -> None:
    """Make pages of read-only mappings of files in the folder non-resident; a later access reads the file again."""
    libc = _glibc()
    if libc is None:
        return
    prefix = f"{folder.resolve()}/"
    for line in Path("/proc/self/maps").read_text("utf-8").splitlines():
        mapping = _MAPPING.fullmatch(line)
        if mapping and mapping[3].startswith(prefix):
            start, end = int(mapping[1], 16), int(mapping[2], 16)
            libc.madvise(start, end - start, _MADV_DONTNEED)


def trim_heap() -> None:
    """Return free heap pages to the system."""
    if libc := _glibc():
        libc.malloc_trim(0)
