"""One line for every answer, kept so that nobody can change it unseen.

A thread writes; the event loop only hands facts over. Whatever waits is written together, at once, with one write():
when the process is killed, no line is lost that was reported as written. The disk is flushed every sync_interval_s:
when the machine loses power, at most the lines of that time are gone, and `verify-ledger --anchor` shows it.

Policy "closed": an answer leaves only once its line is written; where it cannot be, the caller gets 503. Policy "open":
answers leave at once; how many lines are missing is counted, and written down as soon as there is a disk again.
"""

import asyncio
import fcntl
import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from service.ledger_chain import START, BrokenLine, End, file_for, find_end, ledger_files, write_line
from service.metrics import Metrics
from service.settings import LedgerPolicy

log = logging.getLogger("lungct.ledger")

Facts = Mapping[str, Any]

_RETRY_S = _IDLE_S = 1.0
_ANCHOR_INTERVAL_S = 60.0
_OPEN_GROUP_S = 0.05
"""Nobody waits for lines of an open ledger: fewer, larger groups cost less."""
_MOST_WAITING = 20_000
_MOST_AT_ONCE = 500
"""Lines in one write()."""


class LedgerUnavailable(Exception):
    """The line of an answer could not be written, and the policy is closed."""


class _Entry:
    """The line of one answer on its way."""

    __slots__ = ("facts", "written")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.written: asyncio.Future[bool | None] | None = None
        """Whether it is; None where it took too long."""


