"""Who may call what: the key is looked at before anything of the body is read."""

from collections.abc import Mapping

from starlette.types import Message, Receive, Scope, Send

from service.api.fast_path import FastPath
from service.api.problems import refused
from service.auth.api_keys import ApiKeys
from service.auth.rate_limit import Limit
from service.errors import ProblemError, ProblemKind
from service.metrics import Metrics
from service.settings import PublicPart

KEY_HEADER = "X-API-Key"
_HEADER = KEY_HEADER.lower().encode()
_CHALLENGE = {"WWW-Authenticate": f'ApiKey realm="lungct", header="{KEY_HEADER}"'}

_PARTS: Mapping[str, PublicPart] = {
    "/": "page",
    "/static": "page",
    "/docs": "docs",
    "/openapi.json": "docs",
    "/swagger": "docs",
    "/metrics": "metrics",
    "/model-info": "model-info",
}
"""What may be made public, by the first segment of its path."""


def is_public(path: str, public: frozenset[PublicPart]) -> bool:
    """Whether the path (without root path) asks for no key. /health never does: orchestrators have none."""
    first = "/" + path.removeprefix("/").partition("/")[0]
    return first == "/health" or _PARTS.get(first) in public


class Unauthorized(ProblemError):
    """The service has keys, and the request has none in X-API-Key, or an unknown one. Nothing of the body was read."""

    kind = ProblemKind("unauthorized", 401, "Key missing or wrong")
    message = "This address needs a key in X-API-Key."
    headers = _CHALLENGE


class RateLimited(ProblemError):
    """The key has asked for as many slices as it may in its time."""

    kind = ProblemKind("rate-limited", 429, "Limit reached", lambda: RateLimited("pacs", Limit(600, 60), 1.3))

    def __init__(self, caller: str, limit: Limit, retry_after_s: float) -> None:
        detail = f"The key {caller} may ask for {limit.count} slices in {limit.seconds} s; it has used them up."
        super().__init__(detail, retry_after_s=retry_after_s)


class KeysUnavailable(ProblemError):
    """The file of keys cannot be read, so nobody can be let in."""

    kind = ProblemKind("keys-unavailable", 503, "Keys cannot be read", lambda: KeysUnavailable(retry_after_s=1.3))
    message = "The list of keys cannot be read now, so nobody is let in."


class KeyAuth:
    """ASGI middleware, where keys are configured: names the caller, or answers 401, 429 or 503."""

    def __init__(
        self, app: FastPath, keys: ApiKeys, metrics: Metrics, public: frozenset[PublicPart], root_path: str = ""
    ) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._public = public
        self._root_length = len(root_path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        key = next((value for name, value in scope["headers"] if name == _HEADER), None)
        caller = self._keys.find(key) if key is not None else None
        if caller is None:
            if is_public(scope["path"][self._root_length :], self._public):
                await self._app(scope, receive, send)
            elif self._keys.is_closed:
                await self._refuse(scope, receive, send, KeysUnavailable(retry_after_s=self._keys.poll_interval_s))
            else:
                detail = "That key is not known here." if key is not None else None
                await self._refuse(scope, receive, send, Unauthorized(detail))
            return
        state = scope["state"]
        state["caller"] = caller
        self._metrics.caller_requests.labels(caller.name).inc()
        allowance = caller.allowance
        if allowance is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return

        async def send_with_limit(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", []).extend(allowance.fields())
            await send(message)

        if not allowance.take():
            problem = RateLimited(caller.name, allowance.limit, allowance.retry_after_s)
            await self._refuse(scope, receive, send_with_limit, problem)
        else:
            await self._app(scope, receive, send_with_limit)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, problem: ProblemError) -> None:
        if route := self._app.direct.get(scope["path"]):
            scope["route"] = route
        await refused(scope, problem, self._metrics)(scope, receive, send)
