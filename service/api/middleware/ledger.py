"""What of an answer is written into the ledger, and that it is before the answer leaves."""

import hashlib
import hmac
import secrets
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import problems
from service.api.problems import ProblemError, problem_response
from service.api.uploads import Digest
from service.ledger.writer import Ledger, LedgerUnavailable
from service.metrics import Metrics
from service.model.serving_model import ServingModel
from service.schemas import Prediction


class InputDigests:
    """Keyed digests of inputs (HMAC-SHA-256).

    Without the key nobody can tell from a ledger whether a slice that he has was asked about. Without a key file the
    key is drawn at start and forgotten at the end: then equal inputs are known as equal only within one run.
    """

    def __init__(self, key: bytes | None) -> None:
        key = key or secrets.token_bytes(32)
        self._empty = hmac.new(key, digestmod=hashlib.sha256)
        self.key_id = hmac.new(key, b"key id", hashlib.sha256).hexdigest()[:16]
        """Tells lines of one key from those of another, and nothing of the key."""

    def begin(self) -> Digest:
        """A digest of nothing yet, to be fed while an input arrives."""
        return self._empty.copy()


def facts_of(model: ServingModel, prediction: Prediction) -> dict[str, Any]:
    """What is written of an answer: which model gave it, under which rules, and what it was."""
    decision = prediction.decision
    return {
        "model_version": model.version,
        "model": model.digest,
        "preprocessing": model.preprocessing_digest,
        "operating_point": decision and decision.operating_point,
        "outcome": prediction.prediction,
        "verdict": decision and decision.verdict,
    }


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
            if (
                not is_over
            ):  # the answer to a bug says nothing of the input: it leaves even where this cannot be written
                scope["state"]["log"] = {"problem": problems.INTERNAL_ERROR.name}
                with suppress(LedgerUnavailable):
                    await self._record(scope, problems.INTERNAL_ERROR.status)
            raise
        if not is_over:
            await self._record(scope, None)

    async def _record(self, scope: Scope, status: int | None) -> None:
        state = scope["state"]
        noted = state.get("log", {})
        if noted.get("problem") == problems.UNAUTHORIZED.name:
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
        problem = ProblemError(problems.LEDGER_UNAVAILABLE, retry_after_s=1.0)
        self._metrics.rejected.labels(problem.kind.name).inc()
        scope["state"]["log"] = {"problem": problem.kind.name}
        await problem_response(problem, scope["state"]["request_id"])(scope, receive, send)