class Ledger:
    """A folder of ledger files, written by one process at a time."""

    def __init__(
        self,
        folder: Path,
        policy: LedgerPolicy,
        metrics: Metrics,
        *,
        opening: Facts,
        max_file_bytes: int,
        sync_interval_s: float,
        timeout_s: float,
    ) -> None:
        """opening: what the line says that each start of the service writes."""
        self.policy = policy
        self._folder = folder
        self._metrics = metrics
        self._opening = opening
        self._max_file_bytes = max_file_bytes
        self._sync_interval_s = sync_interval_s
        self._timeout_s = timeout_s
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._owed: list[_Entry] = []
        self._lock = threading.Lock()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._lock_fd = -1
        self._fd = -1
        self._size = 0
        self._link = START
        self._lost = 0
        self._strangers = 0
        self._unsynced_since: float | None = None
        self._busy_since: float | None = None
        self._anchored: tuple[float, int] = (0.0, 0)
        self.complaint: str | None = "it is not open yet"
        """Why lines cannot be written now; None where they can."""

    # --- the event loop's side ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the ledger and begin to write."""
        self._thread.start()

    def stop(self, patience_s: float) -> bool:
        """Write what waits, flush, close; False where that did not end within patience_s."""
        self._is_ending = True
        self._queue.put(None)
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    @property
    def trouble(self) -> str | None:
        """Why lines are not written now: what went wrong, or that the disk does not answer."""
        busy_since = self._busy_since
        if busy_since is not None and time.monotonic() - busy_since > self._timeout_s:
            return f"the disk has not taken a line for {time.monotonic() - busy_since:.0f} s"
        return self.complaint

    def check(self) -> None:
        """Raises LedgerUnavailable where an answer could not leave, before anything is computed for it."""
        if self.policy == "closed" and self.trouble:
            raise LedgerUnavailable

    async def record(self, lines: list[dict[str, Any]]) -> None:
        """Write the lines of one answer. Where the policy is closed, return when they are written.

        Raises LedgerUnavailable, where it is closed and they are not.
        """
        now = _now()
        entries = [_Entry({"time": now, **facts}) for facts in lines]
        if self.policy == "open":
            if self._queue.qsize() + len(entries) > _MOST_WAITING:
                self._lose(len(entries))
                return
            for entry in entries:
                self._queue.put(entry)
            return
        self.check()
        loop = asyncio.get_running_loop()
        entries[-1].written = written = loop.create_future()
        for entry in entries:
            self._queue.put(entry)
        patience = loop.call_later(self._timeout_s, _answer, written, None)  # asyncio.timeout() costs thrice as much
        try:
            is_written = await written
        finally:
            patience.cancel()
        if is_written is None:
            # the caller is told that there is no answer, so lines that say otherwise must not stand alone
            self._queue.put(_Entry({"time": now, "event": "withdrawn", "request_id": lines[-1].get("request_id")}))
        if not is_written:
            raise LedgerUnavailable

    def count_stranger(self) -> None:
        """Somebody without a known key was refused: counted, and written at most once a second.

        A line for each would let anybody fill the disk.
        """
        self._strangers += 1

    def _lose(self, count: int) -> None:
        with self._lock:
            self._lost += count
        self._metrics.ledger_lost.inc(count)

    # --- the thread's side --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            waiting = self._take()
            is_last = self._is_ending
            try:
                self._turn(waiting)
            except (OSError, BrokenLine) as error:
                self._fail(error, waiting)
            except Exception as error:
                log.exception("the ledger broke")
                self._fail(error, waiting)
            if is_last and self._queue.empty():
                self._end()
                return
            if self.complaint and not is_last:
                time.sleep(_RETRY_S)

    def _take(self) -> list[_Entry]:
        """What waits, or after a while nothing; some of what nobody waits for is gathered first."""
        taken: list[_Entry | None] = [*self._owed]
        self._owed = []
        with suppress(Empty):
            taken.append(self._queue.get(timeout=self._patience(_IDLE_S)))
            if self.policy == "open" and not self._is_ending:
                time.sleep(_OPEN_GROUP_S)
            while True:
                taken.append(self._queue.get_nowait())
        return [entry for entry in taken if entry is not None]

    def _patience(self, most_s: float) -> float:
        """Until the next flush is due."""
        if self._unsynced_since is None:
            return most_s
        return max(0.001, min(most_s, self._unsynced_since + self._sync_interval_s - time.monotonic()))

    def _turn(self, waiting: list[_Entry]) -> None:
        """Write everything that waits, taking it out of the list, and flush where it is time."""
        self._busy_since = time.monotonic()
        try:
            if self._fd < 0:
                self._open()
            if self._strangers:
                count, self._strangers = self._strangers, 0
                self._event("refused", problem="unauthorized", count=count)
            while waiting:
                self._write_group(waiting)
            if self._unsynced_since is not None and (
                self._is_ending or time.monotonic() - self._unsynced_since >= self._sync_interval_s
            ):
                self._sync()
            self._anchor()
        finally:
            self._busy_since = None

    def _write_group(self, waiting: list[_Entry]) -> None:
        if self._size >= self._max_file_bytes:
            self._next_file()
        group = waiting[:_MOST_AT_ONCE]
        lines, ends, links = [], [0], [self._link]
        for entry in group:
            line, link = write_line(links[-1], entry.facts)
            lines.append(line)
            links.append(link)
            ends.append(ends[-1] + len(line))
        done = 0
        try:
            self._write(b"".join(lines))
            if self._sync_interval_s == 0:
                self._sync()
            done = len(group)
        except _Torn as torn:  # lines before the tear are whole, and count
            done = sum(end <= torn.written for end in ends[1:])
            raise torn.cause from None
        finally:
            self._link = links[done]
            self._metrics.ledger_lines.inc(done)
            self._metrics.ledger_sequence.set(self._link.seq)
            _tell(group[:done], is_written=True)
            del waiting[:done]

    def _write(self, content: bytes) -> None:
        """Raises _Torn where not all of it could be written."""
        written = 0
        try:
            while written < len(content):
                written += os.write(self._fd, content[written:] if written else content)
        except OSError as error:
            raise _Torn(written, error) from error
        finally:
            self._size += written
        if self._unsynced_since is None:
            self._unsynced_since = time.monotonic()

    def _event(self, event: str, **facts: Any) -> None:
        line, link = write_line(self._link, {"time": _now(), "event": event, **facts})
        try:
            self._write(line)
        except _Torn as torn:
            raise torn.cause from None
        self._link = link
        self._metrics.ledger_sequence.set(link.seq)

    def _sync(self) -> None:
        started = time.perf_counter()
        os.fsync(self._fd)
        self._unsynced_since = None
        self._metrics.ledger_sync_seconds.observe(time.perf_counter() - started)

    # --- files --------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Go on where the ledger ends, and say so in a line. Raises OSError or BrokenLine."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._keep_others_out()
        end = find_end(self._folder)
        _remove_hollow(self._folder, end)
        self._link, torn_bytes = end.link, end.torn_bytes
        if end.path is not None and not torn_bytes and end.size < self._max_file_bytes:
            self._fd = os.open(end.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._size = end.size
        else:
            self._create()
        lost = self._lost
        self._event("opened", **self._opening, torn_bytes=torn_bytes, lost_lines=lost)
        with self._lock:
            self._lost -= lost
        self._sync()
        if self.complaint:
            log.info("ledger open", extra={"lost_lines": lost, "torn_bytes": torn_bytes, "anchor": str(self._link)})
        self.complaint = None
        self._metrics.ledger_up.set(1)

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
        path = file_for(self._folder, self._link.seq + 1)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _next_file(self) -> None:
        self._sync()
        os.close(self._fd)
        self._fd = -1
        self._create()
        log.info("ledger file", extra={"first_seq": self._link.seq + 1, "anchor": str(self._link)})

    def _fail(self, error: Exception, waiting: list[_Entry]) -> None:
        """Whoever waits hears it; the next turn opens the ledger anew."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        if isinstance(error, BlockingIOError):
            reason = "another process writes it"
        if reason != self.complaint:
            log.error("ledger not written", extra={"reason": reason, "policy": self.policy})
        self.complaint = reason
        self._metrics.ledger_up.set(0)
        self._unsynced_since = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._owed = [entry for entry in waiting if "event" in entry.facts]
        answers = [entry for entry in waiting if "event" not in entry.facts]
        _tell(answers, is_written=False)
        if self.policy == "open":
            self._lose(len(answers))

    def _anchor(self) -> None:
        """The last line's number and hash, into the log: kept elsewhere, it shows whether the end was cut off."""
        at, seq = self._anchored
        now = time.monotonic()
        if self._link.seq != seq and (self._is_ending or now - at >= _ANCHOR_INTERVAL_S):
            log.info("ledger anchor", extra={"anchor": str(self._link)})
            self._anchored = now, self._link.seq

    def _end(self) -> None:
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)


class _Torn(Exception):
    """A write ended before its end."""

    def __init__(self, written: int, cause: OSError) -> None:
        super().__init__(written)
        self.written = written
        self.cause = cause


def _tell(entries: list[_Entry], *, is_written: bool) -> None:
    """Let those who wait go on; one call into the event loop for all of them."""
    waited_for = [entry.written for entry in entries if entry.written is not None]

    def tell() -> None:
        for written in waited_for:
            _answer(written, is_written)

    if waited_for:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            waited_for[0].get_loop().call_soon_threadsafe(tell)


def _answer(written: asyncio.Future[bool | None], is_written: bool | None) -> None:  # noqa: FBT001 - a callback's
    if not written.done():
        written.set_result(is_written)


def _remove_hollow(folder: Path, end: End) -> None:
    """Files behind the last whole line hold none: their first one was not written to its end."""
    for path in ledger_files(folder):
        if end.path is None or path.name > end.path.name:
            path.unlink()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
