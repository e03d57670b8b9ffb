"""The lines of a ledger: what one looks like, how it hangs on the one before, in which file it lies.

    {"seq":7,"time":"2026-11-24T08:15:02.120Z",…,"prev":"<hash of line 6>","hash":"<SHA-256 of this line up to here>"}

The hash covers the bytes of the line up to `,"hash":`, so that nothing depends on how JSON is written. `prev` is among
them: a line that is changed, removed or moved no longer fits its neighbours, and rotation does not end the chain.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIRST_PREVIOUS = "0" * 64
"""What the very first line hangs on."""

_FILE = re.compile(r"ledger-(\d{12})\.jsonl")
_TAIL = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_TAIL_BYTES = len(b',"hash":""}') + 64
_LONGEST_LINE = 64 * 1024
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
        seq, _, digest = anchor.partition(":")
        if not seq.isdecimal() or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError(f"expected SEQ:HASH, as the log's `ledger anchor` lines have it, got {anchor!r}")
        return cls(int(seq), digest)


START = Link(0, FIRST_PREVIOUS)


def write_line(before: Link, facts: Mapping[str, Any]) -> tuple[bytes, Link]:
    """The next line, with its line end, and its link."""
    body = _encode({"seq": before.seq + 1, **facts, "prev": before.hash})[:-1].encode()
    digest = hashlib.sha256(body).hexdigest()
    return b'%b,"hash":"%b"}\n' % (body, digest.encode()), Link(before.seq + 1, digest)


def read_line(line: bytes) -> tuple[dict[str, Any], Link]:
    """The facts and the link of a line without its line end. Raises BrokenLine where its own hash does not fit."""
    body, tail = line[:-_TAIL_BYTES], _TAIL.fullmatch(line[-_TAIL_BYTES:])
    if tail is None:
        raise BrokenLine("it is not whole")
    if hashlib.sha256(body).hexdigest().encode() != tail[1]:
        raise BrokenLine("it was changed: its hash is of something else")
    try:
        facts = json.loads(line)
        link = Link(int(facts["seq"]), str(facts["hash"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenLine("it is no line of a ledger") from error
    return facts, link


def ledger_files(folder: Path) -> list[Path]:
    """The files of a ledger, oldest first. Raises OSError."""
    return sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name))


def file_for(folder: Path, first_seq: int) -> Path:
    """The file whose first line has that number."""
    return folder / f"ledger-{first_seq:012d}.jsonl"


def first_seq_of(path: Path) -> int:
    """The number that a file's name says its first line has."""
    named = _FILE.fullmatch(path.name)
    return int(named[1]) if named else 0


@dataclass(frozen=True)
class End:
    """Where a ledger ends: the last whole line, its file (None in an empty folder), and what lies behind it."""

    link: Link
    path: Path | None
    size: int
    """Bytes of the file."""
    torn_bytes: int
    """Of a line that was not written to its end: the process or the disk ended amid it."""


def find_end(folder: Path) -> End:
    """Where the chain goes on. Files without a whole line are passed over: they hold nothing.

    Raises OSError, or BrokenLine where the last whole line is damaged: nothing must be hung on it.
    """
    for path in reversed(ledger_files(folder)):
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 2 * _LONGEST_LINE))
            whole, found, torn = file.read().rpartition(b"\n")
        if found:
            try:
                link = read_line(whole.rpartition(b"\n")[2])[1]
            except BrokenLine as error:
                raise BrokenLine(f"the last line of {path.name} is damaged: {error}") from error
            return End(link, path, size, len(torn))
    return End(START, None, 0, 0)
