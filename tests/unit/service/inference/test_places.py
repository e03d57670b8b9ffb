"""Who gets a place in the queue, who waits for one, and who is told to come back later."""

import asyncio
import time

import pytest

from service.inference.places import Places, QueueFull
from tests.support.batching_bench import Bench, scenario, settle


@scenario
async def test_a_full_queue_refuses_at_once() -> None:
    """No place beyond the limit; a place given back is taken again."""
    bench = Bench(max_queue=3)
    for _ in range(3):
        bench.batcher.places.reserve(patience_s=1)
    assert bench.batcher.places.held == bench.batcher.places.most
    with pytest.raises(QueueFull):
        bench.batcher.places.reserve(patience_s=1)
    bench.batcher.places.release()
    bench.batcher.places.reserve(patience_s=1)
    assert bench.batcher.places.held == 3


def test_retry_after_follows_the_rate() -> None:
    """What a refused caller is told grows with the queue and with the time an item takes: half of all that is held."""
    assert Places(40).retry_after_s() > 0  # before anything was measured
    for seconds in (0.01, 0.05):
        places = Places(40)
        places.seconds_per_item = seconds
        for _ in range(40):
            places.reserve(patience_s=1e9)
        with pytest.raises(QueueFull) as full:
            places.reserve(patience_s=1e9)
        assert full.value.retry_after_s == pytest.approx(20 * seconds)


@scenario
async def test_the_rate_is_measured() -> None:
    """An item takes as long as its batch took from its start to its end."""
    bench = Bench()
    for item in range(3):
        (task,) = await bench.start("m", item)
        started = time.monotonic()
        while time.monotonic() - started < 0.01:
            await asyncio.sleep(0)
        await bench.executor.finish()
        await task
    assert bench.batcher.places.seconds_per_item >= 0.01


@scenario
async def test_who_cannot_be_served_in_time_is_not_admitted() -> None:
    """With a measured wait longer than a caller's patience, the caller is refused though there is room."""
    bench = Bench()
    (task,) = await bench.start("m", 0)
    started = time.monotonic()
    while time.monotonic() - started < 0.05:
        await asyncio.sleep(0)
    await bench.executor.finish()
    await task
    for _ in range(10):
        bench.batcher.places.reserve(patience_s=10)
    with pytest.raises(QueueFull):
        bench.batcher.places.reserve(patience_s=0.1)
    bench.batcher.places.reserve(patience_s=10)
    assert bench.batcher.places.held == 11


@scenario
async def test_the_patient_get_places_first_come_first_served() -> None:
    """A place goes to who has waited longest; a newcomer cannot slip in before."""
    bench = Bench(max_queue=1)
    bench.batcher.places.reserve(patience_s=1)
    served: list[int] = []

    async def wait(number: int) -> None:
        await bench.batcher.places.reserve_when_free()
        served.append(number)

    tasks = [asyncio.create_task(wait(number)) for number in range(3)]
    await settle()
    for expected in range(3):
        bench.batcher.places.release()
        with pytest.raises(QueueFull):  # between the handing over and the waiting caller's turn
            bench.batcher.places.reserve(patience_s=1)
        await settle()
        assert served == list(range(expected + 1))
        assert bench.batcher.places.held == 1
    bench.batcher.places.release()
    assert bench.batcher.places.held == 0
    await asyncio.gather(*tasks)


@scenario
async def test_a_caller_that_stops_waiting_for_a_place_is_passed_over() -> None:
    """Cancelled before or in the moment of the handing over, the place goes to the next in line and is not lost."""
    bench = Bench(max_queue=1)
    bench.batcher.places.reserve(patience_s=1)
    tasks = [asyncio.create_task(bench.batcher.places.reserve_when_free()) for _ in range(4)]
    await settle()
    tasks[0].cancel()
    await settle()
    bench.batcher.places.release()  # goes to 1 ...
    tasks[1].cancel()  # ... who is gone before it knows
    await settle()
    assert [task.done() for task in tasks] == [True, True, True, False]
    assert tasks[2].exception() is None
    assert bench.batcher.places.held == 1
    bench.batcher.places.release()
    await tasks[3]
    bench.batcher.places.release()
    assert bench.batcher.places.held == 0


@scenario
async def test_a_batch_that_does_not_come_back_is_seen() -> None:
    """oldest_batch_s grows while a batch is computed and is 0 when none is."""
    bench = Bench()
    assert bench.batcher.oldest_batch_s == 0
    (task,) = await bench.start("m", 1)
    first = bench.batcher.oldest_batch_s
    while bench.batcher.oldest_batch_s <= first:
        await asyncio.sleep(0)
    await bench.executor.finish()
    await task
    assert bench.batcher.oldest_batch_s == 0
