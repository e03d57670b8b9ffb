"""uvicorn's HTTP protocol with bounds on what a connection sends around its bodies, and on how long it takes.

uvicorn takes heads of any size, at any pace, before anybody is asked for a key. What is refused here gets its problem,
its log line and its place in the metrics like everything else.
"""

import asyncio
from asyncio.events import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httptools
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.api.connection.lingering import LingeringTransport, Patience
from service.api.middleware.request_log import RequestLog
from service.api.problems import HeadersTooLarge, HeadTooSlow, MalformedHttp, TargetTooLong, refused
from service.errors import ProblemError
from service.metrics import Metrics


@dataclass(frozen=True)
class HttpLimits:
    """Of one connection: far more than any client of this service sends."""

    line_bytes: int = 8 * 1024
    """Of the target, and of one field, name and value."""
    fields: int = 100
    head_bytes: int = 64 * 1024
    head_s: float = 10.0
    """From the first byte of a head to its last, and from a connection to its first byte."""
    framing_bytes: int = 8 * 1024
    """Of a chunked body between two pieces of content: sizes, extensions, trailers."""
    chunks: int = 1000
    """More where they have 64 bytes on average."""
    pipelined: int = 16
    """Requests that wait while the ones before them are answered."""
    patience: Patience = field(default_factory=Patience)


