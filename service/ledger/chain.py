"""The lines of a ledger: what one looks like, how it hangs on the one before, in which file it lies.

    {"seq":7,"time":"2026-11-24T08:15:02.120Z",…,"prev":"<hash of line 6>","hash":"<SHA-256 of this line up to here>"}

The hash covers the bytes of the line up to `,"hash":`, so that nothing depends on how JSON is written. `prev` is among
them: a line that is changed, removed or moved no longer fits its neighbours, and rotation does not end the chain.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST_LINE = 64 * 1024
"""Bytes of a line with its line end, at most; what is longer was not written by a ledger."""

_FILE = re.compile(r"ledger-([0-9]{12})(?:-([1-9][0-9]{0,5}))?\.jsonl")
_ANCHOR = re.compile(r"([1-9][0-9]{0,14}):([0-9a-f]{64})")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9TZ:.+-]{1,40}")
_TAIL = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_TAIL_BYTES = len(b',"hash":""}') + 64
_LINE_END = b'"}\n'
_BLOCK = 1024 * 1024
_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps() would make an encoder for each line


class BrokenLine(ValueError):
    """Not a line of a ledger, or one that was changed; str() says what is wrong."""


@dataclass(frozen=True)
class Link:
    """The place of one line in the chain; str() is the anchor that `verify-ledger --anchor` takes."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, anchor: str) -> "Link":
        """From SEQ:HASH. Raises ValueError."""
        found = _ANCHOR.fullmatch(anchor)
        if found is None:
            raise ValueError(f"expected SEQ:HASH, as the log's `ledger anchor` lines have it, got {anchor[:100]!r}")
        return cls(int(found[1]), found[2])


START = Link(0, "0" * 64)
"""What the very first line hangs on."""


def write_line(before: Link, facts: Mapping[str, Any]) -> tuple[bytes, Link]:
    """The next line, with its line end, and its link."""
    body = _encode({"seq": before.seq + 1, **facts, "prev": before.hash})[:-1].encode()
    digest = hashlib.sha256(body).hexdigest()
    return b'%b,"hash":"%b"}\n' % (body, digest.encode()), Link(before.seq + 1, digest)


def read_line(line: bytes) -> tuple[dict[str, Any], Link]:
    """The facts and the link of a line without its line end. Raises BrokenLine, whatever the bytes are.

    Of the facts, `seq`, `prev`, `time`, `lost_lines` and `torn_bytes` are what a ledger writes, or are not there.
    """
    body, tail = line[:-_TAIL_BYTES], _TAIL.fullmatch(line[-_TAIL_BYTES:])
    if tail is None:
        raise BrokenLine("it is not whole")
    if hashlib.sha256(body).hexdigest().encode() != tail[1]:
        raise BrokenLine("it was changed: its hash is of something else")
    try:
        facts = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise BrokenLine("it is no line of a ledger") from error
    if not (
        isinstance(facts, dict)
        and _is_count(facts.get("seq"), least=1)
        and all(_is_count(facts.get(name, 0)) for name in ("lost_lines", "torn_bytes"))
        and _is_text(_DIGEST, facts.get("prev"))
        and _is_text(_TIME, facts.get("time", "0"))
    ):
        raise BrokenLine("it is no line of a ledger")
    return facts, Link(facts["seq"], tail[1].decode())


def _is_count(value: object, least: int = 0) -> bool:
    return type(value) is int and least <= value < 2**63


