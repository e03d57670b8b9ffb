"""One line for every answer, kept so that nobody can change it unseen.

A thread writes; the event loop only hands facts over. Whatever waits is written together, at once, with one write():
when the process is killed, no line is lost that was reported as written. The disk is flushed every sync_interval_s:
when the machine loses power, at most the lines of that time are gone, and `verify-ledger --anchor` shows it.

Policy "closed": an answer leaves only once its line is written; where it cannot be, the caller gets 503. Policy "open":
answers leave at once; how many lines are missing is counted, and written down as soon as there is a disk again.

Nothing is ever deleted. What lies behind the last sound line stays as it is; a new file goes on, and its first line
says what was found. Lines go only where the names of folder and file lead: a folder that is gone is not made again.
"""

import asyncio
import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from service.errors import ProblemError, ProblemKind
from service.ledger.file import Facts, LedgerFile, Torn
from service.metrics import Metrics
from service.settings import LedgerPolicy

log = logging.getLogger("lungct.ledger")

_RETRY_S = _IDLE_S = 1.0
_ANCHOR_INTERVAL_S = 60.0
_OPEN_GROUP_S = 0.05
"""Nobody waits for lines of an open ledger: fewer, larger groups cost less."""
_MOST_WAITING = 20_000
_MOST_AT_ONCE = 500
"""Lines in one write()."""


class LedgerUnavailable(ProblemError):
    """The line of an answer could not be written, and the policy is closed."""

    kind = ProblemKind("ledger-unavailable", 503, "Ledger cannot be written")
    message = "No answer leaves without a line in the ledger."
    retry_after_s = 1.0


Written = asyncio.Future[bool | None]
"""Whether a line is; None where it took too long."""