def http_protocol(metrics: Metrics, limits: HttpLimits | None = None) -> Callable[..., asyncio.Protocol]:
    """What uvicorn's Config takes as `http`."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        problem: ProblemError = scope["state"]["refusal"]
        await refused(scope, problem, metrics)(scope, receive, send)

    return partial(HttpProtocol, refuse=RequestLog(refuse, metrics), limits=limits or HttpLimits())


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    transport: LingeringTransport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        refuse: ASGIApp,
        limits: HttpLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._refuse_app = refuse
        self._limits = limits
        self._max_fields = limits.fields
        self._is_parsed = True  # and once it is not, never again
        self._is_in_head = self._is_in_body = False
        self._head_bytes = 0  # as they come: the parser tells nothing of a line before its end
        self._head_timer: TimerHandle | None = None
        self._body_bytes = self._chunks = 0
        self._framing_bytes = 0  # that came since the last piece of content

    # --- what comes ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connected, and has some time to say what for."""
        super().connection_made(LingeringTransport(transport, self.loop, self._limits.patience))
        self.timeout_keep_alive_task = self.loop.call_later(self._limits.head_s, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._stop_parsing()
        self._unset_keepalive_if_required()
        self.transport.stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of a head, a body, or both; or of what nobody wants any more."""
        if self.transport.is_waiting or not self._is_parsed:
            self.transport.throw_away(len(data), is_framed=self._is_parsed)
            if self.transport.is_closing() or not self._is_parsed:
                return
        self._unset_keepalive_if_required()
        was_in_body = self._is_in_body
        if was_in_body:
            self._framing_bytes += len(data)
        else:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # answered as if it had not asked for another protocol; but where its body ends the parser cannot tell
            self._end_with_current()
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _TooManyPipelined):
                self._end_with_current()  # what gets no answer is repeated by its sender (RFC 9112, 9.3.2)
            else:
                self._refuse(cause if isinstance(cause, ProblemError) else MalformedHttp())
        else:
            self._check_progress(was_in_body=was_in_body)

    def _check_progress(self, *, was_in_body: bool) -> None:
        if self._is_in_body:
            if was_in_body and self._framing_bytes > self._limits.framing_bytes:
                self._refuse(MalformedHttp("Trailers and long chunk lines are not accepted."))
        elif self._head_bytes > self._limits.head_bytes:
            self._refuse(HeadersTooLarge())
        elif (self._is_in_head or self._head_bytes) and not self._head_timer:
            self._head_timer = self.loop.call_later(self._limits.head_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.flow.read_paused:  # it is this side that does not listen
            self._head_timer = self.loop.call_later(self._limits.head_s, self._head_is_late)
        elif self._is_in_head:
            self._refuse(HeadTooSlow())
        else:
            self.transport.close()  # empty lines, and no request

    def eof_received(self) -> bool:  # type: ignore[override]
        """The caller sends no more. True keeps the connection, for the answer to a request that came whole."""
        cycle = self.cycle
        if self._is_in_body or self.transport.is_closing() or cycle is None or cycle.response_complete:
            return False
        cycle.keep_alive = False
        if not self.pipeline and not cycle.response_started:
            self.transport.begin_answer()
        return True

    def shutdown(self) -> None:
        """The server ends: an answer that is given has a moment to be heard, one that is not is waited for."""
        self.transport.hurry()
        if not self.transport.is_closing():  # a second close() would be heard before the answer
            super().shutdown()

    # --- what the parser tells ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        super().on_message_begin()
        self._is_in_head = True

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        super().on_url(url)
        if len(self.url) > self._limits.line_bytes:
            raise TargetTooLong

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field, whole."""
        if self._is_in_body:
            raise MalformedHttp("Trailers are not accepted.")
        if len(self.headers) >= self._max_fields:
            raise HeadersTooLarge
        HttpToolsProtocol.on_header(self, name, value)  # super() would cost as much as all of this, ten times a request

    def on_headers_complete(self) -> None:
        """A head, whole: its request is answered now, or waits for its turn."""
        sizes = [len(name) + len(value) for name, value in self.headers]
        if max(sizes, default=0) > self._limits.line_bytes or sum(sizes) + len(self.url) > self._limits.head_bytes:
            raise HeadersTooLarge
        if len(self.pipeline) >= self._limits.pipelined:
            raise _TooManyPipelined
        super().on_headers_complete()
        self._is_in_head = self.transport.is_all_read = False
        self._is_in_body = True
        self._head_bytes = self._body_bytes = self._framing_bytes = self._chunks = 0
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def on_chunk_header(self) -> None:
        """The line before a chunk."""
        self._framing_bytes = 0
        self._chunks += 1
        if self._chunks > self._limits.chunks + self._body_bytes // 64:
            raise MalformedHttp("Bodies in chunks of a few bytes are not accepted.")

    def on_body(self, body: bytes) -> None:
        """A piece of content."""
        self._framing_bytes = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        super().on_message_complete()
        self._is_in_body = False
        self.transport.is_all_read = True
        self._head_bytes = 0
        if self.transport.is_waiting:  # it was answered before
            self.transport.stop_waiting()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """An answer was given, perhaps before its request had come whole."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._is_in_body and self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.transport.wait_for_rest()
        elif self._head_timer:
            self._unset_keepalive_if_required()

    # --- what is refused ----------------------------------------------------------------------------------------------

    def _refuse(self, problem: ProblemError) -> None:
        """Answer in place of the request that is coming in, after those before it, and close."""
        before, is_free = self.cycle, self.cycle is None or self.cycle.response_complete
        if self._is_in_body:
            if before.response_started:
                self._stop_parsing()
                self.transport.close()
                return
            before.disconnected = True
            before.message_event.set()
            if self.pipeline:
                self.pipeline.popleft()
            else:
                is_free = True
        else:
            if not self._is_in_head:
                self.on_message_begin()  # not one byte of a request
            self.scope["method"] = self.parser.get_method().decode() if self.url else "UNKNOWN"
            self.scope["path"], self.scope["raw_path"], self.scope["query_string"] = "", b"", b""
        self._stop_parsing()
        state = {**self.app_state, "refusal": problem}
        self.cycle = RequestResponseCycle(
            scope={**self.scope, "state": state},
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        if is_free and not self.pipeline:
            self._start_asgi_task(self.cycle, self._refuse_app)  # type: ignore[arg-type]
        else:
            self.pipeline.appendleft((self.cycle, self._refuse_app))  # type: ignore[arg-type]

    def _end_with_current(self) -> None:
        self._stop_parsing()
        self.cycle.keep_alive = False

    def _stop_parsing(self) -> None:
        self._is_parsed = self._is_in_head = self._is_in_body = self.transport.is_all_read = False
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None


class _TooManyPipelined(Exception):
    """Ends parsing."""
