"""How a connection ends: so that an answer is heard by those who still send, and by those who send no more."""

import asyncio
import socket
from asyncio.events import TimerHandle
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

_EVERY_ANSWER = b"HTTP/1.1 "
"""Begins with it."""

_MOMENT_S = 1.0
"""For an answer to be heard in, where the server ends."""


@dataclass(frozen=True)
class Patience:
    """With the rest of a request whose answer was given early: it is read, and thrown away."""

    seconds: float = 30.0
    silence_s: float = 5.0
    """Who sends nothing for so long, or at most twice as long, is not waited for."""
    rest_bytes: int = 256 * 1024 * 1024
    """Of a body."""
    unframed_bytes: int = 64 * 1024 * 1024
    """Of what nobody can tell any more what it is part of."""


class LingeringTransport(asyncio.Transport):
    """A connection's transport as uvicorn sees it. close() lets the other side hear what was written.

    Bytes that come into a closed socket are answered with a reset, which takes the answer away from its reader. So
    where there are any, only this side's half is closed at first (RFC 9112, 9.6).
    """

    def __init__(self, raw: asyncio.Transport, loop: asyncio.AbstractEventLoop, patience: Patience) -> None:
        super().__init__()
        self._raw = raw
        self._loop = loop
        self._patience = patience
        self._rest_bytes = 0
        self._is_heard = self._is_ending = self._is_begun = False
        self._until = 0.0
        self._timer: TimerHandle | None = None
        self.is_all_read = True
        """Whether nothing more belongs to a request that came. Its reader keeps it true."""

    # --- asyncio's transport, as far as uvicorn uses it ---------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio."""
        return self._raw.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """See asyncio."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio."""
        self._raw.resume_reading()

    def is_closing(self) -> bool:
        """Whether close() was called, or the connection is lost."""
        return self._is_ending or self._raw.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        if self._is_begun:
            self._is_begun = False
            data = bytes(data).removeprefix(_EVERY_ANSWER)
        self._raw.write(data)

    def close(self) -> None:
        """Close; once the rest was read, or waited for long enough, where there is any."""
        if self._is_ending or self.is_all_read or self._raw.is_closing():
            self._raw.close()
            return
        self._is_ending = True
        with suppress(OSError):  # nobody is there any more, as reading will tell
            self._raw.write_eof()
        self._raw.resume_reading()
        self.wait_for_rest()

    def abort(self) -> None:
        """Close at once."""
        self._raw.abort()

    # --- callers who still send ---------------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether what comes now is no more than the rest of something."""
        return self._timer is not None

    def wait_for_rest(self) -> None:
        """The caller has some time to send the rest of its request, from now on or since it was first waited for."""
        if not self.is_waiting:
            self._until = self._loop.time() + self._patience.seconds
            self._listen()

    def hurry(self) -> None:
        """The server ends: nobody is waited for longer than a moment, neither now nor after an answer to come."""
        self._patience = replace(self._patience, seconds=_MOMENT_S)
        if self.is_waiting:
            self.stop_waiting()
            self.wait_for_rest()

    def stop_waiting(self) -> None:
        """It has come, or the connection is lost."""
        self._rest_bytes = 0
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def throw_away(self, count: int, *, is_framed: bool) -> None:
        """So many bytes of the rest came."""
        self._is_heard = True
        self._rest_bytes += count
        if self._rest_bytes > (self._patience.rest_bytes if is_framed else self._patience.unframed_bytes):
            self._raw.abort()

    def _listen(self) -> None:
        self._is_heard = False
        self._timer = self._loop.call_later(min(self._patience.silence_s, self._until - self._loop.time()), self._look)

    def _look(self) -> None:
        if not self._is_heard or self._loop.time() >= self._until:
            self._raw.abort()
        else:
            self._listen()

    # --- callers who send no more -------------------------------------------------------------------------------------

    def begin_answer(self) -> None:
        """Send the bytes that every answer begins with, to a caller who sends no more, and abort where it is gone.

        Who has hung up and who only sends no more look alike: until something is sent, which a closed socket replies to
        with a reset. Nothing is read any more, so somebody has to look for it.
        """
        self.write(_EVERY_ANSWER)
        self._is_begun = True
        self._look_for_reset(0.0)

    def _look_for_reset(self, after_s: float) -> None:
        if not self._is_begun or self._raw.is_closing():
            return
        if self._raw.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._raw.abort()
        else:
            self._loop.call_later(after_s, self._look_for_reset, min(1.0, 2 * after_s + 0.002))
