"""That the lines of an answer are in the ledger before it leaves."""

from contextlib import suppress
from hmac import HMAC
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.middleware.auth import Unauthorized
from service.api.problems import InternalError, refused
from service.ledger.writer import Ledger, LedgerUnavailable
from service.metrics import Metrics


def begin_facts(request: Request, digest: HMAC) -> dict[str, Any]:
    """The facts of one slice of a request, in the order in which slices come; its answer is added by whoever has it."""
    facts = {"input": digest.hexdigest()}
    request.scope["state"].setdefault("ledger", []).append(facts)
    return facts


class LedgerMiddleware:
    """ASGI middleware, where there is a ledger: every POST is somebody asking about an image, and gets its lines.

    What answers leaves facts in scope["state"]["ledger"], a list with one dict for each slice; what is known of every
    request, and why one was refused, is added here.
    """

    def __init__(self, app: ASGIApp, ledger: Ledger, metrics: Metrics) -> None:
        self._app = app
        self._ledger = ledger
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        is_over = is_replaced = False

        async def send_recorded(message: Message) -> None:
            nonlocal is_over, is_replaced
            if message["type"] == "http.response.start":
                is_over = True
                try:
                    await self._record(scope, message["status"])
                except LedgerUnavailable:
                    is_replaced = True
                    await self._refuse(scope, receive, send)
            if not is_replaced:
                await send(message)

        try:
            self._ledger.check()
        except LedgerUnavailable:
            await self._refuse(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send_recorded)
        except Exception:
            if not is_over:  # the answer to a bug says nothing of the input: it leaves even where this is not written
                scope["state"]["log"] = {"problem": InternalError.kind.name}
                with suppress(LedgerUnavailable):
                    await self._record(scope, InternalError.kind.status)
            raise
        if not is_over:
            await self._record(scope, None)

    async def _record(self, scope: Scope, status: int | None) -> None:
        state = scope["state"]
        noted = state.get("log", {})
        if noted.get("problem") == Unauthorized.kind.name:
            self._ledger.count_unauthorized()
            return
        common = {
            "request_id": state["request_id"],
            "route": getattr(scope.get("route"), "path", "unmatched"),
            "caller": state["caller"].name if "caller" in state else None,
            "status": status,
        }
        refusal = {"outcome": noted["problem"]} if "problem" in noted else {}
        await self._ledger.record([{**common, **facts, **refusal} for facts in state.get("ledger") or [{}]])

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refused(scope, LedgerUnavailable(), self._metrics)(scope, receive, send)
