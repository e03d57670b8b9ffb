"""A body becomes images, counted while it arrives; whatever goes wrong, every byte is given back."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from service.api.multipart import Part, read_parts
from service.api.uploads import (
    ByteBudget,
    EmptyPart,
    Intake,
    MalformedMultipart,
    NothingSent,
    TooManyBytes,
    TooManyBytesInFlight,
    read_raw,
)
from service.errors import ProblemError

FORM = {"content-type": "multipart/form-data; boundary=b"}
Received = list[tuple[str | None, bytes | ProblemError]]


def part(field: str, content: bytes, filename: str = "slice.jpg") -> bytes:
    """One part of a form, with its opening boundary."""
    head = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="{filename}"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + content + b"\r\n"


def read(
    chunks: list[bytes],
    headers: dict[str, str] = FORM,
    *,
    budget: ByteBudget | None = None,
    max_part_bytes: int = 1000,
    max_body_bytes: int = 5000,
) -> Received:
    """All parts of a body that arrives in these chunks, or the whole body; checks that nothing is held in the end."""
    held = budget or ByteBudget(10_000)
    before, intake = held.held, Intake(held, max_part_bytes)

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def story() -> Received:
        if not headers.get("content-type", "").startswith("multipart/form-data"):
            return [(None, bytes(await read_raw(stream(), headers, intake)))]
        received: Received = []
        async for one in read_parts(stream(), headers, intake, max_body_bytes=max_body_bytes, max_parts=10):
            try:
                received.append((one.field, bytes(one.content)))
            except ProblemError as error:
                received.append((one.field, error))
            one.close()
        return received

    try:
        return asyncio.run(story())
    finally:
        assert held.held == before


def test_parts_come_in_order_with_their_fields() -> None:
    """Each part has its field name and exactly its bytes, boundaries inside the content notwithstanding."""
    contents = [b"one", b"\r\n--x\r\n", b"--b", b"\r\n--", b"\0" * 300]
    body = b"".join(part(f"f{number}", content) for number, content in enumerate(contents)) + b"--b--\r\n"
    assert read([body]) == [(f"f{number}", content) for number, content in enumerate(contents)]


def test_chunking_changes_nothing() -> None:
    """However a form is cut into chunks, down to single bytes, the same parts come."""
    chance = random.Random(5)
    contents = [chance.randbytes(chance.randrange(1, 400)) for _ in range(6)]
    body = b"".join(part("files", content) for content in contents) + b"--b--\r\nepilogue"
    whole = read([body])
    assert [content for _, content in whole] == contents
    assert read([body[at : at + 1] for at in range(len(body))]) == whole
    for _ in range(100):
        cuts = sorted(chance.sample(range(len(body)), chance.randrange(1, 40)))
        assert read([body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]) == whole


def test_a_body_that_is_no_form_is_the_image() -> None:
    """Whatever the media type, a body that is no form is the image itself."""
    for headers in ({}, {"content-type": "image/png"}, {"content-type": "nonsense;;="}, {"content-type": ""}):
        assert read([b"ab", b"", b"cd"], headers) == [(None, b"abcd")]


def test_names_outside_ascii_are_read() -> None:
    """Field names in UTF-8 and file names of any kind do no harm."""
    (received,) = read([part("größe", b"x", filename='a\\"b;c.jpg') + b"--b--\r\n"])
    assert received == ("größe", b"x")
    (received,) = read([part("x", b"x").replace(b'"x"', b'"\xff\xfe"') + b"--b--\r\n"])
    assert received[1] == b"x"


def test_a_file_is_called_as_its_sender_calls_it() -> None:
    """A part keeps its file name, cut to what file systems take, and a part without one does not get the last one's."""

    async def names(body: bytes) -> list[str | None]:
        async def stream() -> AsyncIterator[bytes]:
            yield body

        intake = Intake(ByteBudget(10_000), 1000)
        parts = read_parts(stream(), FORM, intake, max_body_bytes=5000, max_parts=10)
        return [one.file_name async for one in parts]

    unnamed = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n'
    body = part("files", b"x", "Müller 1.dcm") + unnamed + part("files", b"x", "n" * 300) + b"--b--\r\n"
    assert asyncio.run(names(body)) == ["Müller 1.dcm", None, "n" * 255]


