"""What browsers are told about this service: security headers on every answer, and which other sites may call."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

_CSP = b"content-security-policy"

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Of every answer. Transport security (HSTS) belongs to the proxy that has the certificate."""

_NO_FRAMES = (_CSP, b"frame-ancestors 'none'")
"""Of every answer without a policy of its own, as pages have."""

_READABLE = (
    "X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy",
    "X-Image-Frames", "X-Window-Level", "X-Window-Width",
)  # fmt: skip


def secure(headers: list[tuple[bytes, bytes]]) -> None:
    """Add what every answer carries."""
    headers.extend(SECURITY_HEADERS)
    for name, _ in headers:
        if name == _CSP:
            return
    headers.append(_NO_FRAMES)


def allow_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of these origins call, without cookies; browsers ask first (preflight), and without a key."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("Content-Type", "X-API-Key", "X-Request-ID"),
        expose_headers=_READABLE,
    )
