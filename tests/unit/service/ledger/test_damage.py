"""What a ledger's writer does with damage, and with a folder or file that is not in its place any more.

Nothing is ever deleted, and nothing is written where no name leads to.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from service.ledger.verify import check_ledger
from service.ledger.writer import LedgerUnavailable
from tests.support.ledgers import facts_in, ledger_in, record, running
from tests.support.serving import wait_until


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}


def answers(folder: Path) -> int:
    """How many lines of answers there are, where every line is one."""
    return sum("item" in line for line in facts_in(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The ledger of a run that has ended: five lines, in a folder that can be moved."""
    folder = tmp_path / "ledger"
    with running(folder) as ledger:
        record(ledger, 4)
    return folder


FIRST, NEXT = "ledger-000000000001.jsonl", "ledger-000000000006.jsonl"


@pytest.mark.parametrize(
    ("name", "tail", "line"),
    [
        (FIRST, bytes(200 * 1024), 6),
        (FIRST, bytes(3), 6),
        (FIRST, b'{"seq":6,"time":"20' + bytes(4096), 6),
        (FIRST, b"x" * 70_000, 6),
        (FIRST, b'{"seq":6,"time":"' + b"2" * 70_000, 6),
        (FIRST, bytes(5000) + b'"}\n', 6),
        (FIRST, bytes(2_000_000) + b"\n" + bytes(2_000_000), 6),
        (NEXT, bytes(70_000), 1),
        (NEXT, b"{}\n", 1),
        (NEXT, (b"\xff" * 999 + b"\n") * 1500, 1),
    ],
)
def test_damage_stays_and_is_told(folder: Path, name: str, tail: bytes, line: int) -> None:
    """What no unfinished write explains is kept as it is; lines go on in a new file, which says what it found there."""
    with (folder / name).open("ab") as file:
        file.write(tail)
    before = contents(folder)
    with running(folder) as ledger:
        record(ledger, 3)
        assert f"{name} holds {len(tail)} bytes behind line 5 of the chain" in str(ledger.damage)
    after = contents(folder)
    assert after == {**after, **before}
    verdict = check_ledger(folder)
    assert f"{name}, line {line}: " in "".join(verdict.problems)
    (new,) = set(after) - set(before)
    assert not [problem for problem in verdict.problems if new in problem or "no later line" in problem]
    with running(folder) as ledger:
        record(ledger, 1)
        assert ledger.damage is None  # of this run; verify-ledger goes on telling
    assert contents(folder) == {**contents(folder), **before}
    assert check_ledger(folder).problems == verdict.problems


def test_a_changed_last_line_stays_and_is_told(folder: Path) -> None:
    """Nothing hangs on a line that does not fit its hash: the chain goes on behind the last one that does."""
    path = folder / FIRST
    path.write_bytes(path.read_bytes().replace(b'"request_id":"3"', b'"request_id":"4"'))
    before = path.read_bytes()
    with running(folder) as ledger:
        assert "behind line 4 of the chain that are no line" in str(ledger.damage)
        record(ledger, 1)
    assert path.read_bytes() == before
    assert check_ledger(folder).problems == [f"{FIRST}, line 5: it was changed: its hash is of something else"]


def test_what_was_torn_must_stay_as_it_was(folder: Path) -> None:
    """The line after a crash has the digest of what was torn: changing or removing that is found out."""
    path = folder / FIRST
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq":6,"time":"2026')
    with running(folder) as ledger:
        record(ledger, 1)
        assert ledger.damage is None
    assert check_ledger(folder).problems == []
    path.write_bytes(whole + b'{"seq":6,"time":"2025')
    assert check_ledger(folder).problems == [f"{FIRST}, line 6: it ends amid a line, and no later line says why"]
    path.write_bytes(whole)
    assert check_ledger(folder).problems == [
        f"{NEXT}, line 1: it says that 21 bytes before it were torn, and they are not there"
    ]


def test_a_start_that_fails_again_and_again_makes_one_file(folder: Path) -> None:
    """A disk that takes no line leaves one empty file, not one for each try."""
    with (folder / FIRST).open("ab") as file:
        file.write(b'{"seq":6')
    for _ in range(3):
        ledger = ledger_in(folder)
        ledger._file.open()
        ledger._file.leave()
    assert set(contents(folder)) == {FIRST, NEXT}
    with running(folder) as ledger:
        record(ledger, 1)
    assert check_ledger(folder).problems == []


def move_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def replace_folder(folder: Path) -> None:
    move_folder(folder)
    folder.mkdir()
    (folder / FIRST).symlink_to(folder.with_name("elsewhere") / FIRST)  # the same file, in a folder that nobody locked


def move_file(folder: Path) -> None:
    (folder / FIRST).rename(folder / "moved")


