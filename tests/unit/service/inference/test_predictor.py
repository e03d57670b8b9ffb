"""Bytes become probabilities in shared batches; what cannot be decoded touches no neighbour."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from service.inference.batching import BatchFailed
from service.inference.chest_gate import NotAChestCT
from service.inference.predictor import Predictor
from service.metrics import Metrics
from service.model.serving_model import LoadOptions
from service.settings import ServiceSettings
from shared.raster.decode import NotAnImageType, Undecodable
from tests.support.fake_model import FakeEngine, fake_model
from tests.support.inputs.slices import jpeg_slice, png_bomb, png_slice


class Desk:
    """A predictor, and callers of it."""

    def __init__(self) -> None:
        self.metrics, self.engine = Metrics(), FakeEngine()
        self.predictor = Predictor(
            ServiceSettings(), self.metrics, LoadOptions("openvino", "f32", threads=1, max_batch_size=4)
        )
        self.model = fake_model(self.engine)

    async def ask(self, body: bytes) -> np.ndarray:
        self.predictor.batcher.places.reserve(patience_s=60)
        try:
            return (await self.predictor.predict(body, self.model)).probabilities
        finally:
            self.predictor.batcher.places.release()

    async def ask_together(self, *bodies: bytes) -> list[Any]:
        """Callers that share a batch: they wait while a first one is computed."""
        self.engine.may_answer.clear()
        first = asyncio.create_task(self.ask(jpeg_slice(99)))
        while not self.engine.sizes:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(self.ask(body)) for body in bodies]
        await asyncio.sleep(0.01)
        self.engine.may_answer.set()
        await asyncio.wait([first])
        return list(await asyncio.gather(*others, return_exceptions=True))


def run(story: Callable[[Desk], Coroutine[Any, Any, None]]) -> Desk:
    """Tell a story at a desk."""
    desk = Desk()
    asyncio.run(asyncio.wait_for(story(desk), 60))
    return desk


def test_slices_that_wait_share_a_batch_and_get_their_own_answers() -> None:
    """Four slices that wait together are one batch, each with the answer it gets alone."""

    async def story(desk: Desk) -> None:
        slices = [jpeg_slice(seed, side=64 + 32 * seed) for seed in range(4)]
        alone = [await desk.ask(one) for one in slices]
        desk.engine.sizes.clear()
        together = await desk.ask_together(*slices)
        assert desk.engine.sizes == [1, 4]
        np.testing.assert_allclose(together, alone, atol=1e-6)

    run(story)


def test_a_slice_that_cannot_be_decoded_touches_no_neighbour() -> None:
    """In a shared batch, damaged slices get their own errors and the others their answers."""

    async def story(desk: Desk) -> None:
        good, damaged = jpeg_slice(1), jpeg_slice(2)[:-300]
        answers = await desk.ask_together(good, damaged, png_slice(3), png_slice(4)[:-60])
        assert [type(one) for one in answers] == [np.ndarray, Undecodable, np.ndarray, Undecodable]
        np.testing.assert_allclose(answers[0], await desk.ask(good), atol=1e-6)

    run(story)


def test_what_breaks_unforeseen_in_decoding_touches_no_neighbour() -> None:
    """An error of any kind in one slice's decoding is that caller's alone."""

    async def story(desk: Desk) -> None:
        desk.engine.may_answer.clear()
        first = asyncio.create_task(desk.ask(jpeg_slice(0)))
        while not desk.engine.sizes:
            await asyncio.sleep(0.001)
        neighbour = asyncio.create_task(desk.ask(jpeg_slice(1)))
        await asyncio.sleep(0)
        desk.predictor.batcher.places.reserve(patience_s=60)
        broken: Any = object()  # as a bug of a library would: neither bytes nor a tensor
        strange = asyncio.create_task(desk.predictor.batcher.submit(desk.model, broken))
        await asyncio.sleep(0.01)
        desk.engine.may_answer.set()
        assert isinstance(await neighbour, np.ndarray)
        assert isinstance(await strange, Exception)
        await first

    run(story)


def test_a_batch_of_nothing_decodable_never_asks_the_engine() -> None:
    """Where no slice of a batch can be decoded the engine is left alone."""

    async def story(desk: Desk) -> None:
        with pytest.raises(Undecodable):
            await desk.ask(jpeg_slice(1)[:-300])
        assert desk.engine.sizes == []
        with pytest.raises(NotAnImageType):
            await desk.ask(b"text")

    run(story)


def test_huge_images_are_decoded_apart() -> None:
    """While huge images are decoded, a small one that came later is answered."""

    async def story(desk: Desk) -> None:
        huge, small = png_bomb(4000), jpeg_slice(2)
        waiting = [asyncio.create_task(desk.ask(huge)) for _ in range(6)]
        await asyncio.sleep(0)
        await desk.ask(small)
        assert not any(one.done() for one in waiting)
        refused = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in refused] == [NotAChestCT] * 6  # all black: no chest

    run(story)


def test_an_engine_error_fails_the_batch_and_not_the_next() -> None:
    """Every caller of the failed batch is told, and the engine is asked again for the next."""

    async def story(desk: Desk) -> None:
        desk.engine.fails_with = RuntimeError("engine")
        for _ in range(3):
            with pytest.raises(BatchFailed):
                await desk.ask(jpeg_slice(1))
        assert desk.metrics.consecutive_failures == 3
        desk.engine.fails_with = None
        await desk.ask(jpeg_slice(1))
        assert desk.metrics.consecutive_failures == 0

    run(story)
