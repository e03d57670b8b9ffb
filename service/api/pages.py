"""What people look at: the page at /, Swagger UI at /docs, and the files of both. No other host is asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.gzip import GZipMiddleware

_STATIC = Path(__file__).parents[1] / "static"
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"

_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_POLICY = f"{_NOTHING_ELSE}; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'"
"""Content-Security-Policy of the page: its own files, its own service, and pictures that it made itself."""
DOCS_POLICY = (
    f"{_NOTHING_ELSE}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
    "connect-src 'self'"
)
"""Swagger UI's: it draws its icons from data: addresses and sets styles of its own. No inline script here either."""

_ASKED_EACH_TIME = {"Cache-Control": "no-cache"}  # 304 as long as nothing changed, the new page after an upgrade


def add_pages(app: FastAPI) -> None:
    """Serve both pages, from files of installed packages."""
    # a third of the bytes before the first paint
    app.mount("/static", GZipMiddleware(_Files(_STATIC, PAGE_POLICY), minimum_size=1000), name="static")
    app.mount("/swagger", _Files(_SWAGGER, DOCS_POLICY), name="swagger")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_STATIC / "index.html", headers=_headers(PAGE_POLICY))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(_STATIC / "docs.html", headers=_headers(DOCS_POLICY))


def _headers(policy: str) -> Mapping[str, str]:
    return {"Content-Security-Policy": policy, **_ASKED_EACH_TIME}


class _Files(StaticFiles):
    """A folder whose files carry a policy."""

    def __init__(self, folder: Path, policy: str) -> None:
        super().__init__(directory=folder)
        self._headers = _headers(policy)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(self._headers)
        return response
