"""One attacker: a process of its own that sends what it was told to, until it is ended.

    python -m benchmarks.serving.attackers PORT NAME

What it sends is made before it begins, it has the lowest priority (nice 19), and all of its connections together send
at most RATE_MIB a second: what a service loses beside it, it loses to the bytes and not to their sender. It prints a
line when it begins and, at its end (SIGTERM), what became of its requests as JSON.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from benchmarks.load.slices import find_workload
from benchmarks.serving import hostile_files
from benchmarks.serving.hostile_files import MIB

RATE_MIB = 100
"""About what a gigabit brings."""
BEGUN = "begun"

_PIECE = 256 * 1024
_PATIENCE_S = 120.0
_PAUSE_S = 0.01
"""After each request, so that refusals at once make no busy loop."""


@dataclass
class Line:
    """What all connections of an attacker share."""

    port: int
    answers: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    _free_at: float = 0.0

    async def send(self, connection: socket.socket, content: bytes) -> None:
        """Send it at the attacker's pace. Raises OSError where the other end has had enough."""
        loop, view = asyncio.get_running_loop(), memoryview(content)
        for at in range(0, len(view), _PIECE):
            piece = view[at : at + _PIECE]
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + len(piece) / (RATE_MIB * MIB)
            await asyncio.sleep(max(0.0, self._free_at - now))
            async with asyncio.timeout(_PATIENCE_S):  # wait_for() of Python 3.11 can lose a cancellation
                await loop.sock_sendall(connection, piece)
            self.sent += len(piece)


Attack = Callable[[Line, socket.socket], Awaitable[None]]
"""One request on a connection of its own; answers and broken connections are counted by who calls it."""


@dataclass(frozen=True)
class Attacker:
    """How many connections do what."""

    about: str
    connections: int
    make: Callable[[], Attack]
    is_answered: bool = True
    """Whether an answer is waited for."""


async def _run(port: int, attacker: Attacker) -> None:
    line, stopped, attack = Line(port), asyncio.Event(), attacker.make()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    os.nice(19)
    print(BEGUN, flush=True)
    tasks = [asyncio.create_task(_attack(line, attack, attacker)) for _ in range(attacker.connections)]
    started, cpu_s = time.monotonic(), time.process_time()
    await stopped.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    cores = (time.process_time() - cpu_s) / (time.monotonic() - started)
    print(json.dumps({"answers": line.answers, "sent_mib": round(line.sent / MIB), "cores": round(cores, 2)}))


async def _attack(line: Line, attack: Attack, attacker: Attacker) -> None:
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as connection:
            connection.setblocking(False)  # noqa: FBT003 - the only way to say it
            try:
                await loop.sock_connect(connection, ("127.0.0.1", line.port))
                await attack(line, connection)
                line.answers[await _status(connection) if attacker.is_answered else "gone"] += 1
            except (OSError, TimeoutError):
                line.answers[await _status(connection, patience_s=0.2)] += 1
        await asyncio.sleep(_PAUSE_S)


async def _status(connection: socket.socket, patience_s: float = _PATIENCE_S) -> str:
    try:
        async with asyncio.timeout(patience_s):
            answer = await asyncio.get_running_loop().sock_recv(connection, 4096)
    except (OSError, TimeoutError):
        return "no answer"
    return answer[9:12].decode("ascii", "replace") or "closed"


# --- what is sent -----------------------------------------------------------------------------------------------------


def _head(path: str, length: int, content_type: str = "application/octet-stream", more: str = "") -> bytes:
    fields = f"Host: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{more}"
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n".encode()


def _posted(make: Callable[[], bytes], path: str = "/predict") -> Callable[[], Attack]:
    """A whole upload, whose answer is waited for."""

    def prepared() -> Attack:
        body = make()
        request = _head(path, len(body)) + body

        async def attack(line: Line, connection: socket.socket) -> None:
            await line.send(connection, request)

        return attack

    return prepared


