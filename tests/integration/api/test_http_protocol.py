"""What a connection may send, how long it may take, and that an answer is heard: uvicorn over real sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPResponse

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.api.connection.http_protocol import HttpLimits, http_protocol
from service.api.connection.lingering import Patience
from service.metrics import Metrics
from tests.support.serving import wait_until

HOST = b"Host: x\r\n"
QUICK = HttpLimits(head_s=0.5, patience=Patience(seconds=2, silence_s=0.5, rest_bytes=40_000_000, unframed_bytes=10**6))


@dataclass
class Application:
    """ASGI. /early answers 401 before the body, /wait when told to, /early/wait both, all else with the body's size."""

    may_answer: threading.Event = field(default_factory=threading.Event)
    waiting: int = 0
    gone: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, answer = 200, b""
        if scope["path"].startswith("/early"):
            if scope["path"] == "/early/wait":
                self.waiting += 1
                while not self.may_answer.is_set():
                    await asyncio.sleep(0.01)
                self.waiting -= 1
            status, answer = 401, b"who are you?"
        else:
            size, more = 0, True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.gone += 1
                    return
                size, more = size + len(message["body"]), message["more_body"]
            if scope["path"] == "/wait" and not await self._wait(receive):
                self.gone += 1
                return
            answer = b"%d bytes" % size
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _wait(self, receive: Receive) -> bool:
        """False where the caller is gone first."""
        self.waiting += 1
        over = asyncio.ensure_future(receive())
        while not self.may_answer.is_set() and not over.done():
            await asyncio.wait([over], timeout=0.01)
        over.cancel()
        self.waiting -= 1
        return self.may_answer.is_set()


class Server:
    """uvicorn in a thread."""

    def __init__(self, loop: str, limits: HttpLimits, grace_s: int = 1) -> None:
        self.application, self.metrics = Application(), Metrics()
        listening = socket.create_server(("127.0.0.1", 0))
        self._port = listening.getsockname()[1]
        config = uvicorn.Config(
            self.application,
            loop=loop,
            http=http_protocol(self.metrics, limits),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=grace_s,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listening],))
        self._thread.start()
        wait_until(lambda: self._server.started, "uvicorn runs")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=30)

    def ask(self, *pieces: bytes) -> bytes:
        """All that comes back until the service closes; a reset is an error."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return read_all(connection)

    @property
    def connections(self) -> int:
        return len(self._server.server_state.connections)

    def counted(self, status: int) -> float:
        """Requests of this status in the metrics."""
        return sum(
            sample.value
            for metric in self.metrics.requests.collect()
            for sample in metric.samples
            if sample.name == "lungct_requests_total" and sample.labels["status"] == str(status)
        )

    def begin_end(self) -> None:
        self._server.should_exit = True

    @property
    def is_closing(self) -> bool:
        return not self._server.servers[0].is_serving()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        self.application.may_answer.set()
        self.begin_end()
        self._thread.join()


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def answer_to(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer."""
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


def statuses(received: bytes) -> list[int]:
    """Of the answers, in order."""
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(request.param, QUICK)
    yield server
    server.stop()


# --- heads ------------------------------------------------------------------------------------------------------------

GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