@dataclass(slots=True)
class _Entry:
    """The line of one answer on its way."""

    facts: Facts
    written: Written | None = None


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
        self._metrics = metrics
        self._opening = opening
        self._flushes_each = sync_interval_s == 0
        self._file = LedgerFile(folder, max_file_bytes, sync_interval_s, metrics.ledger_sync_seconds.observe)
        self._timeout_s = timeout_s
        self._queue: SimpleQueue[_Entry | None] = SimpleQueue()
        self._gathered: list[_Entry] = []
        self._owed: list[_Entry] = []
        self._lock = threading.Lock()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._lost = 0
        self._unauthorized = self._unauthorized_told = 0  # each is changed by one thread only
        self._busy_since: float | None = None
        self._anchored: tuple[float, int] = (0.0, 0)
        self.complaint: str | None = "it is not open yet"
        """Why lines cannot be written now; None where they can."""
        self.damage: str | None = None
        """What this run found that no crash of a process explains; lines are written all the same."""

    # --- the event loop's side ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the ledger and begin to write."""
        self._thread.start()

    def stop(self, patience_s: float) -> bool:
        """Write what waits, flush, close; False where that did not end within patience_s."""
        self._is_ending = True
        self._hand_over()
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
        now, loop = _now(), asyncio.get_running_loop()
        entries = [_Entry({"time": now, **facts}) for facts in lines]
        if self.policy == "open":
            if self._queue.qsize() + len(self._gathered) + len(entries) > _MOST_WAITING:
                self._lose(len(entries))
            else:
                self._gather(entries, loop)
            return
        self.check()
        entries[-1].written = written = loop.create_future()
        self._gather(entries, loop)
        patience = loop.call_later(self._timeout_s, _tell, [written], None)  # asyncio.timeout() costs thrice as much
        try:
            is_written = await written
        finally:
            patience.cancel()
        if is_written is None:
            # the caller is told that there is no answer, so lines that say otherwise must not stand alone
            self._queue.put(_Entry({"time": now, "event": "withdrawn", "request_id": lines[-1].get("request_id")}))
        if not is_written:
            raise LedgerUnavailable

    def _gather(self, entries: list[_Entry], loop: asyncio.AbstractEventLoop) -> None:
        """Slices of a batch are answered in one turn of the loop: the thread is woken once for all their lines."""
        if not self._gathered:
            loop.call_soon(self._hand_over)
        self._gathered += entries

    def _hand_over(self) -> None:
        for entry in self._gathered:
            self._queue.put(entry)
        self._gathered.clear()

    def count_unauthorized(self) -> None:
        """Somebody without a known key was refused: counted, and written at most once a second.

        A line for each would let anybody fill the disk.
        """
        self._unauthorized += 1

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
            except Exception as error:
                if not isinstance(error, OSError):
                    log.exception("the ledger broke")
                self._fail(error, waiting)
            if is_last and self._queue.empty():
                self._file.leave()
                return
            if self.complaint and not is_last:
                time.sleep(_RETRY_S)

    def _take(self) -> list[_Entry]:
        """What waits, or after a while nothing; some of what nobody waits for is gathered first."""
        taken: list[_Entry | None] = [*self._owed]
        self._owed.clear()
        # what is not open yet is opened at once: nobody is answered before
        patience_s = max(0.001, min(_IDLE_S, self._file.seconds_to_sync()) if self._file.is_open else 0)
        with suppress(Empty):
            taken.append(self._queue.get(timeout=patience_s))
            if self.policy == "open" and not self._is_ending:
                time.sleep(_OPEN_GROUP_S)
            while True:
                taken.append(self._queue.get_nowait())
        return [entry for entry in taken if entry is not None]

    def _turn(self, waiting: list[_Entry]) -> None:
        """Write everything that waits, taking it out of the list, and flush where it is time."""
        self._busy_since = time.monotonic()
        try:
            if not self._file.is_open:
                self._open()
            elif not waiting:
                self._file.check_place()
            if count := self._unauthorized - self._unauthorized_told:
                self._event("refused", problem="unauthorized", count=count)
                self._unauthorized_told += count
            while waiting:
                self._write_group(waiting)
            if self._is_ending or self._file.seconds_to_sync() <= 0:
                self._file.sync()
            self._anchor()
        finally:
            self._busy_since = None

    def _write_group(self, waiting: list[_Entry]) -> None:
        group, done = waiting[:_MOST_AT_ONCE], 0
        try:
            self._file.append([entry.facts for entry in group])
            if self._flushes_each:
                self._file.sync()
            done = len(group)
        except Torn as torn:
            done = torn.whole
            raise
        finally:
            self._metrics.ledger_lines.inc(done)
            self._metrics.ledger_sequence.set(self._file.link.seq)
            _tell_written(group[:done], is_written=True)
            del waiting[:done]

    def _event(self, event: str, **facts: Any) -> None:
        self._file.append([{"time": _now(), "event": event, **facts}])
        self._metrics.ledger_sequence.set(self._file.link.seq)

    def _open(self) -> None:
        """Go on where the ledger ends, and say so in a line. Raises OSError."""
        end, lost = self._file.open(), self._lost
        if end.damage and end.damage != self.damage:
            self.damage = end.damage
            log.error("ledger damaged", extra={"reason": end.damage})
        found = {**end.findings, "lost_lines": lost}
        self._event("opened", **self._opening, **found)
        with self._lock:
            self._lost -= lost
        self._file.sync()
        if self.complaint:
            log.info("ledger open", extra={**found, "anchor": str(self._file.link)})
        self.complaint = None
        self._metrics.ledger_up.set(1)

    def _fail(self, error: Exception, waiting: list[_Entry]) -> None:
        """Whoever waits hears it; the next turn opens the ledger anew."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        if isinstance(error, BlockingIOError):
            reason = "another process writes it"
        if reason != self.complaint:
            log.error("ledger not written", extra={"reason": reason, "policy": self.policy})
        self.complaint = reason
        self._metrics.ledger_up.set(0)
        self._file.close()
        self._owed = [entry for entry in waiting if "event" in entry.facts]
        answers = [entry for entry in waiting if "event" not in entry.facts]
        _tell_written(answers, is_written=False)
        if self.policy == "open":
            self._lose(len(answers))

    def _anchor(self) -> None:
        """The last line's number and hash, into the log: kept elsewhere, it shows whether the end was cut off."""
        at, seq = self._anchored
        now = time.monotonic()
        if self._file.link.seq != seq and (self._is_ending or now - at >= _ANCHOR_INTERVAL_S):
            log.info("ledger anchor", extra={"anchor": str(self._file.link)})
            self._anchored = now, self._file.link.seq


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tell_written(entries: list[_Entry], *, is_written: bool) -> None:
    """Let those who wait go on; one call into the event loop for all of them."""
    if waited_for := [entry.written for entry in entries if entry.written is not None]:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            waited_for[0].get_loop().call_soon_threadsafe(_tell, waited_for, is_written)


def _tell(waited_for: list[Written], is_written: bool | None) -> None:  # noqa: FBT001 - a callback's
    for written in waited_for:
        if not written.done():
            written.set_result(is_written)
