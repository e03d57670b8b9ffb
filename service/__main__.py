"""python -m service: serve until SIGTERM, then drain and exit 0. make-key and verify-ledger: what operators need."""

import argparse
import importlib.util
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import uvicorn
from pydantic import ValidationError
from starlette.types import ASGIApp

from service.answering import Service
from service.api_keys import KeysError, key_line, make_key
from service.app import build_service, create_app
from service.ledger_chain import Link
from service.ledger_check import check_ledger
from service.logs import configure_logging
from service.memory import collect_rarely, limit_arenas
from service.rate_limit import Limit
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
    """Do what the arguments say, and return the exit code."""
    args = _parse_arguments()
    if args.verb == "make-key":
        return _make_key(args)
    if args.verb == "verify-ledger":
        return _verify_ledger(args)
    return _serve()


def _serve() -> int:
    """Read the settings, serve, and return the exit code."""
    try:
        settings = ServiceSettings()
    except ValidationError as error:
        for one in error.errors():
            name = "LUNGCT_" + "_".join(str(part) for part in one["loc"]).upper() if one["loc"] else "settings"
            got = f", got {one['input']!r}" if one["loc"] else ""  # all settings would come, keys among them
            sys.stderr.write(f"{name}: {one['msg']}{got}\n")
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
    try:
        service = build_service(settings)
    except KeysError as error:
        sys.stderr.write(f"LUNGCT_API_KEYS: {error}\n")
        return _EXIT_USAGE
    except OSError as error:
        sys.stderr.write(f"LUNGCT_LEDGER_KEY_FILE: {error}\n")
        return _EXIT_USAGE
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


# --- verbs of operators -----------------------------------------------------------------------------------------------


def _make_key(args: argparse.Namespace) -> int:
    """The key to standard error, for its caller and for nobody else; its line to standard output, for the file."""
    key = make_key()
    try:
        line = key_line(args.name, key, Limit.parse(args.limit) if args.limit else None)
    except ValueError as error:
        sys.stderr.write(f"make-key: {error}\n")
        return _EXIT_USAGE
    sys.stderr.write(f"Key of {args.name}, shown only now (X-API-Key): {key}\n")
    sys.stdout.write(f"{line}\n")
    return 0


def _verify_ledger(args: argparse.Namespace) -> int:
    """Exit code 0 where the chain is whole, 1 where it is not."""
    folder = args.folder or os.environ.get("LUNGCT_LEDGER_DIR")
    try:
        if not folder:
            raise ValueError("expected a folder as the argument or in LUNGCT_LEDGER_DIR, got none")
        verdict = check_ledger(Path(folder), map(Link.parse, args.anchor), is_part=args.part)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"verify-ledger: {error}\n")
        return _EXIT_USAGE
    sys.stdout.write(verdict.as_json() if args.json else verdict.as_text())
    return 1 if verdict.problems else 0


def _parse_arguments() -> argparse.Namespace:
    lines = []
    for name, field in ServiceSettings.model_fields.items():
        default = ",".join(sorted(field.default)) if isinstance(field.default, frozenset) else field.default
        lines.append(f"  LUNGCT_{name.upper()}\n      {field.description} Default: {default or repr('')}")
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve the newest valid model of a repository over HTTP; or, with a verb, do what operators need.",
        epilog="\n".join(["Settings of the service are environment variables:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="{serve,make-key,verify-ledger}")
    verbs.add_parser("serve", help="serve until SIGTERM; the same as no verb")
    key = verbs.add_parser(
        "make-key",
        help="make a key for a caller",
        description="Make a key. Its line, with the hash only, goes to standard output, so `>> keys.txt` adds it to "
        "the file of LUNGCT_API_KEYS_FILE; the key itself goes to standard error and is shown only this once.",
    )
    key.add_argument("name", help="what log, metrics and ledger call the caller; letters, digits, '.', '_', '-'")
    key.add_argument(
        "--limit", metavar="COUNT/SECONDS", help="most slices in a time, such as 600/60 (default: no limit)"
    )
    verify = verbs.add_parser(
        "verify-ledger",
        help="find what was changed, removed or moved in a ledger",
        description="Follow the chain through all files of a ledger. Exit code 0: whole; 1: not; 2: not to be read.",
    )
    verify.add_argument("folder", nargs="?", help="the ledger's folder (default: LUNGCT_LEDGER_DIR)")
    verify.add_argument(
        "--anchor",
        metavar="SEQ:HASH",
        action="append",
        default=[],
        help="a line that must be there, from the service's log (`ledger anchor`): the chain alone does not show that "
        "its end was cut off, or all of it written anew; may be given several times",
    )
    verify.add_argument("--part", action="store_true", help="older files were moved away: let it begin anywhere")
    verify.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
