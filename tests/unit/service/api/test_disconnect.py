"""Who hangs up is no longer worked for; who does not is left alone."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from service.api.disconnect import cancelled_when_gone


def request_that(receive: Callable[[], Awaitable[Message]]) -> Request:
    """A request whose messages come from a function of the test."""
    return Request({"type": "http", "headers": []}, receive)


def test_work_is_cancelled_when_the_caller_goes() -> None:
    """The work sees a cancellation, the task goes on with ClientDisconnect, and is not marked as cancelled."""

    async def story() -> None:
        gone, was_cancelled = asyncio.Event(), False

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def work() -> None:
            nonlocal was_cancelled
            gone.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                was_cancelled = True
                raise

        with pytest.raises(ClientDisconnect):
            async with cancelled_when_gone(request_that(receive)):
                await work()
        assert was_cancelled
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)  # would raise if a cancellation were still to come

    asyncio.run(asyncio.wait_for(story(), 10))


def test_work_that_ends_first_is_untouched() -> None:
    """The answer of a caller that stays comes through, and nobody listens any longer."""

    async def story() -> None:
        is_listening = False

        async def receive() -> Message:
            nonlocal is_listening
            is_listening = True
            try:
                await asyncio.sleep(60)
            finally:
                is_listening = False
            return {"type": "http.disconnect"}

        async with cancelled_when_gone(request_that(receive)):
            await asyncio.sleep(0.001)
            assert is_listening
        await asyncio.sleep(0.001)
        assert not is_listening

    asyncio.run(asyncio.wait_for(story(), 10))


def test_errors_of_the_work_pass() -> None:
    """What the work raises is raised, also while the caller is there."""

    async def story() -> None:
        async def receive() -> Message:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        with pytest.raises(KeyError):
            async with cancelled_when_gone(request_that(receive)):
                raise KeyError

    asyncio.run(asyncio.wait_for(story(), 10))


def test_other_cancellations_stay_cancellations() -> None:
    """A deadline or a shutdown during the work is not taken for a caller that went."""

    async def story() -> None:
        async def receive() -> Message:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), cancelled_when_gone(request_that(receive)):
                await asyncio.sleep(60)

        async def shut_down() -> None:
            async with cancelled_when_gone(request_that(receive)):
                await asyncio.sleep(60)

        task = asyncio.create_task(shut_down())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(story(), 10))


@pytest.mark.parametrize("yields", range(8))
def test_going_in_the_moment_of_the_answer_breaks_nothing(yields: int) -> None:
    """However close the hanging up and the end of the work are, the task ends well or with ClientDisconnect."""

    async def story() -> None:
        async def receive() -> Message:
            for _ in range(yields):
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        try:
            async with cancelled_when_gone(request_that(receive)):
                for _ in range(3):
                    await asyncio.sleep(0)
        except ClientDisconnect:
            pass
        # sending the answer: not to be cancelled by what happened before
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(story(), 10))


def test_other_messages_are_passed_over() -> None:
    """Only a disconnect ends the work; more of the body does not."""

    async def story() -> None:
        messages: list[Message] = [{"type": "http.request"}, {"type": "http.request"}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async with cancelled_when_gone(request_that(receive)):
            while messages:
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_request_is_gone_with_its_answer() -> None:
    """Nothing waits for the garbage collector, which comes seldom."""

    async def story() -> weakref.ref[Request]:
        async def receive() -> Message:
            await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        request = request_that(receive)
        async with cancelled_when_gone(request):
            await asyncio.sleep(0)
        return weakref.ref(request)

    async def told() -> bool:
        request = await story()
        await asyncio.sleep(0)  # in which the watch ends
        return request() is None

    gc.disable()
    try:
        assert asyncio.run(told())
    finally:
        gc.enable()
