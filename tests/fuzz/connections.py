"""Whatever comes on a connection, in pieces of any size: heads, bodies, chunks, trailers, and several of them."""

import asyncio
import functools
import socket
from collections.abc import Callable
from itertools import cycle
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from service.api.connection.http_protocol import HttpLimits, http_protocol
from service.metrics import Metrics
from tests.fuzz.target import Reader, Target

_TURNS = 30
_LIMITS = HttpLimits()


@functools.cache
def _sockets() -> tuple[socket.socket, socket.socket]:
    """Two that are connected, and on which nothing is wrong."""
    return socket.socketpair()


class _Transport(asyncio.Transport):
    """The other side of a connection, which reads everything."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return _sockets()[0]
        return {"peername": ("127.0.0.1", 4000), "sockname": ("127.0.0.1", 8000)}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_closed:
            self.written += data

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.is_closed

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads a body to its end; answers early where the path begins with /e."""
    count = 0
    while not scope["path"].startswith("/e"):
        event = await receive()
        count += len(event.get("body", b""))
        if not event.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@functools.cache
def _server() -> tuple[asyncio.AbstractEventLoop, Callable[[], asyncio.Protocol]]:
    loop = asyncio.new_event_loop()
    config = Config(_app, ws="none", log_config=None, access_log=False, lifespan="off")
    config.load()
    made = http_protocol(Metrics(), _LIMITS)
    return loop, functools.partial(made, config=config, server_state=ServerState(), app_state={}, _loop=loop)


def _connect(body: bytes) -> None:
    """An input is the number of pieces' sizes, those, and what comes; the last bit of the first says who hangs up."""
    reader = Reader(body)
    first = reader.byte()
    sizes = [1 + one * one for one in reader.take(first // 2 % 8)] or [64 * 1024]
    loop, made = _server()
    transport = loop.run_until_complete(_answered(made, reader.rest(), sizes, is_half_closed=first % 2 == 1))
    assert not transport.written or transport.written.startswith(b"HTTP/1.1 ")


async def _answered(
    made: Callable[[], asyncio.Protocol], content: bytes, sizes: list[int], *, is_half_closed: bool
) -> _Transport:
    wrong: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    transport, protocol = _Transport(), made()
    assert isinstance(protocol, asyncio.Protocol)
    protocol.connection_made(transport)
    at, lengths = 0, cycle(sizes)
    while at < len(content) and not transport.is_closed:
        length = next(lengths)
        protocol.data_received(content[at : at + length])
        at += length
        await asyncio.sleep(0)
    if is_half_closed and not transport.is_closed and not protocol.eof_received():
        transport.close()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    transport.close()
    protocol.connection_lost(None)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []
    if wrong:
        raise wrong[0].get("exception") or AssertionError(wrong[0]["message"])
    return transport


def _seeds() -> list[bytes]:
    get = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
    post = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    chunked = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    early = post.replace(b"/a", b"/e")
    requests = [
        get, post, chunked, early, get * 20, post * 3 + get, chunked * 3, early * 3, get.replace(b"1.1", b"1.0"),
        get.replace(b"GET", b"HEAD"), chunked.replace(b"0\r\n\r\n", b"0\r\na: b\r\n\r\n"),
        chunked[:-2] + b"a: b\r\n" * 500,
        chunked.replace(b"5\r\n", b"5;" + b"x" * 9000 + b"\r\n"), chunked.replace(b"\r\n\r\n5",
        b"\r\n\r\n" + b"f" * 30),
        get[:-2] + b"a: b\r\n" * 101 + b"\r\n", get[:-2] + b"a: " + b"b" * 8200 + b"\r\n\r\n", b"GET /" + b"x" * 8200,
        get[:-2] + b"x" * 70_000, b"\r\n" * 40_000, get[:-2] + b"Connection: close\r\n\r\n" + post,
        post.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"), post.replace(b"5\r",
        b"5\r\nContent-Length: 6\r"),
        post.replace(b": 5", b": 99999999999999999999"), post.replace(b"5\r", b"5\r\nTransfer-Encoding: chunked\r"),
        get.replace(b"Host: x", b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x"),
        get.replace(b"Host: x", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x") + get,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + get,
        b"\x16\x03\x01\x02\x00" + bytes(500),
        get.replace(b"/a", b"http://x/%ff%00?%"), get.replace(b"/a", b"*"), get.replace(b"Host: x",
        b"Host: x\r\n y: z"),
        get.replace(b"Host: x", b"\xff: \xff\r\nX-Request-ID: " + b"a" * 300), b"GET /a\r\n\r\n", b"", post[:-3],
    ]  # fmt: skip
    return [
        *(b"\0" + request for request in requests), *(b"\1" + request for request in requests),
        *(bytes([5, 0, 3]) + request for request in requests),
    ]  # fmt: skip


_WORDS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"GET ", b"POST ", b"HEAD ", b"CONNECT ", b" HTTP/1.1", b" HTTP/1.0",
    b"Host: x\r\n",
    b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: Upgrade\r\n",
    b"0\r\n\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"a: b\r\n", b"a: b\r\n" * 20, b"ffffffffffffffff\r\n",
    b"/e", b";x=",
    b"\0", b"\xff", b"%00", b"?", b"#", b"://", b"\t", b": ",
)  # fmt: skip

TARGETS = (Target("connection", _connect, _seeds, _WORDS, max_bytes=128 * 1024),)