def _is_text(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def is_begun(tail: bytes, before: Link) -> bool:
    """Whether a write of the next line that was not ended may have left this: lines are printable ASCII.

    A loss of power leaves other things too, zeros above all.
    """
    start = b'{"seq":%d,' % (before.seq + 1)
    is_next = tail[: len(start)] == start[: len(tail)]
    return is_next and len(tail) < LONGEST_LINE and tail.isascii() and tail.decode("ascii").isprintable()


def ledger_files(folder: Path) -> list[Path]:
    """The files of a ledger, oldest first. Raises OSError."""
    files = [path for path in folder.iterdir() if _FILE.fullmatch(path.name)]
    for path in files:
        if not path.is_file():
            raise OSError(errno.EINVAL, f"{path.name} is no file")
    return sorted(files, key=_place)


def _place(path: Path) -> tuple[int, int]:
    named = _FILE.fullmatch(path.name)
    return (int(named[1]), int(named[2] or 0)) if named else (0, 0)


def first_seq_of(path: Path) -> int:
    """The number that a file's name says its first line has."""
    return _place(path)[0]


def file_for(folder: Path, first_seq: int, again: int = 0) -> Path:
    """The file whose first line has that number. again: where others are there that hold no whole line."""
    return folder / f"ledger-{first_seq:012d}{f'-{again}' if again else ''}.jsonl"


def new_file_for(folder: Path, first_seq: int) -> Path:
    """A name that is free and stands behind all that are there. Raises OSError."""
    seq, again = max(map(_place, ledger_files(folder)), default=(0, 0))
    return file_for(folder, first_seq) if seq < first_seq else file_for(folder, seq, again + 1)


class Leftover:
    """Bytes behind the last sound line, in one file or several: counted and digested."""

    def __init__(self) -> None:
        self.bytes = 0
        self._hash = hashlib.sha256()
        self._name = ""

    def add(self, path: Path, content: bytes) -> None:
        """Content in the order in which it lies in the files."""
        if self._name != path.name:
            self._name = path.name
            self._hash.update(f"{path.name}\n".encode())
        self.bytes += len(content)
        self._hash.update(content)

    @property
    def digest(self) -> str:
        """SHA-256 of the names of its files, each with a line end, and what stands in them."""
        return self._hash.hexdigest()


@dataclass(frozen=True)
class End:
    """Where a ledger ends: the last line that fits its own hash, and what lies behind it."""

    link: Link
    path: Path | None
    """The newest file, where the next line may stand in it; None where it needs a new one."""
    size: int
    """Bytes of that file."""
    torn_bytes: int
    """Of a line that was not written to its end, or of what else lies there."""
    torn_sha256: str
    damage: str | None
    """What lies there, where no write that was not ended explains it; or which lines are not there any more."""

    @property
    def findings(self) -> dict[str, Any]:
        """What the next line says of it, which `verify-ledger` holds against what is there."""
        found: dict[str, Any] = {"torn_bytes": self.torn_bytes}
        if self.torn_bytes:
            found["torn_sha256"] = self.torn_sha256
        if self.damage:
            found["damage"] = self.damage
        return found


def find_end(folder: Path, known: Link = START) -> End:
    """Where the chain goes on: behind the last line, or behind `known` where the folder does not reach so far any more.

    So lines that were written and are gone are missed by whoever follows the chain. Nothing is changed. Raises OSError.
    """
    files = ledger_files(folder)
    link, at, behind = START, 0, files
    for number, path in reversed(list(enumerate(files))):
        found, end = _last_sound_line(path)
        if found is not None:
            link, at, behind = found, end, files[number:]
            break
    leftover, damage, size = Leftover(), None, 0
    for path in behind:
        with path.open("rb") as file:
            file.seek(at)
            start = content = file.read(LONGEST_LINE)
            while content:
                leftover.add(path, content)
                content = file.read(_BLOCK)
            size = file.tell()
        if size > at and not is_begun(start, link):
            damage = f"{path.name} holds {size - at} bytes behind line {link.seq} of the chain that are no line"
        at = 0
    goes_on = len(behind) == 1 and link != START and not leftover.bytes
    if known not in (START, link):
        damage = f"line {known.seq} of the chain, the last that was written, is not the last one in the folder"
    if known.seq > link.seq:
        link, goes_on = known, False
    is_unused = size == 0 and files != [] and first_seq_of(files[-1]) == link.seq + 1
    return End(
        link=link,
        path=files[-1] if goes_on or is_unused else None,
        size=size,
        torn_bytes=leftover.bytes,
        torn_sha256=leftover.digest,
        damage=damage,
    )


def _last_sound_line(path: Path) -> tuple[Link | None, int]:
    """Link and end of the last line that fits its hash, searched from the file's end; (None, 0) where there is none."""
    with path.open("rb") as file:
        start, rest = file.seek(0, os.SEEK_END), b""
        while start > 0:
            stop, start = start, max(0, start - _BLOCK)
            file.seek(start)
            content = file.read(stop - start) + rest
            end = content.rfind(_LINE_END)
            while end >= 0:
                begin, behind = content.rfind(b"\n", 0, end) + 1, end + len(_LINE_END)
                if begin == 0 and start > 0:  # it begins in the block before
                    break
                try:
                    return read_line(content[begin : behind - 1])[1], start + behind
                except BrokenLine:
                    end = content.rfind(_LINE_END, 0, begin)
            is_possible = 0 <= end < LONGEST_LINE
            rest = content[: (end if is_possible else 0) + len(_LINE_END)]  # a line's end may lie across blocks, too
    return None, 0
