"""Reads a ledger from end to end and says what was changed, removed or moved.

What the chain alone cannot show: that its end was cut off, or that somebody who could write the folder wrote all of it
anew from some line on. For that an anchor is needed, the number and hash of a line, kept where that somebody could not
reach: the service logs one a minute (`ledger anchor`).
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from service.ledger_chain import START, BrokenLine, Link, first_seq_of, ledger_files, read_line


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
    """Each with file and line; empty where the chain is whole."""

    def as_text(self) -> str:
        """For people."""
        told = [f"{self.lines} lines in {self.files} files, {self.began or 'no time'} to {self.ended or 'no time'}"]
        if self.lost_lines:
            told.append(
                f"{self.lost_lines} answers have no line: the ledger could not be written, and its policy is open"
            )
        told += self.problems or [f"The chain is whole from line {self.first} to anchor {self.last}"]
        return "\n".join(told) + "\n"

    def as_json(self) -> str:
        """For programs."""
        facts = {**asdict(self), "is_whole": not self.problems, "last": str(self.last)}
        return json.dumps(facts, indent=2) + "\n"


def check_ledger(folder: Path, anchors: Iterable[Link] = (), *, is_part: bool = False) -> Verdict:
    """Follow the chain through all files. is_part: older files were moved away, so it may begin anywhere.

    Raises OSError where the folder or a file cannot be read.
    """
    check = _Check(None if is_part else START, {anchor.seq: anchor.hash for anchor in anchors})
    for path in ledger_files(folder):
        check.verdict.files += 1
        for number, (line, is_whole) in enumerate(_lines(path), start=1):
            check.follow(path, number, line, is_whole=is_whole)
    return check.end()


class _Check:
    """Goes from line to line."""

    def __init__(self, before: Link | None, anchors: dict[int, str]) -> None:
        self.verdict = Verdict()
        self._before = before
        """What the next line must hang on; None where that cannot be known."""
        self._anchors = anchors
        self._torn: tuple[str, int] | None = None
        """Where the last file ended amid a line, and bytes of that line."""

    def follow(self, path: Path, number: int, line: bytes, *, is_whole: bool) -> None:
        where = f"{path.name}, line {number}"
        if not is_whole:
            self._torn = (where, len(line))
            return
        self.verdict.lines += 1
        try:
            facts, link = read_line(line)
        except BrokenLine as error:
            self._before = None
            self._tell(f"{where}: {error}")
            return
        if self._torn is not None and not (number == 1 and facts.get("torn_bytes") == self._torn[1]):
            self._tell(f"{self._torn[0]}: it ends amid a line, and no later line says why")
        self._torn = None
        if self._before is not None and link.seq != self._before.seq + 1:
            self._tell(f"{where}: it is line {link.seq} of the chain, expected {self._before.seq + 1}")
        elif self._before is not None and facts.get("prev") != self._before.hash:
            self._tell(f"{where}: it does not hang on the line {self._before.seq} that is there")
        if number == 1 and link.seq != first_seq_of(path):
            self._tell(f"{where}: by the file's name it should be line {first_seq_of(path)} of the chain")
        known = self._anchors.pop(link.seq, link.hash)
        if known != link.hash:
            self._tell(f"{where}: line {link.seq} of the chain is another one than the anchor's")
        self._count(facts, link)
        self._before = link

    def end(self) -> Verdict:
        if self._torn is not None:
            self._tell(f"{self._torn[0]}: the ledger ends amid a line: it is being written just now, or was cut off")
        for seq in self._anchors:
            self._tell(f"line {seq} of the chain, an anchor's, is not there: the end was cut off")
        return self.verdict

    def _tell(self, problem: str) -> None:
        self.verdict.problems.append(problem)

    def _count(self, facts: dict[str, Any], link: Link) -> None:
        verdict, time = self.verdict, str(facts.get("time", ""))
        if not verdict.first:
            verdict.first, verdict.began = link.seq, time
        verdict.last, verdict.ended = link, time
        verdict.lost_lines += int(facts.get("lost_lines", 0))


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Each line without its end, and whether it had one."""
    with path.open("rb") as file:
        for line in file:
            yield line.removesuffix(b"\n"), line.endswith(b"\n")
