"""Batches form from what waits, and mix, lose and delay nothing."""

import asyncio
import weakref

import pytest

from service.engines.base import Pace
from service.inference.batching import BatchFailed
from tests.support.batching_bench import Bench, scenario, settle


@scenario
async def test_a_lone_item_is_computed_at_once() -> None:
    """With nothing in flight an item goes to the function without waiting for time or company."""
    bench = Bench()
    (task,) = await bench.start("m", 1)
    assert len(bench.executor.pending) == 1  # before any timer could have run
    await bench.executor.finish()
    assert await task == ("m", 1)
    assert bench.observed.waits[0] < 0.05


@scenario
async def test_what_waits_becomes_the_next_batch() -> None:
    """What arrives during a batch shares the next one, in order, up to the batch size."""
    bench = Bench()
    tasks = await bench.start("m", *range(8))
    while bench.executor.pending:
        await bench.executor.finish()
    assert bench.function.batches == [("m", [0]), ("m", [1, 2, 3, 4]), ("m", [5, 6, 7])]
    assert await asyncio.gather(*tasks) == [("m", item) for item in range(8)]
    assert bench.observed.sizes == [1, 4, 3]


@scenario
async def test_no_batch_is_larger_than_the_batch_size() -> None:
    """However many wait, on however many workers."""
    for batch_size, workers in ((1, 1), (1, 3), (3, 2), (8, 1)):
        for count in range(1, 20):
            bench = Bench(batch_size, workers=workers)
            tasks = await bench.start("m", *range(count))
            while bench.executor.pending:
                await bench.executor.finish()
            assert max(bench.function.sizes) <= batch_size
            assert await asyncio.gather(*tasks) == [("m", item) for item in range(count)]


@scenario
async def test_what_is_faster_alone_is_computed_one_after_the_other() -> None:
    """As long as the pace says so, each gets all workers: nothing runs beside it."""
    bench = Bench(workers=2, in_flight=4, pace=Pace(alone_s=1, one_s=3, full_s=12, batch_size=4))
    tasks = await bench.start("m", *range(6))
    for _ in range(6):
        assert len(bench.executor.pending) == 1
        await bench.executor.finish()
    assert bench.function.sizes == [1] * 6
    assert bench.function.were_alone == list(range(6))
    assert await asyncio.gather(*tasks) == [("m", item) for item in range(6)]


@scenario
async def test_more_than_a_few_share_the_lanes_evenly() -> None:
    """What is too much to be computed one by one, and less than a full round, is laid evenly on all workers."""
    bench = Bench(batch_size=8, workers=2, in_flight=4)
    await bench.start("m", *range(8))
    await bench.executor.finish()  # the first one, alone
    assert len(bench.executor.pending) == 2
    while bench.executor.pending:
        await bench.executor.finish()
    assert bench.function.sizes == [1, 4, 3]
    assert bench.function.were_alone == [0]


@scenario
async def test_full_batches_queue_behind_busy_lanes() -> None:
    """While all workers are busy only full batches follow, as many as are allowed; what does not fill one waits."""
    bench = Bench(batch_size=4, workers=2, in_flight=3)
    await bench.start("m", *range(1 + 12 + 3))
    await bench.executor.finish()
    assert len(bench.executor.pending) == 3
    await bench.executor.finish()
    assert len(bench.executor.pending) == 2  # three do not fill a batch
    await bench.start("m", "fourth")
    assert len(bench.executor.pending) == 3
    while bench.executor.pending:
        await bench.executor.finish()
    assert bench.function.sizes == [1, 4, 4, 4, 4]


@scenario
async def test_a_free_worker_takes_what_waits() -> None:
    """No worker idles for the sake of a fuller batch; while all are busy, what comes waits for company."""
    bench = Bench(batch_size=4, workers=2, in_flight=4)
    await bench.start("m", *range(1 + 8))
    await bench.executor.finish()
    await bench.executor.finish()
    assert len(bench.executor.pending) == 1
    await bench.start("m", "one")
    assert len(bench.executor.pending) == 2
    await bench.start("m", "another", "and its company")
    assert len(bench.executor.pending) == 2
    while bench.executor.pending:
        await bench.executor.finish()
    assert bench.function.sizes == [1, 4, 4, 1, 2]


@scenario
async def test_what_does_not_fill_a_batch_is_not_left_behind() -> None:
    """When everything else is done, the rest is computed although nobody joined it."""
    bench = Bench(batch_size=4, workers=2, in_flight=4)
    tasks = await bench.start("m", *range(1 + 4 + 4 + 1))
    while bench.executor.pending:
        await bench.executor.finish()
    assert bench.function.sizes == [1, 4, 4, 1]
    assert bench.function.were_alone == [0]
    assert await asyncio.gather(*tasks) == [("m", item) for item in range(10)]


@scenario
async def test_models_are_never_mixed() -> None:
    """A batch has items of one model only, and the order of arrival is kept across models."""
    bench = Bench()
    await bench.start("old", 0)
    tasks = [task for key, item in zip("aababbbb", range(8), strict=True) for task in await bench.start(key, item)]
    while bench.executor.pending:
        await bench.executor.finish()
    assert bench.function.batches[1:] == [("a", [0, 1]), ("b", [2]), ("a", [3]), ("b", [4, 5, 6, 7])]
    assert await asyncio.gather(*tasks) == [(key, item) for key, item in zip("aababbbb", range(8), strict=True)]


@scenario
async def test_models_that_are_equal_but_not_the_same_are_never_mixed() -> None:
    """Models are told apart by identity: two loads of one version are two models."""
    bench = Bench()
    first, second = (1, "v"), tuple([1, "v"])  # noqa: C409 - a constant would be one object
    assert first == second
    await bench.start("old", 0)
    await bench.start(first, 1)
    await bench.start(second, 2)
    while bench.executor.pending:
        await bench.executor.finish()
    assert bench.function.sizes == [1, 1, 1]


