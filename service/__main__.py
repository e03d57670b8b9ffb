"""python -m service: serve until SIGTERM, then drain and exit 0."""

import argparse
import importlib.util
import logging
import os
import signal
import sys
import time
from types import FrameType

import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp

from service.answering import Service
from service.app import build_service, create_app
from service.logs import configure_logging
from service.memory import collect_rarely, limit_arenas
from service.settings import ServiceSettings
from shared import signing

log = logging.getLogger("lungct.service")

_EXIT_USAGE = 2


class DrainingServer(uvicorn.Server):
    """On SIGTERM or SIGINT it turns not ready and goes on answering for the drain delay; a second signal cuts it short.

    uvicorn's own handler closes the door at once, so that a load balancer which has not noticed yet sends into a void.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._close_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Take a signal. uvicorn would raise it again at the end, and the exit code would not be 0."""
        if self._close_at is not None:
            self._close_at = 0.0
            self.force_exit = self._service.readiness.is_closed  # nothing is left to cut short but the grace period
            return
        delay_s = self._service.settings.drain_delay_s
        self._close_at = time.monotonic() + delay_s
        self._service.readiness.is_draining = True
        # whoever keeps a connection open reconnects, and so finds another instance before this one closes its door
        self.config.encoded_headers.append((b"connection", b"close"))
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        log.info("draining", extra={"signal": signal.Signals(sig).name, "drain_delay_s": delay_s})

    async def on_tick(self, counter: int) -> bool:
        """True ends serving; uvicorn asks ten times a second."""
        if self._close_at is not None and time.monotonic() >= self._close_at:
            self._service.readiness.is_closed = True
            return True
        return await super().on_tick(counter)


def main() -> int:
    """Read the settings, serve, and return the exit code."""
    _parse_arguments()
    try:
        settings = ServiceSettings()
    except ValidationError as error:
        for one in error.errors():
            name = "LUNGCT_" + "_".join(str(part) for part in one["loc"]).upper() if one["loc"] else "settings"
            sys.stderr.write(f"{name}: {one['msg']}, got {one['input']!r}\n")
        return _EXIT_USAGE
    if importlib.util.find_spec(settings.engine) is None:
        sys.stderr.write(
            f"LUNGCT_ENGINE: the package {settings.engine} is not installed; "
            "OpenVINO comes with lungct[service], TensorFlow with lungct[trainer]\n"
        )
        return _EXIT_USAGE
    if settings.trusted_key is not None:
        try:
            signing.require_library()
            signing.trusted_keys(settings.trusted_key)
        except signing.UnusableKey as error:
            sys.stderr.write(f"LUNGCT_TRUSTED_KEY: {error.strerror}\n")
            return _EXIT_USAGE
    configure_logging(settings.log_level)
    limit_arenas(2)
    service = build_service(settings)
    server = DrainingServer(_uvicorn_config(create_app(service), settings), service)
    collect_rarely()
    server.run()
    return _end(server, service)


def _uvicorn_config(app: ASGIApp, settings: ServiceSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.grace_period_s)),
    )


def _end(server: DrainingServer, service: Service) -> int:
    """0 after a clean end. Threads that hang in a stalled volume or engine must not keep the process alive."""
    if not server.started:
        return 1
    batcher = service.predictor.batcher
    is_clean = service.reload.stop(patience_s=1.0) and not batcher.depth and not batcher.oldest_batch_s
    log.info("stopped", extra={"is_clean": is_clean})
    if not is_clean:
        logging.shutdown()
        os._exit(0)
    return 0


def _parse_arguments() -> None:
    lines = []
    for name, field in ServiceSettings.model_fields.items():
        lines.append(f"  LUNGCT_{name.upper()}\n      {field.description} Default: {field.default or repr('')}")
    argparse.ArgumentParser(
        prog="python -m service",
        description="Serve the newest valid model of a repository over HTTP. Settings are environment variables:",
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


if __name__ == "__main__":
    sys.exit(main())
