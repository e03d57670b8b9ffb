"""The line of one answer on its way into the ledger, and who waits until it is there."""

import asyncio
from contextlib import suppress

from service.ledger.file import Facts


class Entry:
    """The line of one answer on its way."""

    __slots__ = ("facts", "written")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.written: asyncio.Future[bool | None] | None = None
        """Whether it is; None where it took too long."""


def tell_written(entries: list[Entry], *, is_written: bool) -> None:
    """Let those who wait go on; one call into the event loop for all of them."""
    waited_for = [entry.written for entry in entries if entry.written is not None]

    def tell_all() -> None:
        for written in waited_for:
            tell(written, is_written)

    if waited_for:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            waited_for[0].get_loop().call_soon_threadsafe(tell_all)


def tell(written: asyncio.Future[bool | None], is_written: bool | None) -> None:  # noqa: FBT001 - a callback's
    """Let one go on, from within the event loop."""
    if not written.done():
        written.set_result(is_written)
