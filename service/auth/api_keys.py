"""The keys of callers: made, kept as hashes, read again when their file changes.

A key is 256 random bits, so its SHA-256 cannot be searched back: a slow, salted password hash would add nothing but a
way to keep the service busy. Whoever reads the file cannot call with it.
"""

import hashlib
import hmac
import logging
import re
import secrets
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.auth.rate_limit import Allowance, Limit

log = logging.getLogger("lungct.api_keys")

KEY_PREFIX = "lungct_"
"""What programs that look for leaked secrets recognise a key by."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_LONGEST_KEY = 256  # bytes; more is not hashed
_WORDS = (2, 3)


class KeysError(ValueError):
    """The keys cannot be read or understood; str() never repeats what stood there, for it may be a key."""


@dataclass(frozen=True, eq=False)
class Caller:
    """Who holds a key: its name, for log and ledger, and what it may still ask."""

    name: str
    digest: bytes
    """SHA-256 of the key, 32 bytes."""
    allowance: Allowance | None = None


def make_key() -> str:
    """A new key, 256 bits of the system's random source."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def key_line(name: str, key: str, limit: Limit | None = None) -> str:
    """The line of the key file for a key. Raises KeysError where the name is not one word of letters, digits, '._-'."""
    if not _NAME.fullmatch(name):
        raise KeysError(f"expected a name of up to 64 letters, digits, dots, dashes and underscores, got {name!r}")
    line = f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    return f"{line} {limit}" if limit else line


def parse_keys(lines: Iterable[str]) -> tuple[Caller, ...]:
    """Callers from lines `NAME sha256:HEX [COUNT/SECONDS]`; empty lines and those that begin with # are skipped.

    Two lines may have one name: the old and the new key of a caller, while it changes over. No line: nobody may call.
    Raises KeysError.
    """
    callers = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        hashed = _HASH.fullmatch(words[1]) if len(words) in _WORDS else None
        if hashed is None or not _NAME.fullmatch(words[0]):
            raise KeysError(f"line {number}: expected NAME sha256:HEX [COUNT/SECONDS], as `make-key` prints it")
        try:
            limit = Limit.parse(words[2]) if words[2:] else None
        except ValueError as error:
            raise KeysError(f"line {number}: {error}") from None
        callers.append(Caller(words[0], bytes.fromhex(hashed[1]), Allowance(limit) if limit else None))
    return tuple(callers)


class ApiKeys:
    """The keys in force. A thread looks at the file in the rhythm of the repository, so that no request has to.

    A file that is gone or cannot be read lets nobody in; one that can be read and not understood, as in the moment in
    which somebody writes it, leaves the keys before it in force; one that holds no key revokes all of them. Each shows
    in `complaint`. What was used of a limit is remembered throughout.
    """

    def __init__(self, file: Path | None, fixed: str, *, poll_interval_s: float) -> None:
        """fixed: lines as in the file, separated by line ends or semicolons. Raises KeysError where they are wrong."""
        self._file = file
        self._fixed = parse_keys(fixed.replace(";", "\n").splitlines())
        if fixed.strip() and not self._fixed:
            raise KeysError("it holds no key")
        self.poll_interval_s = poll_interval_s
        self._from_file: tuple[Caller, ...] = ()
        self._remembered: tuple[Caller, ...] = ()
        """Those of the file, and those that were and have used some of their limit."""
        self._is_unread = file is not None
        self._seen: tuple[int, int, int] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api-keys", daemon=True)
        self.callers = self._fixed
        self.complaint: str | None = None
        """Why not every key of the file is in force."""
        self.poll()

    @property
    def is_closed(self) -> bool:
        """Whether nobody can be let in, because it is not known who may: the file cannot be read."""
        return not self.callers and self._is_unread

    def find(self, key: bytes) -> Caller | None:
        """Who holds the key. Every hash is compared, each in constant time."""
        digest = hashlib.sha256(key[:_LONGEST_KEY]).digest() if len(key) <= _LONGEST_KEY else b""
        found = [caller for caller in self.callers if hmac.compare_digest(caller.digest, digest)]
        return found[-1] if found else None

    def start(self) -> None:
        """Begin to look at the file, where there is one."""
        if self._file is not None:
            self._thread.start()

    def stop(self) -> None:
        """End looking."""
        self._stop.set()

    def poll(self) -> None:
        """Look once: read the file where its time, size or inode changed."""
        if self._file is None:
            return
        try:
            status = self._file.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return
            self._seen = seen
            self._put_in_force(parse_keys(self._file.read_text("utf-8-sig").splitlines()))
        except OSError as error:
            self._seen, self._from_file, self._is_unread = None, (), True
            self._complain(f"the key file cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self._complain("the key file cannot be understood: it is no UTF-8 text")
        except KeysError as error:
            self._complain(f"the key file cannot be understood: {error}")
        before, self.callers = self.callers, (*self._fixed, *self._from_file)
        if before != self.callers:
            log.info("keys in force", extra={"callers": [caller.name for caller in self.callers]})

    def _put_in_force(self, news: Sequence[Caller]) -> None:
        """A key keeps what it has used of its limit: in another line, with another limit, and while it is away."""
        before = {one.digest: one for one in self._remembered}
        self._from_file = tuple(_going_on(one, before.get(one.digest)) for one in news)
        now = {one.digest for one in news}
        away = [
            one for one in self._remembered if one.digest not in now and one.allowance and one.allowance.share_left < 1
        ]
        self._remembered = (*self._from_file, *away)
        self._is_unread = False
        if news:
            self.complaint = None
        else:
            self._complain("the key file holds no key: all of its keys are revoked")

    def _complain(self, complaint: str) -> None:
        if complaint != self.complaint:
            log.error("keys", extra={"reason": complaint})
        self.complaint = complaint

    def _run(self) -> None:
        while not self._stop.wait(self.poll_interval_s):
            try:
                self.poll()
            except Exception:
                log.exception("a look at the key file failed")


def _going_on(news: Caller, before: Caller | None) -> Caller:
    if before is None:
        return news
    limits = [one.allowance and one.allowance.limit for one in (before, news)]
    if before.name == news.name and limits[0] == limits[1]:
        return before
    if news.allowance and before.allowance:
        news.allowance.go_on_from(before.allowance)
    return news