@pytest.mark.parametrize(
    ("headers", "chunks", "expected"),
    [
        ({}, [], NothingSent),
        ({}, [b"", b""], NothingSent),
        (FORM, [], NothingSent),
        (FORM, [b"--b--\r\n"], NothingSent),
        ({"content-type": "multipart/form-data"}, [part("file", b"x")], MalformedMultipart),
        ({"content-type": 'multipart/form-data; boundary=""'}, [part("file", b"x")], MalformedMultipart),
        ({"content-type": "multipart/form-data; boundary=" + "b" * 5000}, [b"x"], MalformedMultipart),
        (FORM, [part("file", b"x")], MalformedMultipart),
        (FORM, [part("file", b"x") + b"--b"], MalformedMultipart),
        (FORM, [b"nothing of the kind"], MalformedMultipart),
        (FORM, [b"--b\r\nContent-Disposition: form-data; name=file"], MalformedMultipart),
        (FORM, [b"--b\r\nX: " + b"x" * 1000] * 30, MalformedMultipart),
    ],
    ids=[
        "no chunk", "empty chunks", "an empty form", "a form without parts", "no boundary", "an empty boundary",
        "a long boundary", "no end", "half an end", "no form", "half a header", "a long header",
    ],
)  # fmt: skip
def test_a_body_that_holds_no_part_says_what_is_wrong(
    headers: dict[str, str], chunks: list[bytes], expected: type[ProblemError]
) -> None:
    """Each way to be no readable body has its error."""
    with pytest.raises(expected):
        read(chunks, headers, max_body_bytes=100_000)


def test_an_empty_part_is_an_error_of_that_part() -> None:
    """A part of no bytes says so, and the others come as if it were not there."""
    received = read([part("files", b"a") + part("files", b"") + part("files", b"c") + b"--b--\r\n"])
    assert [content for _, content in received[::2]] == [b"a", b"c"]
    assert isinstance(received[1][1], EmptyPart)


def test_a_part_too_large_is_an_error_of_that_part() -> None:
    """One byte too many refuses the part, not its neighbours; the limit itself is accepted."""
    body = part("files", b"a" * 1000) + part("files", b"b" * 1001) + part("files", b"c") + b"--b--\r\n"
    received = read([body[at : at + 100] for at in range(0, len(body), 100)])
    assert [type(content) for _, content in received] == [bytes, TooManyBytes, bytes]
    assert "1000 bytes" in str(received[1][1])


def test_a_raw_body_too_large_is_refused_while_it_arrives() -> None:
    """The error comes with the first byte too many, the rest is not kept, and it is no empty body."""
    read_chunks = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal read_chunks
        for _ in range(100):
            read_chunks += 1
            yield b"x" * 100

    budget = ByteBudget(10_000)
    with pytest.raises(TooManyBytes):
        asyncio.run(read_raw(stream(), {}, Intake(budget, 1000)))
    assert (read_chunks, budget.held) == (11, 0)


def test_content_length_is_believed_only_where_it_refuses() -> None:
    """Announced too large: refused before a byte is read. Announced small, or nonsense: counted all the same."""

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    async def story() -> None:
        announced = FORM | {"content-length": "5001"}
        intake = Intake(ByteBudget(10_000), 1000)
        parts = read_parts(never(), announced, intake, max_body_bytes=5000, max_parts=10)
        with pytest.raises(TooManyBytes):
            await anext(parts)
        with pytest.raises(TooManyBytes):
            await read_raw(never(), {"content-length": "1001"}, intake)
        with pytest.raises(TooManyBytes):
            await read_raw(never(), {"content-length": "9" * 5000}, intake)

    asyncio.run(story())
    for announced in ("10", "0", "-1", "many", "", "²"):
        with pytest.raises(TooManyBytes):
            read([part("other", b"x" * 600)] * 10, FORM | {"content-length": announced})
        with pytest.raises(TooManyBytes):
            read([b"x" * 600] * 2, {"content-length": announced})


