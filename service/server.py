"""uvicorn, with an end that no request notices."""

import logging
import signal
import socket
import time
from types import FrameType

import uvicorn

from service.api.connection.http_protocol import http_protocol
from service.api.state import AppState
from service.app import create_app
from service.early_signals import EarlySignals
from service.memory import collect_rarely

log = logging.getLogger("lungct.service")


def serve_http(state: AppState, early: EarlySignals) -> bool:
    """Answer until SIGTERM or SIGINT. False where nothing could be served: the port is not free.

    early: whether a signal came before this.
    """
    settings = state.settings
    config = uvicorn.Config(
        create_app(state),
        http=http_protocol(state.metrics),  # type: ignore[arg-type] # called, never subclassed
        ws="none",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.grace_period_s)),
    )
    server = DrainingServer(config, state, early)
    collect_rarely()
    server.run()
    return server.started or early.came


class DrainingServer(uvicorn.Server):
    """On SIGTERM or SIGINT it turns not ready and goes on answering for the drain delay; a second signal cuts it short.

    uvicorn's own handler closes the door at once, so that a load balancer which has not noticed yet sends into a void.
    """

    def __init__(self, config: uvicorn.Config, state: AppState, early: EarlySignals) -> None:
        super().__init__(config)
        self._early = early
        self._state = state
        self._close_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Nothing is started where the signal came before uvicorn took signals."""
        if self._early.came:
            self.should_exit = True
        else:
            await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Take a signal. uvicorn would raise it again at the end, and the exit code would not be 0."""
        if self._close_at is not None:
            self._close_at = 0.0
            self.force_exit = self._state.readiness.is_closed  # nothing is left to cut short but the grace period
            return
        delay_s = self._state.settings.drain_delay_s
        self._close_at = time.monotonic() + delay_s
        self._state.readiness.is_draining = True
        # whoever keeps a connection open reconnects, and so finds another instance before this one closes its door
        self.config.encoded_headers.append((b"connection", b"close"))
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        log.info("draining", extra={"signal": signal.Signals(sig).name, "drain_delay_s": delay_s})

    async def on_tick(self, counter: int) -> bool:
        """True ends serving; uvicorn asks ten times a second."""
        if self._close_at is not None and time.monotonic() >= self._close_at:
            self._state.readiness.is_closed = True
            return True
        return await super().on_tick(counter)
