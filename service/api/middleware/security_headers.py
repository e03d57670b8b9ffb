"""What browsers are told about this service: security headers on every answer, and which other sites may call."""

from collections.abc import Callable, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import OriginNotAllowed

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Of every answer. Transport security (HSTS) belongs to the proxy that has the certificate."""

NO_FRAMES = (b"content-security-policy", b"frame-ancestors 'none'")
"""Of every answer without a policy of its own, as pages have."""

_READABLE = (
    "X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy",
    "X-Image-Frames", "X-Window-Level", "X-Window-Width",
)  # fmt: skip


class CrossOrigin(CORSMiddleware):
    """Lets pages of these origins call, without cookies; browsers ask first (preflight), and without a key.

    A page of another origin sees only that it failed; the answer to its preflight names the setting, for who looks.
    Without origins that is all it does: other answers are the same for everybody, and name none.
    """

    def __init__(
        self, app: ASGIApp, origins: Sequence[str], as_problem: Callable[[Request, Exception], Response]
    ) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("Content-Type", "X-API-Key", "X-Request-ID"),
            expose_headers=_READABLE,
        )
        self._as_problem = as_problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            request = Request(scope)
            is_preflight = "origin" in request.headers and "access-control-request-method" in request.headers
            if is_preflight and not self.is_allowed_origin(request.headers["origin"]):
                await self._as_problem(request, OriginNotAllowed())(scope, receive, send)
                return
        await (super().__call__ if self.allow_origins else self.app)(scope, receive, send)