def test_the_body_as_a_whole_is_bounded() -> None:
    """Many parts, each small enough, are no way around the limit of the body."""
    with pytest.raises(TooManyBytes):
        read([part("other", b"x" * 900)] * 6)


def test_the_parts_are_counted() -> None:
    """Very many parts, empty or not wanted, are refused: each is work to parse, however few its bytes are."""
    assert len(read([part("other", b"x")] * 10 + [b"--b--\r\n"])) == 10
    with pytest.raises(MalformedMultipart, match="more than 10 parts"):
        read([part("other", b"")] * 11)


def test_bytes_in_flight_are_bounded_over_all_requests() -> None:
    """What all requests hold together never exceeds the budget; a refused part keeps nothing, and a retry succeeds."""
    budget = ByteBudget(1000)
    budget.take(600)
    with pytest.raises(TooManyBytesInFlight):
        budget.take(401)
    assert budget.held == 600
    with pytest.raises(TooManyBytesInFlight) as refused:
        read([b"x" * 300, b"x" * 300], {}, budget=budget)
    assert refused.value.retry_after_s > 0
    ((_, error),) = read([part("file", b"x" * 600), b"--b--\r\n"], budget=budget)
    assert isinstance(error, TooManyBytesInFlight)
    budget.give_back(600)
    assert read([b"x" * 300, b"x" * 300], {}, budget=budget) == [(None, b"x" * 600)]


def test_bytes_are_given_back_by_the_last_who_holds_them() -> None:
    """A closed part's bytes stay counted while a thread, an array or a view of them is left, and no longer."""
    budget = ByteBudget(100)
    one = Part("file", Intake(budget, 50))
    one.append(memoryview(b"12345"))
    content = one.content
    view = memoryview(content)[1:3]
    one.close()
    del content
    assert budget.held == 5
    thread = threading.Thread(target=view.release)
    thread.start()
    thread.join()
    del thread
    assert budget.held == 0


def test_bytes_that_nobody_can_reach_refuse_nobody() -> None:
    """Before a caller is refused, what only unreachable objects hold is found; not for every caller anew."""
    budget = ByteBudget(10)
    one = Part("file", Intake(budget, 10))
    one.append(memoryview(b"1234567890"))
    circle = [one.content]
    circle.append(circle)  # type: ignore[arg-type]
    one.close()
    del circle
    budget.take(10)
    for _ in range(100):
        with pytest.raises(TooManyBytesInFlight):
            budget.take(1)


def test_a_part_is_closed_once() -> None:
    """Closing a part again gives nothing back twice, and its content is gone."""
    budget = ByteBudget(100)
    one = Part("file", Intake(budget, 50))
    one.append(memoryview(b"12345"))
    assert (budget.held, bytes(one.content)) == (5, b"12345")
    one.close()
    one.close()
    assert budget.held == 0
    with pytest.raises(EmptyPart):
        _ = one.content


class Gone(Exception):
    """The sender hung up."""


def test_a_body_that_breaks_off_gives_its_bytes_back() -> None:
    """Where the sender goes in the middle of a part, or the reader stops, nothing stays held."""
    budget = ByteBudget(10_000)

    async def stream(end: Callable[[], None]) -> AsyncIterator[bytes]:
        yield part("files", b"1" * 500)
        yield part("files", b"2" * 500)[:-20]
        end()

    def hang_up() -> None:
        raise Gone

    async def broken_off() -> None:
        async for one in read_parts(stream(hang_up), FORM, Intake(budget, 5000), max_body_bytes=9000, max_parts=10):
            one.close()

    async def not_wanted() -> None:
        parts = read_parts(stream(lambda: None), FORM, Intake(budget, 5000), max_body_bytes=9000, max_parts=10)
        async for one in parts:
            one.close()
            break
        await parts.aclose()

    with pytest.raises(Gone):
        asyncio.run(broken_off())
    assert budget.held == 0
    with pytest.raises(Gone):
        asyncio.run(read_raw(stream(hang_up), {}, Intake(budget, 5000)))
    assert budget.held == 0
    asyncio.run(not_wanted())
    assert budget.held == 0