TOO_LARGE = {
    "200 fields": (GET + b"a: b\r\n" * 200 + b"\r\n", 431),
    "a field of 9 KB": (GET + b"a: " + b"b" * 9000 + b"\r\n\r\n", 431),
    "a field name of 9 KB": (GET + b"a" * 9000 + b": b\r\n\r\n", 431),
    "70 KB in fields of 7 KB": (GET + (b"a: " + b"b" * 7000 + b"\r\n") * 10 + b"\r\n", 431),
    "a field without end": (GET + b"a: " + b"b" * 600_000, 431),
    "a field name without end": (GET + b"a" * 600_000, 431),
    "fields without end": (GET + b"a: b\r\n" * 100_000, 431),
    "blanks without end": (GET + b"a:" + b" " * 600_000, 431),
    "an address of 9 KB": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "an address without end": (b"GET /" + b"a" * 600_000, 414),
    "trailers": (CHUNKED + b"0\r\na: b\r\n\r\n", 400),
    "trailers without end": (CHUNKED + b"0\r\n" + b"a: b\r\n" * 100_000, 400),
    "a trailer without end": (CHUNKED + b"0\r\na: " + b"b" * 600_000, 400),
    "a chunk line without end": (CHUNKED + b"5;a=" + b"b" * 600_000, 400),
    "a chunk size without end": (CHUNKED + b"0" * 600_000, 400),
    "chunks of one byte": (CHUNKED + b"1\r\nx\r\n" * 100_000, 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01" * 100, 400),
    "no header": (GET + b"no colon\r\n\r\n", 400),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_too_much_around_a_body_is_refused(server: Server, what: str) -> None:
    """Each gets its problem, counted like other answers, and then its connection ends."""
    sent, status = TOO_LARGE[what]
    before = server.counted(status)
    answer = server.ask(sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert statuses(answer) == [status]
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert b'"status":%d' % status in body
    wait_until(lambda: server.counted(status) == before + 1, "the answer is counted once", 5)


@pytest.mark.parametrize(
    "sent",
    [
        GET + b"a: b\r\n" * 98 + b"\r\n",
        GET + b"a: " + b"b" * 8000 + b"\r\n\r\n",
        b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        CHUNKED + b"5;name=value\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"200\r\n" + b"x" * 512 + b"\r\n" + b"40\r\n" + b"x" * 64 + b"\r\n" + b"0\r\n\r\n",
        CHUNKED + (b"80\r\n" + b"x" * 128 + b"\r\n") * 20_000 + b"0\r\n\r\n",
        b"\r\n\r\n" + GET + b"\r\n",
    ],
    ids=["99 fields", "a field of 8 KB", "an address of 8 KB", "an extension", "chunks", "many chunks", "empty lines"],
)
def test_what_clients_send_is_answered(server: Server, sent: bytes) -> None:
    """The limits are beyond what anybody sends, however it is cut into pieces."""
    with server.connect() as connection:
        connection.sendall(sent)
        assert answer_to(connection)[0] == 200
        for place in range(0, len(sent), max(1, len(sent) // 50)):
            connection.sendall(sent[place : place + max(1, len(sent) // 50)])
        assert answer_to(connection)[0] == 200


@pytest.mark.parametrize(
    ("sent", "answer"),
    [(b"", b""), (b"\r\n", b""), (b"GE", b"HTTP/1.1 408 "), (GET + b"a: ", b"HTTP/1.1 408 ")],
    ids=["nothing", "an empty line", "half a method", "half a head"],
)
def test_a_head_that_does_not_end_is_not_waited_for(server: Server, sent: bytes, answer: bytes) -> None:
    """Heads have a deadline, however often another byte comes, and so has the first byte."""
    with server.connect() as connection:
        connection.sendall(sent)
        connection.settimeout(0.1)
        received, started = None, time.monotonic()
        while received is None:
            try:
                received = connection.recv(13)
            except TimeoutError:
                assert time.monotonic() - started < 20
                if sent[-1:] == b" ":
                    connection.sendall(b"x")
        assert received == answer


def test_a_head_after_an_answer_has_its_own_deadline(server: Server) -> None:
    """The deadline of a head counts from its first byte, not from its connection's."""
    with server.connect() as connection:
        for _ in range(4):
            connection.sendall(GET)
            time.sleep(0.3)  # four times are more than one deadline
            connection.sendall(b"\r\n")
            assert answer_to(connection)[0] == 200


# --- several requests at a time ---------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order_and_bounded(server: Server) -> None:
    """Ten are all answered; of ten thousand the first ones are, and then the connection ends."""
    with server.connect() as connection:
        connection.sendall(
            b"".join(
                b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (n, n, b"x" * n) for n in range(10)
            )
        )
        received = b""
        while received.count(b" bytes") < 10:
            received += connection.recv(65536)
        assert [b"%d bytes" % n in received for n in range(10)] == [True] * 10
    answers = statuses(server.ask((GET + b"\r\n") * 10_000))
    assert set(answers) == {200}
    assert len(answers) < 30


def test_a_refusal_waits_for_the_answers_before_it(server: Server) -> None:
    """What is wrong with a head is said after the requests before it were answered."""
    server.application.may_answer.clear()
    with server.connect() as connection:
        connection.sendall(b"GET /wait HTTP/1.1\r\n" + HOST + b"\r\n" + GET + b"a: b\r\n" * 200)
        wait_until(lambda: server.application.waiting == 1, "the first request is being answered")
        server.application.may_answer.set()
        assert statuses(read_all(connection)) == [200, 431]


def test_trailers_end_the_request_that_they_follow(server: Server) -> None:
    """The application hears that nobody waits for its answer: what came was no whole request."""
    before = server.application.gone
    with server.connect() as connection:
        connection.sendall(CHUNKED + b"5\r\nhello\r\n")
        connection.sendall(b"0\r\na: b\r\n\r\n")
        assert statuses(read_all(connection)) == [400]
    wait_until(lambda: server.application.gone == before + 1, "the application was told")


# --- answers that are heard -------------------------------------------------------------------------------------------


def early(length: int, more: bytes = b"") -> bytes:
    return b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n" % (length, more)


def test_an_early_answer_is_heard_although_the_connection_closes(server: Server) -> None:
    """A caller that sends all of its body before it reads gets the answer, each time, and then the end."""
    for _ in range(20):
        answer = server.ask(early(20_000_000, b"Connection: close\r\n"), *[bytes(1_000_000)] * 20)
        assert answer.endswith(b"who are you?")
        assert statuses(answer) == [401]


def test_a_connection_that_stays_is_of_use_after_an_early_answer(server: Server) -> None:
    """The rest of the body is read and thrown away, and the next request is answered."""
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(early(20_000_000))
            connection.sendall(bytes(20_000_000))
            assert answer_to(connection) == (401, b"who are you?")
        connection.sendall(GET + b"\r\n")
        assert answer_to(connection) == (200, b"0 bytes")


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["keep", "close"])
@pytest.mark.parametrize("pace", ["silent", "slow", "endless"])
def test_nobody_reads_on_for_ever(server: Server, more: bytes, pace: str) -> None:
    """Whoever goes on sending after an early answer is read for a while, for so many bytes, and not through silence."""
    wait_until(lambda: server.connections == 0, "earlier connections are closed")
    with server.connect() as connection:
        connection.sendall(early(10**12, more) + b"x")
        assert answer_to(connection) == (401, b"who are you?")

        def is_over() -> bool:
            if pace != "silent":
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(bytes(1_000_000) if pace == "endless" else b"x")
            return server.connections == 0

        wait_until(is_over, "the connection is closed", 20)


def test_who_sends_no_more_gets_an_answer(server: Server) -> None:
    """A caller may close its half of the connection after the request, however long the answer takes."""
    server.application.may_answer.clear()
    with server.connect() as connection:
        connection.sendall(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.application.waiting == 1, "the request is being answered")
        time.sleep(0.2)  # whoever took the closed half for an end would have noticed it by now
        assert server.application.waiting == 1
        server.application.may_answer.set()
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"5 bytes")


@pytest.mark.parametrize("half_first", [False, True], ids=["at once", "half of it first"])
def test_who_hangs_up_is_noticed(server: Server, half_first: bool) -> None:
    """Nobody works for a caller that closed its connection, even where it had closed its half before."""
    server.application.may_answer.clear()
    before = server.application.gone
    connection = server.connect()
    connection.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: server.application.waiting == 1, "the request is being answered")
    if half_first:
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.1)  # so that it is two events, and not one
    connection.close()
    wait_until(lambda: server.application.gone == before + 1, "the caller is known to be gone", 5)


def test_half_a_request_is_none(server: Server) -> None:
    """Who closes its half before the body is whole is gone, as ever."""
    before = server.application.gone
    with server.connect() as connection:
        connection.sendall(POST + b"Content-Length: 10\r\n\r\nhello")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    wait_until(lambda: server.application.gone == before + 1, "the application was told")


def test_nothing_is_left(server: Server) -> None:
    """After all of that no connection is open."""
    wait_until(lambda: server.connections == 0, "all connections are closed", 20)


# --- the end of the service -------------------------------------------------------------------------------------------


@pytest.fixture(params=["uvloop", "asyncio"])
def patient_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """With the patience and the grace period of a service."""
    server = Server(request.param, HttpLimits(), grace_s=20)
    yield server
    server.stop()


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["keep", "close"])
@pytest.mark.parametrize("path", [b"/early", b"/early/wait"], ids=["answered before", "answered meanwhile"])
def test_who_goes_on_sending_does_not_hold_the_end(patient_server: Server, more: bytes, path: bytes) -> None:
    """A refused caller that sends a byte now and then has a moment to hear its answer, and not the grace period."""
    with patient_server.connect() as connection:
        connection.sendall(early(10**12, more).replace(b"/early", path) + b"x")
        if path == b"/early":
            assert answer_to(connection) == (401, b"who are you?")
        else:
            wait_until(lambda: patient_server.application.waiting == 1, "the request is being answered")
        patient_server.begin_end()
        wait_until(lambda: patient_server.is_closing, "the service ends")
        if path != b"/early":
            patient_server.application.may_answer.set()
            assert answer_to(connection) == (401, b"who are you?")

        def is_over() -> bool:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(b"x")
            return patient_server.is_over

        wait_until(is_over, "the service has ended", 8)


def test_an_early_answer_is_heard_although_the_service_ends(patient_server: Server) -> None:
    """Who still sends when the service ends reads the answer that it got meanwhile, and no reset."""
    with patient_server.connect() as connection:
        connection.sendall(early(20_000_000, b"Connection: close\r\n") + bytes(1_000_000))
        assert connection.recv(1, socket.MSG_PEEK) == b"H"
        patient_server.begin_end()
        wait_until(lambda: patient_server.is_closing, "the service ends")
        for _ in range(4):  # what is closed at once replies to the first with a reset
            connection.sendall(b"x")
            time.sleep(0.1)
        assert read_all(connection).endswith(b"who are you?")
