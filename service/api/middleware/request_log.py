"""What surrounds every request: its id, its time, one log line, its metrics, and a problem where the code broke."""

import logging
import os
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.exception_handlers import CLIENT_GONE
from service.api.middleware.security_headers import NO_FRAMES, SECURITY_HEADERS
from service.api.problems import InternalError, problem_response
from service.logging_config import REQUEST_ID
from service.metrics import Metrics

log = logging.getLogger("lungct.request")

REQUEST_ID_HEADER = "X-Request-ID"
_HEADER = REQUEST_ID_HEADER.lower().encode()
_PROBES = ("/health", "/health/live", "/health/ready", "/metrics")
_FIRST_ERROR = 400
_ACCEPTED_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """ASGI middleware. Neither path, query, file name nor body reaches the log: they may name a patient."""

    def __init__(self, app: ASGIApp, metrics: Metrics, root_path: str = "") -> None:
        self._app = app
        self._metrics = metrics
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        if self._root_path and not f"{scope['path']}/".startswith(f"{self._root_path}/"):
            # ASGI wants the prefix in the path, the proxy stripped it, and mounted folders are not found without
            scope["path"] = self._root_path + scope["path"]
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        REQUEST_ID.set(request_id)  # each request is a task of its own
        status = CLIENT_GONE

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                headers.append((_HEADER, request_id.encode()))
                headers.extend(SECURITY_HEADERS)
                if NO_FRAMES[0] not in dict(headers):
                    headers.append(NO_FRAMES)
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("request broke", extra={"request_id": request_id})
            if status == CLIENT_GONE:
                await problem_response(InternalError(), request_id)(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - started, request_id)

    def _record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        state, route = scope["state"], getattr(scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(route, scope["method"], status).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        log.log(
            logging.DEBUG if route in _PROBES and status < _FIRST_ERROR else logging.INFO,
            "request",
            extra={
                "request_id": request_id,
                "route": route,
                "method": scope["method"],
                "status": status,
                "duration_ms": round(seconds * 1e3, 2),
                **({"caller": state["caller"].name} if "caller" in state else {}),
                **state.get("log", {}),
            },
        )


def _request_id(scope: Scope) -> str:
    """The caller's id where it is short and harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == _HEADER and _ACCEPTED_ID.fullmatch(value):
            return str(value, "ascii")
    return os.urandom(16).hex()  # what uuid4() would give, for a fifth of its time