def _hang_up(path: str, field_name: str | None = None) -> Callable[[], Attack]:
    """A whole upload of 16 MiB that is dear to decode; gone as soon as it is sent."""

    def prepared() -> Attack:
        body, content_type = hostile_files.noise(), "image/png"
        if field_name:
            content_type = "multipart/form-data; boundary=b"
            disposition = f'form-data; name="{field_name}"; filename="a.png"'
            part = f"--b\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + body
            body = part + b"\r\n" + part + b"\r\n--b--\r\n"
        request = _head(path, len(body), content_type) + body

        async def attack(line: Line, connection: socket.socket) -> None:
            await line.send(connection, request)
            await asyncio.sleep(_PAUSE_S)  # or the service would find a broken body and not a caller who left

        return attack

    return prepared


def _endless(start: bytes, more: bytes) -> Callable[[], Attack]:
    """More of the same for ever."""

    def prepared() -> Attack:
        piece = more * max(1, _PIECE // len(more))

        async def attack(line: Line, connection: socket.socket) -> None:
            await line.send(connection, start)
            while True:
                await line.send(connection, piece)

        return attack

    return prepared


def _trailers() -> Attack:
    """A whole slice in one chunk, and then trailers without end."""
    body = find_workload().jpegs[0]
    start = (
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    )
    return _endless(start, b"a: b\r\n")()


def _slow_head() -> Attack:
    """A head that comes one byte a second."""

    async def attack(line: Line, connection: socket.socket) -> None:
        for byte in b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"x" * 10_000:
            await line.send(connection, bytes([byte]))
            await asyncio.sleep(1)

    return attack


_START = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"

ATTACKERS: dict[str, Attacker] = {
    "png-bomb": Attacker(
        "a PNG of 19 MiB that inflates to 19 GiB", 4, _posted(lambda: hostile_files.inflation_bomb(19 * MIB))
    ),
    "png-bomb-small": Attacker(
        "a PNG of 1.5 MB that inflates to 1.5 GB", 4, _posted(lambda: hostile_files.inflation_bomb(1_500_000))
    ),
    "jpeg-fill": Attacker(
        "a JPEG with 19 MiB of fill bytes", 4,
        _posted(lambda: hostile_files.filled_jpeg(find_workload().jpegs[0], 19 * MIB)),
    ),
    "jpeg-scans": Attacker("a JPEG of 4096 x 4096 in 64 scans", 4, _posted(hostile_files.many_scans)),
    "dicom-items": Attacker(
        "a DICOM file with 2.3 million sequence items", 4, _posted(lambda: hostile_files.dicom_of_items(2_300_000))
    ),
    "dicom-fragments": Attacker(
        "a DICOM file with 2.3 million fragments", 4, _posted(lambda: hostile_files.dicom_of_fragments(2_300_000))
    ),
    "header-lines": Attacker("header lines without end", 4, _endless(_START, b"a: b\r\n")),
    "header-long": Attacker("one header without end", 4, _endless(_START + b"X-Long: ", b"x")),
    "address-long": Attacker("an address without end", 4, _endless(b"GET /", b"x")),
    "trailers": Attacker("trailers without end", 4, _trailers),
    "slow-heads": Attacker("heads that come byte by byte", 500, _slow_head),
    "hang-up-predict": Attacker("16 MiB to /predict, then gone", 16, _hang_up("/predict"), is_answered=False),
    "hang-up-render": Attacker("16 MiB to /render, then gone", 16, _hang_up("/render"), is_answered=False),
    "hang-up-explain": Attacker("16 MiB to /explain, then gone", 16, _hang_up("/explain"), is_answered=False),
    "hang-up-batch": Attacker(
        "two of 16 MiB to /predict/batch, then gone", 8, _hang_up("/predict/batch", "files"), is_answered=False
    ),
}  # fmt: skip


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1]), ATTACKERS[sys.argv[2]]))
