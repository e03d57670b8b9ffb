"""The bytes of an upload are counted for exactly as long as anybody holds them, whatever becomes of its request.

The garbage collector is off: a service with little to do runs it seldom, and what waits for it is held.
"""

import asyncio
import gc
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Never

import pytest
from starlette.types import ASGIApp, Message

from service.app import build_state, create_app
from service.metrics import Metrics
from service.model.loader import watch_models
from service.settings import ServiceSettings
from tests.support.fake_model import FakeEngine, fake_model
from tests.support.inputs.dicom_files import ct_file, hounsfield
from tests.support.inputs.slices import grey_slice, jpeg_slice, png_bomb

PATHS = ("/predict", "/explain", "/render", "/predict/batch")
_CHUNK = 65536
_FORM = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\n'


class House:
    """A service in this process, on an engine of the test, and callers of it."""

    def __init__(self, **settings: Any) -> None:
        asked, metrics = ServiceSettings(model_repository=Path("nowhere"), **settings), Metrics()
        self.engine = FakeEngine()
        self.state = build_state(asked, metrics, watch_models(asked, metrics))
        self.state.reload.serving = fake_model(self.engine)
        self.app: ASGIApp = create_app(self.state)

    @property
    def held(self) -> int:
        return self.state.intake.budget.held

    async def ask(self, path: str, body: bytes, *, gone: asyncio.Event | None = None) -> tuple[int, bytes]:
        """Status and body of the answer; 0 where there is none. gone: when the caller hangs up."""
        is_form = path == "/predict/batch"
        left = _FORM + body + b"\r\n--b--\r\n" if is_form else body
        sent: list[Message] = []

        async def receive() -> Message:
            nonlocal left
            if not left:
                await (gone or asyncio.Event()).wait()
                return {"type": "http.disconnect"}
            chunk, left = left[:_CHUNK], left[_CHUNK:]
            await asyncio.sleep(0)  # others have their turn, as with a socket
            return {"type": "http.request", "body": chunk, "more_body": bool(left)}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", b"multipart/form-data; boundary=b")] if is_form else []
        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers, "root_path": "",
            "scheme": "http", "server": ("x", 80), "http_version": "1.1",
        }  # fmt: skip
        await self.app(scope, receive, send)
        return (sent[0]["status"] if sent else 0), b"".join(one.get("body", b"") for one in sent[1:])

    async def all_let_go(self) -> None:
        """Return when no byte is held."""
        for _ in range(30_000):
            if not self.held:
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"{self.held} bytes are held for nobody")


@pytest.fixture(autouse=True, scope="module")
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def told(story: Callable[[House], Awaitable[None]], **settings: Any) -> None:
    """Tell a story in a house."""

    async def tell() -> None:
        house = House(**settings)
        try:
            await story(house)
        finally:
            house.state.predictor.decoder.close()  # the process that it has for DICOM

    asyncio.run(asyncio.wait_for(tell(), 120))


def _dicom() -> bytes:
    return ct_file(hounsfield(grey_slice(1)), slope=1, intercept=0)


BODIES: dict[str, Callable[[], bytes]] = {
    "good": lambda: jpeg_slice(1),
    "truncated": lambda: jpeg_slice(1)[:-300],
    "text": lambda: b"dear doctor" * 100,
    "large": lambda: png_bomb(2000),
    "DICOM": _dicom,
    "damaged DICOM": lambda: _dicom()[:-5000],
}


@pytest.mark.parametrize("body", BODIES)
def test_an_answer_or_a_refusal_leaves_no_byte_held(body: str) -> None:
    """Whatever was sent and whatever was answered, no frame, exception or queue holds the upload afterwards."""

    async def story(house: House) -> None:
        for path in PATHS:
            status, _ = await house.ask(path, BODIES[body]())
            assert status in (200, 415, 422)
            await house.all_let_go()

    told(story)


_FAILURES = [(path, is_bug) for path in PATHS for is_bug in (False, True) if is_bug or path != "/render"]


