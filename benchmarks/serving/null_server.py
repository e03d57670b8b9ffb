"""Answers every POST at once with nothing behind it: what wrk reaches against it is the generator's own limit."""

import asyncio
import os

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class _Sink(asyncio.Protocol):
    """Counts body bytes and keeps none."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            self._head, self._left, data = b"", int(length[15:]), body
        self._left -= len(data)
        if not self._left:
            self._transport.write(_ANSWER)  # type: ignore[attr-defined] # TCP: a WriteTransport


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", int(os.environ["BENCH_PORT"]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
