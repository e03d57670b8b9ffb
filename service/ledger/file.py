"""A ledger's files as their one writer sees them: where it goes on, a write that tore, the next file, the flush."""

import errno
import fcntl
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from service.ledger.chain import START, End, find_end, new_file_for, write_line

log = logging.getLogger("lungct.ledger")

Facts = Mapping[str, Any]


class Torn(OSError):
    """A write ended before its end, for the reason of `cause`. whole: so many of its lines stand, and count."""

    def __init__(self, whole: int, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.whole = whole


class Moved(OSError):
    """The folder's name or the file's leads to something else than what is open, or to nothing."""


class LedgerFile:
    """The newest file of a folder, to which lines are appended; the next one where it is full. For one thread.

    A folder is made where there is none at first; one that was written and is gone is not made again.
    """

    def __init__(
        self, folder: Path, max_bytes: int, sync_interval_s: float, observe_sync: Callable[[float], None]
    ) -> None:
        """observe_sync: is told how many seconds each flush took."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._sync_interval_s = sync_interval_s
        self._observe_sync = observe_sync
        self._folder_fd = -1
        self._lock_fd = -1
        self._fd = -1
        self._path = folder
        self._opened: tuple[os.stat_result, ...] = ()
        """Folder and file; their inodes are not used again while they are open."""
        self._size = 0
        self._unsynced_since: float | None = None
        self.link = START
        """The last line."""

    @property
    def is_open(self) -> bool:
        """Whether lines can be appended."""
        return self._fd >= 0

    def open(self) -> End:
        """Go on where the ledger ends: what was found there. Raises OSError, BlockingIOError where another has it."""
        if self.link == START:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._keep_others_out()
        end = find_end(self._folder, self.link)
        self.link = end.link
        if end.path is not None and end.size < self._max_bytes:
            self._fd = os.open(end.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._path, self._size = end.path, end.size
        else:
            self._create()
        self._opened = (os.fstat(self._folder_fd), os.fstat(self._fd))
        return end

    def check_place(self) -> None:
        """Raises Moved where lines would go into what no name leads to, or into what somebody else wrote too."""
        try:
            folder, file = self._folder.stat(), self._path.stat()
        except OSError as error:
            raise Moved(error.errno, f"the ledger is not in its place any more: {error.strerror}") from error
        if not all(map(os.path.samestat, self._opened, (folder, file))):
            raise Moved(errno.ESTALE, "the ledger is not in its place any more: another folder or file is there")
        if file.st_size != self._size:
            raise Moved(errno.ESTALE, f"{self._path.name} was changed by somebody else")

    def append(self, lines: Sequence[Facts]) -> None:
        """Write one line for each, all with one write(). Raises Torn, or OSError where nothing was written."""
        self.check_place()
        if self._size >= self._max_bytes:
            self._next_file()
        contents, links = [], [self.link]
        for facts in lines:
            line, link = write_line(links[-1], facts)
            contents.append(line)
            links.append(link)
        written, content = 0, b"".join(contents)
        try:
            while written < len(content):
                written += os.write(self._fd, content[written:] if written else content)
        except OSError as error:
            whole = sum(end <= written for end in accumulate(map(len, contents)))
            self.link = links[whole]
            raise Torn(whole, error) from error
        finally:
            self._size += written
        if self._unsynced_since is None:
            self._unsynced_since = time.monotonic()
        self.link = links[-1]

    def sync(self) -> None:
        """Flush to the disk what is not there for sure."""
        if self._unsynced_since is None:
            return
        started = time.perf_counter()
        os.fsync(self._fd)
        self._unsynced_since = None
        self._observe_sync(time.perf_counter() - started)

    def seconds_to_sync(self) -> float:
        """Until the next flush is due, 0 or less where it is; infinite where nothing waits for one."""
        return (
            math.inf
            if self._unsynced_since is None
            else self._unsynced_since + self._sync_interval_s - time.monotonic()
        )

    def close(self) -> None:
        """Let the file go, not the folder: nobody else may write there. open() goes on."""
        self._unsynced_since = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def leave(self) -> None:
        """Let the folder go, too."""
        self.close()
        for fd in (self._lock_fd, self._folder_fd):
            if fd >= 0:
                os.close(fd)
        self._lock_fd = self._folder_fd = -1

    def _keep_others_out(self) -> None:
        """One process at a time, in the folder that the name leads to now. Raises BlockingIOError where one is in.

        The folder itself is locked, because a file in it can be removed; and a file, because only that is seen by other
        machines on a network's volume, and by versions that knew no other lock.
        """
        if self._folder_fd >= 0 and os.path.samestat(self._folder.stat(), os.fstat(self._folder_fd)):
            return
        self.leave()
        try:
            self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._folder_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock_fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.leave()
            raise

    def _create(self) -> None:
        self._path = new_file_for(self._folder, self.link.seq + 1)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0
        os.fsync(self._folder_fd)

    def _next_file(self) -> None:
        self.sync()
        self.close()
        self._create()
        self._opened = (self._opened[0], os.fstat(self._fd))
        log.info("ledger file", extra={"first_seq": self.link.seq + 1, "anchor": str(self.link)})
