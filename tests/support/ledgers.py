"""A ledger that runs on a real folder, and what it wrote."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.ledger.writer import Ledger
from service.metrics import Metrics
from tests.support.serving import wait_until


def ledger_in(folder: Path, **settings: Any) -> Ledger:
    arguments: dict[str, Any] = {
        "policy": "closed", "metrics": Metrics(), "opening": {"service": "test"}, "max_file_bytes": 2**20,
        "sync_interval_s": 0.05, "timeout_s": 5.0, **settings,
    }  # fmt: skip
    return Ledger(folder, **arguments)


@contextmanager
def running(folder: Path, *, is_open: bool = True, **settings: Any) -> Iterator[Ledger]:
    ledger = ledger_in(folder, **settings)
    ledger.start()
    if is_open:
        wait_until(lambda: ledger.trouble is None, "the ledger is open")
    try:
        yield ledger
    finally:
        assert ledger.stop(patience_s=10)


def record(ledger: Ledger, count: int, *, items: int = 1) -> None:
    """So many answers at a time, each with so many lines."""

    async def all_at_once() -> None:
        answers = [[{"request_id": f"{n}", "item": i} for i in range(items)] for n in range(count)]
        await asyncio.gather(*map(ledger.record, answers))

    asyncio.run(all_at_once())


def facts_in(folder: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    return [json.loads(line) for line in lines]
