"""A ledger in which something was changed, removed or moved is found out, wherever it was."""

import json
from pathlib import Path

import pytest

from service.ledger.chain import START, BrokenLine, Link, file_for, find_end, read_line, write_line
from service.ledger.verify import check_ledger

LINES, PER_FILE = 12, 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve lines in three files."""
    link = START
    for seq in range(1, LINES + 1):
        line, link = write_line(link, {"time": f"2026-01-01T00:00:{seq:02d}Z", "outcome": f"Schnitt {seq} ü"})
        path = file_for(tmp_path, seq - (seq - 1) % PER_FILE)
        path.write_bytes((path.read_bytes() if path.exists() else b"") + line)
    return tmp_path


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def change(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(b"".join(lines))


def test_a_whole_ledger_is_whole(folder: Path) -> None:
    """Through all files, with the anchor of its last line."""
    verdict = check_ledger(folder)
    assert (verdict.lines, verdict.files, verdict.first, verdict.last.seq, verdict.problems) == (12, 3, 1, 12, [])
    assert check_ledger(folder, [verdict.last, Link.parse(str(verdict.last))]).problems == []
    assert find_end(folder).link == verdict.last


@pytest.mark.parametrize("number", range(LINES))
def test_any_changed_line_is_found(folder: Path, number: int) -> None:
    """One byte, in any line."""
    path = files(folder)[number // PER_FILE]
    path.write_bytes(path.read_bytes().replace(b"Schnitt %d " % (number + 1), b"Schnitt %d_" % (number + 1)))
    (problem,) = check_ledger(folder).problems
    assert problem.startswith(f"{path.name}, line {number % PER_FILE + 1}: it was changed")


@pytest.mark.parametrize("number", range(LINES - 1))
def test_any_changed_line_with_a_new_hash_is_found(folder: Path, number: int) -> None:
    """Who changes a line and computes its hash anew is told by the line after."""
    path = files(folder)[number // PER_FILE]
    lines = path.read_bytes().splitlines(keepends=True)
    facts, _ = read_line(lines[number % PER_FILE].rstrip(b"\n"))
    seq, prev = facts.pop("seq"), facts.pop("prev")
    facts.pop("hash")
    lines[number % PER_FILE], _ = write_line(Link(seq - 1, prev), {**facts, "outcome": "another"})
    change(path, lines)
    (problem,) = check_ledger(folder).problems
    assert f"does not hang on the line {seq} " in problem


@pytest.mark.parametrize("number", range(LINES - 1))
def test_any_removed_line_is_found(folder: Path, number: int) -> None:
    """First of a file, last of one, or between; only behind the last line nothing follows that could tell."""
    path = files(folder)[number // PER_FILE]
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number % PER_FILE]
    change(path, lines)
    assert any(f"expected {number + 1}" in problem for problem in check_ledger(folder).problems)


@pytest.mark.parametrize("number", range(LINES - 1))
def test_any_reordered_lines_are_found(folder: Path, number: int) -> None:
    """Two neighbours that changed places, also across files."""
    paths = [files(folder)[one // PER_FILE] for one in (number, number + 1)]
    lines = {path: path.read_bytes().splitlines(keepends=True) for path in paths}
    at = [(path, one % PER_FILE) for path, one in zip(paths, (number, number + 1), strict=True)]
    first, second = (lines[path][index] for path, index in at)
    lines[at[0][0]][at[0][1]], lines[at[1][0]][at[1][1]] = second, first
    for path, content in lines.items():
        change(path, content)
    assert check_ledger(folder).problems


def test_a_removed_file_is_found(folder: Path) -> None:
    """In the middle by its neighbours, at the beginning by what should be first; unless one says that it was moved."""
    files(folder)[1].unlink()
    assert any("it is line 11 of the chain, expected 6" in problem for problem in check_ledger(folder).problems)
    files(folder)[0].unlink()
    assert any("it is line 11 of the chain, expected 1" in problem for problem in check_ledger(folder).problems)
    assert check_ledger(folder, is_part=True).problems == []


def test_a_cut_end_needs_an_anchor(folder: Path) -> None:
    """What the chain cannot show, an anchor does: lines at the end are gone, or all of them were written anew."""
    anchor = check_ledger(folder).last
    last = files(folder)[-1]
    lines = last.read_bytes().splitlines(keepends=True)
    change(last, lines[:-1])
    assert check_ledger(folder).problems == []
    assert check_ledger(folder, [anchor]).problems == [
        "line 12 of the chain, an anchor's, is not there: the end was cut off"
    ]
    forged, _ = write_line(read_line(lines[-2].rstrip(b"\n"))[1], {"outcome": "forged"})
    change(last, [*lines[:-1], forged])
    assert check_ledger(folder).problems == []
    assert "another one than the anchor's" in check_ledger(folder, [anchor]).problems[0]


def test_a_tear_must_be_told(folder: Path) -> None:
    """Half a line at the end of a file is known of where the next file's first line tells of just those bytes."""
    last = files(folder)[-1]
    last.write_bytes(last.read_bytes() + b'{"seq":13,"ti')
    assert "ends amid a line" in check_ledger(folder).problems[0]
    end = find_end(folder)
    assert (end.link.seq, end.torn_bytes) == (12, 13)
    line, _ = write_line(end.link, {"event": "opened", "torn_bytes": 13})
    file_for(folder, 13).write_bytes(line)
    assert check_ledger(folder).problems == []
    line, _ = write_line(end.link, {"event": "opened", "torn_bytes": 0})
    file_for(folder, 13).write_bytes(line)
    assert "no later line says why" in check_ledger(folder).problems[0]


def test_nothing_is_hung_on_a_damaged_line(folder: Path) -> None:
    """Where the last whole line does not fit its hash, the ledger goes on behind the one before, and tells why."""
    last = files(folder)[-1]
    last.write_bytes(last.read_bytes().replace(b"Schnitt 12", b"Schnitt 99"))
    end = find_end(folder)
    assert (end.link.seq, end.path) == (11, None)
    assert f"{last.name} holds {end.torn_bytes} bytes behind line 11 of the chain that are no line" == end.damage


@pytest.mark.parametrize("line", [b"", b"{}", b"x" * 200, b"\xff" * 100, json.dumps({"hash": "0" * 64}).encode()])
def test_what_is_no_line_is_no_line(line: bytes) -> None:
    """Anything may stand in a file."""
    with pytest.raises(BrokenLine):
        read_line(line)


@pytest.mark.parametrize("text", ["", "5", "5:", ":" + "0" * 64, "x:" + "0" * 64, "5:" + "0" * 63])
def test_an_anchor_is_number_and_hash(text: str) -> None:
    """Anything else is told."""
    with pytest.raises(ValueError, match="SEQ:HASH"):
        Link.parse(text)
