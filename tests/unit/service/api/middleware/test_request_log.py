"""What surrounds every request: id, time, log line, metrics, and a problem where the code broke."""

import asyncio
import json
import logging
from collections.abc import Sequence

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.api.middleware.request_log import RequestLog
from service.metrics import Metrics

Headers = Sequence[tuple[bytes, bytes]]


async def fine(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI
    """An application that answers."""
    scope["route"] = type("Route", (), {"path": "/predict"})
    scope["state"]["log"] = {"model_version": 3}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def broken(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI
    """An application with a bug."""
    raise RuntimeError("secret detail")


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """An application whose caller hung up."""


class Call:
    """One request through RequestLog, and everything that came of it."""

    def __init__(self, app: object, headers: Headers = (), path: str = "/predict", root_path: str = "") -> None:
        self.metrics = Metrics()
        self.sent: list[Message] = []
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"name=smith", "headers": headers}

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        asyncio.run(RequestLog(app, self.metrics, root_path)(scope, receive, send))  # type: ignore[arg-type]

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    def count(self, status: str) -> float:
        return float(self.metrics.requests.labels("/predict", "POST", status)._value.get())


@pytest.mark.parametrize("sent", [b"a", b"case-7_slice.3", b"x" * 64, b"0"])
def test_a_harmless_id_is_kept(sent: bytes) -> None:
    """Letters, digits, dot, dash and underscore, up to 64 of them, come back as they were."""
    assert Call(fine, [(b"x-request-id", sent)]).headers[b"x-request-id"] == sent


@pytest.mark.parametrize("sent", [b"", b" ", b"x" * 65, b"a b", b"a\tb", b"a\nb", b"\xe4", b"{}", b"../..", b"id\n"])
def test_another_id_is_replaced(sent: bytes) -> None:
    """What could break a log or a header gives way to a new id."""
    made = Call(fine, [(b"x-request-id", sent)]).headers[b"x-request-id"]
    assert made != sent
    assert len(made) == 32


def test_what_broke_is_a_problem_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A bug becomes 500 as a problem with the id; what happened is in the log only."""
    call = Call(broken, [(b"x-request-id", b"call-1")])
    assert call.sent[0]["status"] == 500
    problem = json.loads(call.body)
    assert problem["type"] == "urn:lungct:problem:internal-error"
    assert problem["request_id"] == "call-1"
    assert b"secret" not in call.body
    assert "secret detail" in caplog.text
    assert call.metrics.requests.labels("unmatched", "POST", 500)._value.get() == 1


def test_a_break_after_the_answer_began_sends_no_second_answer() -> None:
    """Half an answer is not followed by another one."""

    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await broken(scope, receive, send)

    assert [message["type"] for message in Call(half).sent] == ["http.response.start"]


def test_a_caller_that_went_is_counted_as_gone() -> None:
    """Where nothing was answered, status 499 is counted."""
    assert Call(silent).metrics.requests.labels("unmatched", "POST", 499)._value.get() == 1


def test_one_line_a_request_without_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    """The log line has route, status and what the answer noted; neither path nor query nor headers."""
    caplog.set_level(logging.INFO, "lungct.request")
    call = Call(fine, [(b"cookie", b"smith")], path="/predict")
    (line,) = caplog.records
    noted = {name: getattr(line, name) for name in ("route", "method", "status", "model_version")}
    assert noted == {"route": "/predict", "method": "POST", "status": 200, "model_version": 3}
    assert "smith" not in str(line.__dict__)
    assert call.count("200") == 1


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/predict", "/ct/predict"), ("/ct/predict", "/ct/predict"), ("/ct", "/ct"), ("/ctx", "/ct/ctx"), ("/", "/ct/")],
)
def test_the_prefix_is_put_back_where_a_proxy_took_it(path: str, seen: str) -> None:
    """With or without the prefix, the application sees the path with it."""
    assert Call(fine, path=path, root_path="/ct").body == seen.encode()


def test_other_protocols_pass_untouched() -> None:
    """Lifespan messages are none of its business."""
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI
        seen.append(scope)

    scope: Scope = {"type": "lifespan"}
    asyncio.run(RequestLog(app, Metrics())(scope, None, None))  # type: ignore[arg-type]
    assert seen == [{"type": "lifespan"}]
