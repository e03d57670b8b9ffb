"""A ledger's files as their one writer sees them: where it goes on, a write that tore, the next file, the flush."""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from service.ledger_chain import START, End, file_for, find_end, ledger_files, write_line

log = logging.getLogger("lungct.ledger")

Facts = Mapping[str, Any]


class Torn(Exception):
    """A write ended before its end. whole: so many of its lines stand, and count."""

    def __init__(self, whole: int, cause: OSError) -> None:
        super().__init__(whole)
        self.whole = whole
        self.cause = cause


class LedgerFile:
    """The newest file of a folder, to which lines are appended; the next one where it is full. For one thread."""

    def __init__(
        self, folder: Path, *, max_bytes: int, sync_interval_s: float, observe_sync: Callable[[float], None]
    ) -> None:
        """observe_sync: is told how many seconds each flush took."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._sync_interval_s = sync_interval_s
        self._observe_sync = observe_sync
        self._lock_fd = -1
        self._fd = -1
        self._size = 0
        self._unsynced_since: float | None = None
        self.link = START
        """The last line."""

    @property
    def is_open(self) -> bool:
        """Whether lines can be appended."""
        return self._fd >= 0

    def open(self) -> int:
        """Go on where the ledger ends: how many bytes of a torn line stand there.

        Raises OSError, BlockingIOError where another process has it, or service.ledger_chain.BrokenLine.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._keep_others_out()
        end = find_end(self._folder)
        _remove_hollow(self._folder, end)
        self.link = end.link
        if end.path is not None and not end.torn_bytes and end.size < self._max_bytes:
            self._fd = os.open(end.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._size = end.size
        else:
            self._create()
        return end.torn_bytes

    def append(self, lines: Sequence[Facts]) -> None:
        """Write one line for each, all with one write(). Raises Torn, or OSError where no next file can be made."""
        if self._size >= self._max_bytes:
            self._next_file()
        contents, ends, links = [], [0], [self.link]
        for facts in lines:
            content, link = write_line(links[-1], facts)
            contents.append(content)
            links.append(link)
            ends.append(ends[-1] + len(content))
        written = 0
        content = b"".join(contents)
        try:
            while written < len(content):
                written += os.write(self._fd, content[written:] if written else content)
        except OSError as error:
            whole = sum(end <= written for end in ends[1:])
            self.link = links[whole]
            raise Torn(whole, error) from error
        finally:
            self._size += written
        if self._unsynced_since is None:
            self._unsynced_since = time.monotonic()
        self.link = links[-1]

    def sync(self) -> None:
        """Flush to the disk."""
        started = time.perf_counter()
        os.fsync(self._fd)
        self._unsynced_since = None
        self._observe_sync(time.perf_counter() - started)

    def seconds_to_sync(self) -> float | None:
        """Until the next flush is due, 0 or less where it is; None where nothing waits for one."""
        if self._unsynced_since is None:
            return None
        return self._unsynced_since + self._sync_interval_s - time.monotonic()

    def close(self) -> None:
        """Let the file go, not the folder: nobody else may write there. open() goes on."""
        self._unsynced_since = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def leave(self) -> None:
        """Let the folder go, too."""
        self.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _keep_others_out(self) -> None:
        """One process at a time. Raises BlockingIOError where one is in."""
        if self._lock_fd < 0:
            fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                raise
            self._lock_fd = fd

    def _create(self) -> None:
        path = file_for(self._folder, self.link.seq + 1)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _next_file(self) -> None:
        self.sync()
        self.close()
        self._create()
        log.info("ledger file", extra={"first_seq": self.link.seq + 1, "anchor": str(self.link)})


def _remove_hollow(folder: Path, end: End) -> None:
    """Files behind the last whole line hold none: their first one was not written to its end."""
    for path in ledger_files(folder):
        if end.path is None or path.name > end.path.name:
            path.unlink()
