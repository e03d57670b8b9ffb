"""A picture for display is written for a caller that still waits, and for nobody else."""

import asyncio
import threading
from typing import Any

import pytest

from service.api.render import Renderer
from shared.window import LUNG_WINDOW


class Grey:
    """Stands in for pixels, and tells whether somebody wrote them."""

    size = 1

    def __init__(self) -> None:
        self.was_written = False

    @property
    def shape(self) -> tuple[int, int]:
        self.was_written = True
        return 1, 1


class Decoder:
    """Decodes for as long as it is told to."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.grey, self.frames, self.window = Grey(), 1, None

    def read_header(self, *_: Any) -> None:
        """Nothing is known of it."""

    def decode(self, *_: Any, **__: Any) -> "Decoder":
        self.begun.set()
        assert self.may_end.wait(20)
        return self


def test_a_caller_that_left_is_drawn_nothing() -> None:
    """Reading a large picture cannot be cut short, but writing it takes longer, and is left out."""

    async def story() -> bool:
        decoder = Decoder()
        renderer = Renderer(decoder)  # type: ignore[arg-type]
        asked = asyncio.create_task(renderer.render(b"", LUNG_WINDOW, None, None, None))
        await asyncio.to_thread(decoder.begun.wait, 20)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        decoder.may_end.set()
        await asyncio.to_thread(renderer._pool._threads.shutdown)
        return decoder.grey.was_written

    assert not asyncio.run(story())