@scenario
async def test_batches_may_end_in_any_order() -> None:
    """Each caller gets its answer when its own batch ends."""
    bench = Bench(batch_size=2, workers=2)
    tasks = await bench.start("m", "first", *range(6))
    await bench.executor.finish()
    assert len(bench.executor.pending) == 2
    await bench.executor.finish(1)
    assert (await tasks[3], tasks[1].done()) == (("m", 2), False)
    while bench.executor.pending:
        await bench.executor.finish()
    assert await asyncio.gather(*tasks[1:]) == [("m", item) for item in range(6)]


# --- callers that go, functions that fail -----------------------------------------------------------------------------


@scenario
async def test_a_cancelled_caller_is_not_computed() -> None:
    """Who goes while waiting is taken out before the function, and the others move up."""
    bench = Bench()
    tasks = await bench.start("m", *range(8))
    for gone in (1, 4, 7):
        tasks[gone].cancel()
    await settle()
    assert bench.batcher.places.held == 5
    while bench.executor.pending:
        await bench.executor.finish()
    assert bench.function.batches == [("m", [0]), ("m", [2, 3, 5, 6])]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) is tuple for answer in answers] == [item not in {1, 4, 7} for item in range(8)]
    assert bench.batcher.places.held == 0


@scenario
async def test_who_goes_while_the_function_hangs_leaves_nothing_behind() -> None:
    """However many come and go while a batch does not come back, what they asked about is let go at once."""

    class Body:
        """What a test can see the end of."""

    bench = Bench()
    await bench.start("m", "hangs")
    for _ in range(20):
        bodies = [Body() for _ in range(3)]
        seen = [weakref.ref(body) for body in bodies]
        tasks = await bench.start("m", *bodies)
        bodies.clear()
        waiting = [asyncio.create_task(bench.batcher.places.reserve_when_free()) for _ in range(100)]
        await settle()
        for task in (*tasks, *waiting):
            task.cancel()
        await asyncio.wait([*tasks, *waiting])
        del task
        tasks.clear()
        waiting.clear()
        await settle()
        assert [body() for body in seen] == [None] * 3
        while bench.batcher.places.held > 1:
            bench.batcher.places.release()  # of those who got a place
    assert not bench.batcher.places._room
    assert not bench.batcher._queue


@scenario
async def test_who_goes_while_computed_costs_no_look_at_what_was_sent() -> None:
    """An image of megabytes is not spelled out on the event loop, where everybody would wait for that."""

    class Body:
        def __repr__(self) -> str:
            raise AssertionError("spelled out")

    bench = Bench()
    (task,) = await bench.start("m", Body())
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await bench.executor.finish()
    assert bench.batcher.places.held == 0


@scenario
async def test_nothing_is_computed_for_callers_that_are_all_gone() -> None:
    """Where every waiting caller went, the function is not called again, and the next caller is served."""
    bench = Bench()
    tasks = await bench.start("m", *range(5))
    for task in tasks:
        task.cancel()
    await bench.executor.finish()
    assert bench.function.batches == [("m", [0])]  # in flight already
    assert not bench.executor.pending
    (task,) = await bench.start("m", "next")
    await bench.executor.finish()
    assert await task == ("m", "next")


@scenario
async def test_a_caller_cancelled_during_compute_leaves_its_neighbours() -> None:
    """Who goes while its batch is computed takes nobody's answer along."""
    bench = Bench()
    await bench.start("m", "first")
    tasks = await bench.start("m", *range(4))
    await bench.executor.finish()
    tasks[2].cancel()
    await settle()
    await bench.executor.finish()
    assert [await tasks[index] for index in (0, 1, 3)] == [("m", index) for index in (0, 1, 3)]
    assert tasks[2].cancelled()
    assert bench.batcher.places.held == 0


@scenario
async def test_a_failing_function_answers_its_batch_and_the_next_works() -> None:
    """An error reaches every caller of that batch, with its cause, and no other caller."""
    bench = Bench()
    failing = await bench.start("m", "a")
    others = await bench.start("m", *range(4))
    bench.function.fails_with = RuntimeError("engine")
    await bench.executor.finish()
    bench.function.fails_with = None
    await bench.executor.finish()
    with pytest.raises(BatchFailed) as failed:
        await failing[0]
    assert isinstance(failed.value.__cause__, RuntimeError)
    assert "engine" not in str(failed.value)
    assert await asyncio.gather(*others) == [("m", item) for item in range(4)]
    assert [type(error) for error in bench.observed.errors] == [RuntimeError, type(None)]
    assert bench.batcher.places.held == 0


@scenario
async def test_a_function_that_loses_an_answer_has_failed() -> None:
    """Fewer or more answers than items fail the batch: nobody gets a neighbour's answer."""
    for change in (lambda answers: answers[1:], lambda answers: [*answers, "one more"]):
        bench = Bench()
        bench.function.answers = change
        (task,) = await bench.start("m", 1)
        await bench.executor.finish()
        with pytest.raises(BatchFailed):
            await task
        bench.function.answers = list
        (task,) = await bench.start("m", 2)
        await bench.executor.finish()
        assert await task == ("m", 2)


@scenario
async def test_callers_of_a_failed_batch_get_an_error_each() -> None:
    """Each caller raises an exception object of its own: tracebacks of one do not grow with the others."""
    bench = Bench()
    await bench.start("m", "first")
    tasks = await bench.start("m", 1, 2)
    await bench.executor.finish()
    bench.function.fails_with = RuntimeError("engine")
    await bench.executor.finish()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert errors[0] is not errors[1]
