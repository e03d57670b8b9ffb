"""A pool beside the batches: bounded, in order, and nothing is held in it for callers that are gone."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.inference.places import QueueFull
from service.inference.thread_pools import BoundedPool
from tests.support.batching_bench import scenario, settle


class Body:
    """What a caller sends; a test can see when nobody holds it any more."""


class Work:
    """A call that ends when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.may_end = threading.Event()

    def __call__(self, body: Any) -> str:
        self.begun.append(type(body))
        self.may_end.wait(60)
        return "done"


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """What only the garbage collector frees is held for too long."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def until(holds: Any) -> None:
    """Let threads and the loop go on until something holds."""
    while not holds():
        await asyncio.sleep(0.001)


def sent(pool: BoundedPool, call: Any, count: int) -> tuple[list[asyncio.Task[Any]], list[weakref.ref[Body]]]:
    """So many callers, each with a body that only the pool holds."""
    bodies = [Body() for _ in range(count)]
    tasks = [asyncio.create_task(pool.run(call, body, waits=True)) for body in bodies]
    return tasks, [weakref.ref(body) for body in bodies]


async def go(tasks: list[asyncio.Task[Any]]) -> None:
    """All of them hang up, and their tasks, which remember how they ended, are let go."""
    while tasks:
        tasks[-1].cancel()
        await asyncio.wait([tasks.pop()])
    await settle()


@scenario
async def test_who_goes_while_waiting_leaves_nothing_behind() -> None:
    """However many come and go while the only thread is busy, nothing of them stays, and the next one is served."""
    pool, work = BoundedPool("test", threads=1, places=4), Work()
    first = asyncio.create_task(pool.run(work, Body()))
    await until(lambda: work.begun)
    for _ in range(50):
        tasks, bodies = sent(pool, work, 3)
        await settle()
        await go(tasks)
        assert [body() for body in bodies] == [None] * 3
    work.may_end.set()
    assert await first == "done"
    assert await pool.run(work, Body()) == "done"
    assert len(work.begun) == 2


@scenario
async def test_a_call_whose_caller_is_gone_keeps_its_body_place_and_thread_until_it_ends() -> None:
    """What a thread still works on counts: no second call takes its thread, and no third one its place."""
    pool, work = BoundedPool("test", threads=1, places=2), Work()
    (first,), (body,) = sent(pool, work, 1)
    await until(lambda: work.begun)
    await go([first])
    del first
    second = asyncio.create_task(pool.run(work, Body()))
    await settle()
    assert body() is not None
    with pytest.raises(QueueFull):
        await pool.run(work, Body())
    work.may_end.set()
    assert await second == "done"
    assert len(work.begun) == 2
    assert body() is None


@scenario
async def test_what_a_call_raises_holds_nothing_once_it_was_handled() -> None:
    """An exception reaches its caller, and with it goes what the call was given."""

    def fails(body: Any) -> None:
        raise KeyError("broken", type(body))

    pool = BoundedPool("test", threads=1, places=1)

    async def ask() -> weakref.ref[Body]:
        body = Body()
        with pytest.raises(KeyError, match="broken"):
            await pool.run(fails, body)
        return weakref.ref(body)

    body = await ask()
    await settle()
    await pool.run(lambda: None)  # the thread has let go of the call before
    assert body() is None


@scenario
async def test_where_no_thread_can_be_started_nothing_is_kept() -> None:
    """The caller is told when to come back, and its body, its place and its turn are free for the next one."""

    class Starved(ThreadPoolExecutor):
        def _adjust_thread_count(self) -> None:
            raise RuntimeError("can't start new thread")

    pool = BoundedPool("test", threads=1, places=1)
    able, pool._threads = pool._threads, Starved(1)
    for _ in range(3):
        (task,), (body,) = sent(pool, str, 1)
        await asyncio.wait([task])
        assert isinstance(task.exception(), QueueFull)
        del task
        await settle()
        assert body() is None
    pool._threads = able
    assert await pool.run(lambda: "done") == "done"


def test_a_service_that_was_started_as_nice_stays_so_and_works() -> None:
    """Its threads give way as much as they should, or as the process does where that is more; nobody's call is lost."""
    story = (
        "import asyncio, os\n"
        "from concurrent.futures import Future\n"
        "from service.inference.thread_pools import BoundedPool, WorkerPool\n"
        "print(os.nice(15))\n"
        "os.getuid() or os.setuid(65534)\n"
        "print(*(WorkerPool(1, 'x', niceness).submit(os.nice, 0).result(20) for niceness in (10, 19)))\n"
        "print(asyncio.run(BoundedPool('y', threads=1, places=1, low_priority=True).run(os.nice, 0)))\n"
    )
    run = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, timeout=60, check=False)
    started_as, *of_threads = map(int, run.stdout.split())
    assert started_as >= 15, run.stderr
    assert of_threads == [started_as, 19, started_as], run.stderr


@scenario
async def test_all_threads_work() -> None:
    """As many calls run at a time as there are threads."""
    pool, work = BoundedPool("test", threads=3, places=9), Work()
    tasks, _ = sent(pool, work, 5)
    await until(lambda: len(work.begun) == 3)
    work.may_end.set()
    assert await asyncio.gather(*tasks) == ["done"] * 5
