"""Bodies of requests: multipart/form-data in pieces of any size, and headers that announce them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from itertools import cycle

from service.api.multipart import read_parts
from service.api.uploads import ByteBudget, Intake
from service.errors import ProblemError
from tests.fuzz.target import Reader, Target, run

_MAX_PART_BYTES = 2000
_MAX_BODY_BYTES = 16_000
_LITTLE = 4000
_BOUNDARIES = (b"b", b"lungct-4d2a", b"x" * 70, b"--", b"a b'()+_,-./:=?")

Outcome = list[tuple[str | None, bytes | str]] | str


def _read(body: bytes) -> None:
    """Read a body whole and in pieces: both come to the same, and no byte of the budget is kept.

    An input is a byte for the boundary, one with the number of pieces' sizes, those, and the body.
    """
    reader = Reader(body)
    number = reader.byte()
    if number == 255:
        content_type = reader.take(reader.byte()).decode("latin-1")
    elif number == 254:
        content_type = "image/png"
    else:
        content_type = f'multipart/form-data; boundary="{_BOUNDARIES[number % len(_BOUNDARIES)].decode()}"'
    sizes = [1 + one for one in reader.take(reader.byte() % 16)] or [1]
    content = reader.rest()
    pieces = _cut(content, sizes)
    whole = run(_outcome([content], content_type, _MAX_BODY_BYTES))
    cut = run(_outcome(pieces, content_type, _MAX_BODY_BYTES))
    # of two things wrong either may be told; and text before the first boundary, which no client sends, is skipped or
    # refused by where python-multipart finds it cut
    is_plain = content.lstrip(b"\r\n").startswith(b"--")
    assert whole == cut or not is_plain or (isinstance(whole, str) and isinstance(cut, str))
    run(_outcome(pieces, content_type, _LITTLE))


def _cut(content: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces, at, lengths = [], 0, cycle(sizes)
    while at < len(content):
        length = next(lengths)
        pieces.append(content[at : at + length])
        at += length
    return pieces


async def _outcome(pieces: Sequence[bytes], content_type: str, held: int) -> Outcome:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    budget = ByteBudget(held)
    parts = read_parts(
        stream(),
        {"content-type": content_type},
        Intake(budget, _MAX_PART_BYTES),
        max_body_bytes=_MAX_BODY_BYTES,
        max_parts=8,
    )
    found: list[tuple[str | None, bytes | str]] = []
    try:
        async with aclosing(parts):
            async for part in parts:
                assert budget.held <= held
                try:
                    content: bytes | str = bytes(part.content)
                except ProblemError as error:
                    content = type(error).__name__
                assert len(content) <= _MAX_PART_BYTES
                found.append((part.field, content))
                part.close()
    except ProblemError as error:
        return type(error).__name__
    finally:
        assert budget.held == 0
    return found


def _form(*parts: tuple[bytes, bytes], boundary: bytes = b"b", end: bytes = b"--\r\n") -> bytes:
    return b"".join(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, head, content) for head, content in parts) + (
        b"--" + boundary + end
    )


_FILE = b'Content-Disposition: form-data; name="file"; filename="a.png"'


def _seeds() -> list[bytes]:
    one = (_FILE + b"\r\nContent-Type: image/png", bytes(range(256)))
    bodies = [
        _form(one), _form(one, one), _form(one, end=b""), _form(one)[:-20], b"", b"--b--\r\n", b"\r\n--b--\r\n",
        b"preamble\r\n" + _form(one) + b"epilogue", _form(*[(_FILE, b"")] * 12), _form((b"a" * 9000, b"x")),
        _form((_FILE, b"x" * 2001)), _form(*[(_FILE, b"x" * 1900)] * 6), _form((_FILE, b"\r\n--" * 100)),
        _form((b"Content-Disposition: form-data; name=\"\xff\xfe\"; name*=utf-8''%ff", b"1")),
        _form((b"Content-Disposition: form-data; name=\"a\\\"b\"; filename=\"c:\\x\"", b"1")), _form((b"x: y\r\nz",
        b"")),
    ]  # fmt: skip
    return [
        *(bytes([0, 3, 0, 6, 250]) + body for body in bodies),
        *(bytes([number, 1, 8]) + _form(one, boundary=name) for number, name in enumerate(_BOUNDARIES)),
        bytes([254, 2, 1, 90]) + bytes(3000), bytes([254, 0]),
        *(bytes([255, len(kind)]) + kind + bytes([1, 9]) + _form(one) for kind in (
            b"multipart/form-data", b"multipart/form-data; boundary=", b"multipart/form-data; boundary=b; boundary=c",
            b"multipart/form-data; boundary*=utf-8''b", b'multipart/form-data; boundary="', b"multipart/form-data;;=;b",
            b"multipart/form-data; boundary*0=b; boundary*1=c", b"multipart/form-data; boundary*=x'y",
        )),
    ]  # fmt: skip


_WORDS = (
    b"\r\n--b\r\n", b"\r\n--b--\r\n", b"\r\n", b"\r", b"\n", b"--", b"\r\n\r\n", b"Content-Disposition: form-data;",
    b'name="file"', b'filename="', b"name*=utf-8''", b"Content-Transfer-Encoding: base64", b":", b'"', b"\\", b"%00",
    b"boundary=", b"boundary*0=", b"multipart/form-data;",
)  # fmt: skip

TARGETS = (Target("multipart", _read, _seeds, _WORDS),)
