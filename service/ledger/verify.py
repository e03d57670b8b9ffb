"""Reads a ledger from end to end and says what was changed, removed or moved, whatever the bytes in it are.

What the chain alone cannot show: that its end was cut off, or that somebody who could write the folder wrote all of it
anew from some line on. For that an anchor is needed, the number and hash of a line, kept where that somebody could not
reach: the service logs one a minute (`ledger anchor`).
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from service.ledger.chain import (
    LONGEST_LINE,
    START,
    BrokenLine,
    Leftover,
    Link,
    first_seq_of,
    is_begun,
    ledger_files,
    read_line,
)

_MOST_TOLD = 100


class NoLedger(ValueError):
    """There is nothing that could be whole or not."""


@dataclass
class Verdict:
    """What a check found."""

    lines: int = 0
    files: int = 0
    first: int = 0
    last: Link = START
    began: str = ""
    """Time of the first line."""
    ended: str = ""
    lost_lines: int = 0
    """Answers that, by the ledger's own account, have no line (policy open)."""
    problems: list[str] = field(default_factory=list)
    """Each with file and line, the first hundred; empty where the chain is whole."""
    problem_count: int = 0

    def tell(self, problem: str) -> None:
        """Add a problem."""
        self.problem_count += 1
        if self.problem_count <= _MOST_TOLD:
            self.problems.append(problem)

    def as_text(self) -> str:
        """For people; the last line is the verdict."""
        told = [f"{self.lines} lines in {self.files} files, {self.began or 'no time'} to {self.ended or 'no time'}"]
        if self.lost_lines:
            told.append(
                f"{self.lost_lines} answers have no line: the ledger could not be written, and its policy is open"
            )
        told += self.problems
        if self.problem_count:
            told.append(f"The chain is not whole. Problems: {self.problem_count}")
        else:
            told.append(f"The chain is whole from line {self.first} to anchor {self.last}")
        return "\n".join(told) + "\n"

    def as_json(self) -> str:
        """For programs."""
        facts = {**asdict(self), "is_whole": not self.problems, "last": str(self.last)}
        return json.dumps(facts, indent=2) + "\n"


def check_ledger(folder: Path, anchors: Iterable[Link] = (), *, is_part: bool = False) -> Verdict:
    """Follow the chain through all files. is_part: older files were moved away, so it may begin anywhere.

    Raises NoLedger where there is no line and nothing that was one, OSError where folder or file cannot be read.
    """
    files = ledger_files(folder)
    check = _Check(anchors, is_part=is_part)
    for path in files:
        check.follow(path)
    verdict = check.end()
    if not files or not (verdict.lines or verdict.problems):
        raise NoLedger(f"{str(folder)!r} holds no ledger: there is nothing to verify")
    return verdict


class _Check:
    """Goes from line to line."""

    def __init__(self, anchors: Iterable[Link], *, is_part: bool) -> None:
        self.verdict = Verdict()
        self._is_part = is_part
        self._before: Link | None = None if is_part else START
        """What the next line must hang on; None where that cannot be known."""
        self._anchors: dict[int, set[str]] = {}
        for anchor in anchors:
            self._anchors.setdefault(anchor.seq, set()).add(anchor.hash)
        self._leftover = Leftover()
        """What stands behind the last line that fits its hash."""
        self._torn = ""
        """Where a file ended amid a line since."""

    def follow(self, path: Path) -> None:
        """All lines of one file."""
        self.verdict.files += 1
        number, begun, start = 1, 0, b""
        with path.open("rb") as file:
            while content := file.readline(LONGEST_LINE):
                is_end = content.endswith(b"\n")
                if is_end and not begun:
                    self._line(path, number, content)
                else:
                    self._leftover.add(path, content)
                    start = start if begun else content
                    begun += len(content)
                    if is_end:
                        self._broken(f"{path.name}, line {number}", "it is longer than any line of a ledger")
                if is_end:
                    number, begun = number + 1, 0
        if begun:
            self._torn = f"{path.name}, line {number}"
            if self._before is not None and not (begun == len(start) and is_begun(start, self._before)):
                line = f"line {self._before.seq + 1} of the chain"
                self.verdict.tell(f"{self._torn}: its {begun} bytes are no beginning of {line}; it has no line end")

    def end(self) -> Verdict:
        """What was found."""
        if self._torn:
            self.verdict.tell(
                f"{self._torn}: the ledger ends amid a line: it is being written just now, or was cut off"
            )
        for seq in self._anchors:
            why = "the end was cut off" if seq > self.verdict.first else "it was moved away or removed"
            self.verdict.tell(f"line {seq} of the chain, an anchor's, is not there: {why}")
        return self.verdict

    def _broken(self, where: str, why: str) -> None:
        self.verdict.lines += 1
        self.verdict.tell(f"{where}: {why}")
        self._before = None

    def _line(self, path: Path, number: int, content: bytes) -> None:
        where, tell = f"{path.name}, line {number}", self.verdict.tell
        try:
            facts, link = read_line(content[:-1])
        except BrokenLine as error:
            self._leftover.add(path, content)
            self._broken(where, str(error))
            return
        self._hold_against_leftover(where, facts)
        if self._before is not None and link.seq != self._before.seq + 1:
            tell(f"{where}: it is line {link.seq} of the chain, expected {self._before.seq + 1}")
        elif self._before is not None and facts["prev"] != self._before.hash:
            tell(f"{where}: it does not hang on the line {self._before.seq} that is there")
        if number == 1 and link.seq != first_seq_of(path):
            tell(f"{where}: by the file's name it should be line {first_seq_of(path)} of the chain")
        if self._anchors.pop(link.seq, {link.hash}) != {link.hash}:
            tell(f"{where}: line {link.seq} of the chain is another one than the anchor's")
        self._count(facts, link)
        self._before = link

    def _hold_against_leftover(self, where: str, facts: dict[str, Any]) -> None:
        """What a line says was torn before it, and what is there, are the same; older ledgers give no digest."""
        told, there = facts.get("torn_bytes", 0), self._leftover
        is_same = told == there.bytes and (not told or facts.get("torn_sha256", there.digest) == there.digest)
        is_moved_away = self._is_part and not self.verdict.first and not there.bytes
        if self._torn and not is_same:
            self.verdict.tell(f"{self._torn}: it ends amid a line, and no later line says why")
        elif told and not is_same and not is_moved_away:
            self.verdict.tell(f"{where}: it says that {told} bytes before it were torn, and they are not there")
        self._leftover, self._torn = Leftover(), ""

    def _count(self, facts: dict[str, Any], link: Link) -> None:
        verdict, time = self.verdict, facts.get("time", "")
        if not verdict.first:
            verdict.first, verdict.began = link.seq, time
        verdict.lines += 1
        verdict.last, verdict.ended = link, time
        verdict.lost_lines += facts.get("lost_lines", 0)
