"""The ledger's writer, on a real folder: order, groups, files, tears, and another process that holds it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.ledger.verify import check_ledger
from service.ledger.writer import Ledger, LedgerUnavailable
from tests.support.ledgers import facts_in, ledger_in, record, running
from tests.support.serving import wait_until


@pytest.mark.parametrize("sync_interval_s", [0, 0.05])
def test_when_record_returns_the_line_is_there(tmp_path: Path, sync_interval_s: float) -> None:
    """Closed: what was awaited can be read, in the order in which it was asked, items side by side."""
    with running(tmp_path, sync_interval_s=sync_interval_s) as ledger:
        record(ledger, 40, items=3)
        answers = [line for line in facts_in(tmp_path) if "item" in line]
        assert [(line["request_id"], line["item"]) for line in answers] == [
            (f"{n}", i) for n in range(40) for i in range(3)
        ]
    assert check_ledger(tmp_path).problems == []


def test_open_writes_what_nobody_waited_for(tmp_path: Path) -> None:
    """Open: record returns at once; at the end all lines are there."""
    with running(tmp_path, policy="open") as ledger:
        record(ledger, 200)
    assert sum("item" in line for line in facts_in(tmp_path)) == 200
    assert check_ledger(tmp_path).problems == []


def test_the_chain_goes_on_through_files_and_restarts(tmp_path: Path) -> None:
    """Small files, three runs: one chain, each run begins with a line that says so."""
    for _ in range(3):
        with running(tmp_path, max_file_bytes=4096) as ledger:
            for _ in range(5):
                record(ledger, 10)
    verdict = check_ledger(tmp_path)
    assert (verdict.problems, verdict.lines) == ([], 3 * 51)
    assert verdict.files > 5
    assert [line["event"] for line in facts_in(tmp_path) if "event" in line] == ["opened"] * 3


def test_a_tear_of_the_run_before_is_kept_and_told(tmp_path: Path) -> None:
    """After a kill amid a line the ledger goes on in a new file, says how many bytes are torn, and changes nothing."""
    with running(tmp_path) as ledger:
        record(ledger, 3)
    (path,) = tmp_path.glob("*.jsonl")
    torn = path.read_bytes() + b'{"seq":5,"tim'
    path.write_bytes(torn)
    with running(tmp_path) as ledger:
        record(ledger, 3)
    assert path.read_bytes() == torn
    assert check_ledger(tmp_path).problems == []
    assert [json.loads(one.read_text().splitlines()[0])["torn_bytes"] for one in sorted(tmp_path.glob("*.jsonl"))] == [
        0,
        13,
    ]


def test_a_file_without_a_whole_line_stays(tmp_path: Path) -> None:
    """A file whose first line was not written to its end is told of and left alone; the next one has another name."""
    with running(tmp_path) as ledger:
        record(ledger, 3)
    torn = tmp_path / "ledger-000000000005.jsonl"
    torn.write_bytes(b'{"seq":5')
    with running(tmp_path) as ledger:
        record(ledger, 1)
    assert torn.read_bytes() == b'{"seq":5'
    assert (tmp_path / "ledger-000000000005-1.jsonl").exists()
    assert (ledger.damage, check_ledger(tmp_path).problems) == (None, [])


def test_it_opens_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is answered before: it does not wait for a first line, however long it would wait for others."""
    monkeypatch.setattr("service.ledger.writer._IDLE_S", 3600)
    with running(tmp_path / "ledger") as ledger:
        assert ledger.trouble is None


def test_only_one_writes(tmp_path: Path) -> None:
    """While another process has the ledger, closed refuses at once and open counts; both take over when it is free."""
    first, second, third = ledger_in(tmp_path), ledger_in(tmp_path), ledger_in(tmp_path, policy="open")
    first.start()
    wait_until(lambda: first.trouble is None, "the first one has it")
    second.start()
    third.start()
    wait_until(lambda: second.trouble == third.trouble == "another process writes it", "both know")
    with pytest.raises(LedgerUnavailable):
        record(second, 1)
    with pytest.raises(LedgerUnavailable):
        second.check()
    third.check()
    record(third, 7)
    record(first, 1)
    assert first.stop(patience_s=10)
    wait_until(lambda: second.trouble is None or third.trouble is None, "one of them goes on")
    assert second.stop(patience_s=10)
    wait_until(lambda: third.trouble is None, "the other one too")
    assert third.stop(patience_s=10)
    verdict = check_ledger(tmp_path)
    written = sum("item" in line for line in facts_in(tmp_path))
    assert (verdict.problems, verdict.lost_lines + written) == ([], 7 + 1)


def test_strangers_are_counted_together(tmp_path: Path) -> None:
    """Whoever has no key cannot fill the disk: many refusals are one line."""
    with running(tmp_path) as ledger:
        for _ in range(5000):
            ledger.count_unauthorized()
    (line,) = [line for line in facts_in(tmp_path) if line.get("event") == "refused"]
    assert line["count"] == 5000


def test_strangers_are_counted_once_while_the_count_is_written(tmp_path: Path) -> None:
    """One more comes in just while the writer's thread writes down how many came: each is told, and only once."""
    ledger = ledger_in(tmp_path)

    class Five(int):
        def __add__(self, other: int) -> int:
            ledger._turn([])  # between the reading and the writing of `+= 1`
            return 5 + other

    ledger._unauthorized = Five(5)
    ledger.count_unauthorized()
    ledger._turn([])
    ledger._file.leave()
    assert sum(line.get("count", 0) for line in facts_in(tmp_path)) == 6


@pytest.fixture
def stalled() -> Callable[[Ledger], None]:
    """Makes the writer's thread wait as if the disk did not answer, until the ledger is told to go on."""

    def stall(ledger: Ledger) -> None:
        ledger._lock.acquire()  # held by the test: the next opening waits for it

    return stall


def test_a_disk_that_does_not_answer_is_trouble(tmp_path: Path, stalled: Callable[[Ledger], None]) -> None:
    """A line that takes too long is as good as not written; that it was withdrawn is written when the disk is back."""
    ledger = ledger_in(tmp_path, timeout_s=0.2)
    stalled(ledger)
    ledger.start()
    wait_until(lambda: "the disk has not taken a line" in str(ledger.trouble), "the stall is seen")
    with pytest.raises(LedgerUnavailable):
        record(ledger, 1)
    ledger._lock.release()
    wait_until(lambda: ledger.trouble is None, "it goes on")
    record(ledger, 1)
    assert ledger.stop(patience_s=10)
    assert check_ledger(tmp_path).problems == []