def remove_file(folder: Path) -> None:
    (folder / FIRST).unlink()


def copy_file(folder: Path) -> None:
    content = (folder / FIRST).read_bytes()
    (folder / FIRST).unlink()
    (folder / FIRST).write_bytes(content)


def cut_file(folder: Path) -> None:
    lines = (folder / FIRST).read_bytes().splitlines(keepends=True)
    (folder / FIRST).write_bytes(b"".join(lines[:-1]))


def add_to_file(folder: Path) -> None:
    with (folder / FIRST).open("ab") as file:
        file.write(b"\n")


@pytest.mark.parametrize(
    "harm",
    [move_folder, remove_folder, replace_folder, move_file, remove_file, copy_file, cut_file, add_to_file],
)
def test_closed_answers_nothing_from_another_place(folder: Path, harm: Callable[[Path], None]) -> None:
    """Where name and open file part, the next answer does not leave, and its line is written nowhere."""
    with running(folder) as ledger:
        record(ledger, 1)
        harm(folder)
        with pytest.raises(LedgerUnavailable):
            record(ledger, 1)
    everywhere = folder.parent.rglob("*")
    lines = sum(path.read_bytes().count(b'"item"') for path in everywhere if path.is_file() and not path.is_symlink())
    assert lines <= 4 + 1


@pytest.mark.slow
def test_a_folder_that_is_gone_is_missed_while_nobody_asks(folder: Path) -> None:
    """Without a request, too: within seconds the ledger knows, and it does not make the folder anew."""
    with running(folder) as ledger:
        remove_folder(folder)
        wait_until(lambda: ledger.trouble, "it is missed")
        wait_until(lambda: ledger.trouble == "No such file or directory", "it was tried again")
        assert not folder.exists()


def test_a_folder_that_comes_back_goes_on(folder: Path) -> None:
    """The chain is whole, and nothing else is told of it."""
    with running(folder) as ledger:
        record(ledger, 1)
        move_folder(folder)
        wait_until(lambda: ledger.trouble, "it is missed")
        folder.with_name("elsewhere").rename(folder)
        wait_until(lambda: ledger.trouble is None, "it is back")
        record(ledger, 1)
        assert ledger.damage is None
    assert (check_ledger(folder).problems, answers(folder)) == ([], 4 + 2)


def test_a_new_folder_goes_on_where_the_old_one_ended(folder: Path) -> None:
    """Its first line hangs on the last one of the old folder: alone it is a part, together they are one chain."""
    with running(folder) as ledger:
        record(ledger, 1)
        move_folder(folder)
        wait_until(lambda: ledger.trouble, "it is missed")
        folder.mkdir()
        wait_until(lambda: ledger.trouble is None, "it goes on")
        record(ledger, 1)
        assert "line 7 of the chain, the last that was written, is not" in str(ledger.damage)
    assert check_ledger(folder).problems == [f"ledger-{8:012d}.jsonl, line 1: it is line 8 of the chain, expected 1"]
    assert check_ledger(folder, is_part=True).problems == []
    for path in folder.glob("*.jsonl"):
        path.rename(folder.with_name("elsewhere") / path.name)
    assert check_ledger(folder.with_name("elsewhere")).problems == []


@pytest.mark.parametrize("harm", [remove_file, cut_file])
def test_lines_that_are_gone_are_missed_in_the_chain(folder: Path, harm: Callable[[Path], None]) -> None:
    """The writer knows what it wrote: what follows hangs on it, so that even the last lines are missed."""
    with running(folder) as ledger:
        record(ledger, 1)
        harm(folder)
        wait_until(lambda: ledger.damage, "it is told")
        wait_until(lambda: ledger.trouble is None, "it goes on")
        record(ledger, 1)
    assert "it is line 8 of the chain, expected " in check_ledger(folder).problems[0]


def test_a_second_process_stays_out_where_the_lock_file_is_gone(folder: Path) -> None:
    """The folder itself is locked: a file in it can be removed by anybody who may write there."""
    with running(folder) as first:
        (folder / "lock").unlink()
        with running(folder, is_open=False) as second:
            wait_until(lambda: second.trouble == "another process writes it", "it knows")
            record(first, 1)
    assert check_ledger(folder).problems == []


@pytest.mark.slow
def test_who_lost_the_folder_stays_out_of_the_next_ones(folder: Path) -> None:
    """A folder that another process made meanwhile is that process's."""
    with running(folder) as first:
        move_folder(folder)
        wait_until(lambda: first.trouble, "it is missed")
        with running(folder) as second:
            wait_until(lambda: first.trouble == "another process writes it", "it knows")
            record(second, 1)
            with pytest.raises(LedgerUnavailable):
                record(first, 1)
    assert answers(folder) == 1