@pytest.mark.parametrize(("path", "is_bug"), _FAILURES)
def test_what_fails_is_logged_with_its_cause_and_the_request(
    path: str, is_bug: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever breaks in whichever thread: a 500 that tells nothing, one ERROR line with traceback and request id."""

    async def story(house: House) -> None:
        break_(house, monkeypatch, is_bug=is_bug)
        _, answer = await house.ask(path, jpeg_slice(1))
        assert b"registers" not in answer
        said = json.loads(answer)
        problem = said["results"][0]["problem"] if path == "/predict/batch" else said
        assert problem["type"].endswith("internal-error" if is_bug else "inference-failed")
        (line,) = [one for one in caplog.records if one.levelno == logging.ERROR]
        assert line.exc_info
        assert "out of registers" in str(line.exc_info[1])
        named = vars(line).get("request_ids") or [vars(line)["request_id"]]
        assert named == [problem["request_id"]]

    told(story)


@pytest.mark.parametrize(("path", "is_bug"), _FAILURES)
def test_what_fails_leaves_no_byte_held(
    path: str, is_bug: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the exception has passed through threads, futures and tasks."""
    caplog.set_level(logging.CRITICAL, "lungct")  # pytest keeps every record, and the frames that it names

    async def story(house: House) -> None:
        break_(house, monkeypatch, is_bug=is_bug)
        await house.ask(path, jpeg_slice(1))
        await house.all_let_go()

    told(story)


def break_(house: House, monkeypatch: pytest.MonkeyPatch, *, is_bug: bool) -> None:
    """Have the engine fail, or what decodes, for whatever reason."""

    def broken(*_: object, **__: object) -> Never:
        raise RuntimeError("out of registers")

    if is_bug:
        monkeypatch.setattr(house.state.predictor.decoder, "decode", broken)
    else:
        monkeypatch.setattr(house.engine, "infer", broken)


def test_a_form_that_breaks_leaves_no_byte_of_its_files_held() -> None:
    """Files that waited when the form turned out to be none are let go with it."""

    async def story(house: House) -> None:
        house.engine.may_answer.clear()
        for _ in range(5):
            form = jpeg_slice(1) + (b"\r\n" + _FORM + jpeg_slice(1)) * 9 + b"\r\n--b no boundary"
            status, _ = await house.ask("/predict/batch", form)
            assert status == 400
        house.engine.may_answer.set()
        await house.all_let_go()

    told(story)


@pytest.mark.parametrize("path", PATHS)
def test_a_deadline_gives_back_what_no_thread_works_on(path: str) -> None:
    """A caller that is told 504 is forgotten at once, but for the few whose bytes a thread still has."""

    async def story(house: House) -> None:
        house.engine.may_answer.clear()
        asked = [asyncio.create_task(house.ask(path, jpeg_slice(1))) for _ in range(60)]
        await asyncio.gather(*asked)
        assert house.held <= 40 * len(jpeg_slice(1))
        house.engine.may_answer.set()
        await house.all_let_go()

    told(story, request_timeout_s=0.3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", ["good", "large", "DICOM"])
def test_hanging_up_gives_back_what_no_thread_works_on(path: str, body: str) -> None:
    """While an engine hangs, callers come and go: what waited for it is dropped, what it has is counted to the end."""

    async def story(house: House) -> None:
        content = BODIES[body]()
        house.engine.may_answer.clear()
        for _ in range(12):
            gone = asyncio.Event()
            asked = [asyncio.create_task(house.ask(path, content, gone=gone)) for _ in range(10)]
            for _ in range(20):
                await asyncio.sleep(0.001)
            gone.set()
            await asyncio.gather(*asked)
            del asked
        for _ in range(50):
            await asyncio.sleep(0.001)
        batcher = house.state.predictor.batcher
        threads = (2 * batcher.workers + 1) * house.state.settings.max_batch_size
        assert house.held <= threads * len(content)
        assert len(batcher._queue) == len(house.state.explainer.batcher._queue) == 0
        house.engine.may_answer.set()
        await house.all_let_go()

    told(story)
