"""How much of what nobody wants a closing connection reads."""

import asyncio
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from service.api.connection.lingering import LingeringTransport, Patience


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize(("before", "after", "is_aborted"), [(60, 60, True), (60, 40, False), (0, 101, True)])
def test_what_came_before_the_close_counts(
    loop: asyncio.AbstractEventLoop, before: int, after: int, is_aborted: bool
) -> None:
    """A connection reads so much of what is no request, however much of it came while an answer was waited for."""
    raw = Mock(asyncio.Transport, **{"is_closing.return_value": False})
    transport = LingeringTransport(raw, loop, Patience(unframed_bytes=100))
    transport.is_all_read = False
    transport.throw_away(before, is_framed=False)
    transport.close()
    transport.throw_away(after, is_framed=False)
    assert raw.abort.called == is_aborted


def test_each_body_has_its_own_count(loop: asyncio.AbstractEventLoop) -> None:
    """What was read of one body that nobody wanted is not held against the next."""
    raw = Mock(asyncio.Transport, **{"is_closing.return_value": False})
    transport = LingeringTransport(raw, loop, Patience(rest_bytes=100))
    for _ in range(2):
        transport.wait_for_rest()
        transport.throw_away(80, is_framed=True)
        transport.stop_waiting()
    assert not raw.abort.called
