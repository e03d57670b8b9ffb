"""Open-loop load: requests leave at a constant rate, whether or not earlier ones have been answered.

Latency counts from the moment a request was due, so a server that stalls cannot hide it by slowing the generator down.
Runs as a process of its own, which prints a line when it begins, and at its end its samples as one JSON array.
"""

import argparse
import asyncio
import itertools
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.closed_loop import LoadFailed
from benchmarks.load.servers import Running
from benchmarks.load.slices import CONTENT_TYPE

BROKEN = 0
"""Status of a request that got no answer: refused, reset, or not answered before the end."""

_LAST_ANSWERS_S = 30.0
_BEGUN = "begun"


@dataclass(frozen=True)
class Sample:
    """One request."""

    due: float
    """Unix time at which it was due."""
    latency_ms: float
    status: int


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[int] | None = None
        self.is_open = False
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.is_open = True

    def send(self, message: bytes) -> "asyncio.Future[int]":
        self.answer = asyncio.get_running_loop().create_future()
        self._received = b""
        self._transport.write(message)  # type: ignore[attr-defined] # TCP: a WriteTransport
        return self.answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or self.answer is None or self.answer.done():
            return
        fields = head.lower().split(b"\r\n")
        length = next((int(field[15:]) for field in fields if field.startswith(b"content-length:")), 0)
        if len(body) >= length:
            if b"connection: close" in fields:
                self.close()
            self.answer.set_result(int(head[9:12]))

    def connection_lost(self, _: Exception | None) -> None:
        self.is_open = False
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(BROKEN)

    def close(self) -> None:
        self.is_open = False
        self._transport.close()


async def _generate(port: int, messages: list[bytes], rate: float, seconds: float | None) -> list[Sample]:
    """Send for that long, or until SIGTERM; then wait for the last answers."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    print(_BEGUN, flush=True)
    idle: list[_Connection] = []
    samples: list[Sample] = []
    started, wall = loop.time(), time.time()

    async def one(message: bytes, due: float) -> None:
        connection = None
        while idle and connection is None:
            connection = idle.pop()
            connection = connection if connection.is_open else None
        try:
            if connection is None:
                _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
            status = await connection.send(message)
        except OSError:
            status = BROKEN
        samples.append(Sample(wall + due - started, (loop.time() - due) * 1e3, status))
        if connection is not None and connection.is_open:
            idle.append(connection)

    turns = itertools.cycle(messages)
    tasks = set()
    for number in itertools.count() if seconds is None else range(round(rate * seconds)):
        if stopped.is_set():
            break
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - loop.time()))
        tasks.add(task := loop.create_task(one(next(turns), due)))
        task.add_done_callback(tasks.discard)
    pending = set(tasks)
    if pending:
        _, pending = await asyncio.wait(pending, timeout=_LAST_ANSWERS_S)
    for task in pending:
        task.cancel()
    samples += [Sample(wall, _LAST_ANSWERS_S * 1e3, BROKEN) for _ in pending]
    return samples


class OpenLoop:
    """The generator at work: for that long, or until samples() are asked for."""

    def __init__(self, running: Running, slices: Path, rate: float, seconds: float | None = None) -> None:
        self._is_endless = seconds is None
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "benchmarks.load.open_loop", str(running.port), running.server.path, str(slices),
                f"--rate={rate}", *([] if seconds is None else [f"--seconds={seconds}"]),
            ],
            cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if self._process.stdout is None or self._process.stdout.readline().strip() != _BEGUN:
            raise LoadFailed("the open-loop generator did not begin")

    def samples(self) -> list[Sample]:
        """What became of every request, after the last answer."""
        if self._is_endless:
            self._process.terminate()
        output, _ = self._process.communicate()
        return [Sample(*sample) for sample in json.loads(output)]

    def stop(self) -> None:
        """End early."""
        self._process.kill()
        self._process.wait()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("slices", type=Path)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, help="default: until SIGTERM")
    args = parser.parse_args()
    messages = []
    for file in sorted(args.slices.glob("*.form")):
        body = file.read_bytes()
        head = (
            f"POST {args.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        messages.append(head.encode() + body)
    samples = asyncio.run(_generate(args.port, messages, args.rate, args.seconds))
    json.dump([(sample.due, sample.latency_ms, sample.status) for sample in samples], sys.stdout)


if __name__ == "__main__":
    _main()
