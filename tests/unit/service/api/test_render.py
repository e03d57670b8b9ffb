"""A picture for display is drawn for a caller that still waits, and large ones one after the other."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from service.api.render import Renderer
from shared.window import LUNG_WINDOW
from tests.support.serving import wait_until

LARGE = 4096 * 4096


class Grey:
    """Stands in for pixels, and tells how many were being written at a time."""

    writing = most_at_a_time = 0
    size = 1

    def __init__(self, may_end: threading.Event | None = None) -> None:
        self.was_written, self._may_end = False, may_end

    @property
    def shape(self) -> tuple[int, int]:
        """What the encoder asks first."""
        self.was_written = True
        Grey.writing += 1
        Grey.most_at_a_time = max(Grey.most_at_a_time, Grey.writing)
        if self._may_end:
            assert self._may_end.wait(20)
        Grey.writing -= 1
        raise ValueError("no pixels")


class Decoder:
    """Decodes for as long as it is told to. pixels: what headers say; None knows no header, as of DICOM."""

    def __init__(self, pixels: int | None = None) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.grey, self.frames, self.window, self.decoded = Grey(), 1, None, 0
        self._header = None if pixels is None else SimpleNamespace(pixels=pixels)

    def read_header(self, *_: Any) -> SimpleNamespace | None:
        return self._header

    def decode(self, *_: Any, **__: Any) -> "Decoder":
        self.decoded += 1
        self.begun.set()
        assert self.may_end.wait(20)
        return self


def ask(renderer: Renderer) -> "asyncio.Task[Any]":
    return asyncio.create_task(renderer.render(b"", LUNG_WINDOW, None, None, None))


async def leave(asked: "asyncio.Task[Any]") -> None:
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def finish(renderer: Renderer, decoder: Decoder) -> None:
    decoder.may_end.set()
    await asyncio.to_thread(renderer._pool._threads.shutdown)


def renderer_of(decoder: Decoder) -> Renderer:
    return Renderer(decoder)  # type: ignore[arg-type] # stands in for one


def test_a_caller_that_left_is_drawn_nothing() -> None:
    """Reading a large picture cannot be cut short, but writing it takes longer, and is left out."""

    async def story() -> bool:
        decoder = Decoder()
        renderer = renderer_of(decoder)
        asked = ask(renderer)
        await asyncio.to_thread(decoder.begun.wait, 20)
        await leave(asked)
        await finish(renderer, decoder)
        return decoder.grey.was_written

    assert not asyncio.run(story())


def test_a_large_picture_is_not_read_for_a_caller_that_left_while_it_waited() -> None:
    """The second large one waits for the first, and its caller is gone by then."""

    async def story() -> int:
        decoder = Decoder(LARGE)
        renderer = renderer_of(decoder)
        first = ask(renderer)
        await asyncio.to_thread(decoder.begun.wait, 20)
        second = ask(renderer)
        await asyncio.to_thread(wait_until, lambda: len(renderer._pool._threads._threads) > 1, "it has a thread")
        await leave(second)
        await leave(first)
        await finish(renderer, decoder)
        return decoder.decoded

    assert asyncio.run(story()) == 1


def test_small_pictures_wait_for_no_other() -> None:
    """Two are read at a time."""

    async def story() -> None:
        decoder = Decoder(1)
        renderer = renderer_of(decoder)
        asked = [ask(renderer), ask(renderer)]
        await asyncio.to_thread(wait_until, lambda: decoder.decoded > 1, "both are read")
        for one in asked:
            await leave(one)
        await finish(renderer, decoder)

    asyncio.run(story())


def test_large_dicom_is_written_one_at_a_time() -> None:
    """Its size is known only when it has been read."""

    async def story() -> None:
        decoder, written = Decoder(), threading.Event()
        decoder.grey = Grey(written)
        decoder.grey.size = LARGE
        renderer = renderer_of(decoder)
        asked = [ask(renderer), ask(renderer)]
        decoder.may_end.set()
        await asyncio.to_thread(wait_until, lambda: decoder.decoded == 2 and Grey.writing, "one is written")
        written.set()
        await asyncio.gather(*asked, return_exceptions=True)
        await finish(renderer, decoder)

    Grey.most_at_a_time = 0
    asyncio.run(story())
    assert Grey.most_at_a_time == 1
