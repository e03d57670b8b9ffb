"""Lines and numbers from outside: key files, parameters, announced lengths, limits, anchors."""

import math
from collections.abc import AsyncIterator

from starlette.requests import Request

from service.api.params import frame_of, number_of
from service.api.uploads import ByteBudget, Intake, read_raw
from service.auth.api_keys import ApiKeys, KeysError, key_line, make_key, parse_keys
from service.auth.rate_limit import Limit
from service.errors import ProblemError
from service.ledger.chain import Link
from tests.fuzz.target import Reader, Target, run, scratch

_KEY = make_key()
_HASH = "sha256:" + "ab" * 32


def _read_keys(body: bytes) -> None:
    """A key file, whatever was written over it, is understood or complained about; whoever had a key is told no lie."""
    path = scratch() / "keys"
    path.write_text(key_line("before", _KEY), "utf-8")
    keys = ApiKeys(path, "", poll_interval_s=60)
    assert keys.find(_KEY.encode()) is not None
    path.unlink()
    path.write_bytes(body)
    keys.poll()
    assert _KEY not in (keys.complaint or "")
    assert len(keys.complaint or "") < 500
    keys.find(body)
    try:
        callers = parse_keys(body.decode("latin-1").replace(";", "\n").splitlines())
    except KeysError as error:
        assert len(str(error)) < 500
    else:
        assert all(len(caller.digest) == 32 for caller in callers)


def _parse_number(body: bytes) -> None:
    """The first byte chooses the parser; what it takes is within its bounds, what it refuses it does not repeat."""
    reader = Reader(body)
    _PARSERS[reader.byte() % len(_PARSERS)](reader.rest())


def _query(text: bytes) -> Request:
    return Request({"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": text})


def _frame(text: bytes) -> None:
    try:
        frame = frame_of(_query(b"frame=" + text))
    except ProblemError as error:
        assert error.kind.status == 422
        assert len(str(error)) < 200
    else:
        assert frame is None or 1 <= frame < 2**31


def _level(text: bytes) -> None:
    try:
        level = number_of(_query(b"level=" + text), "level", -1e6, 1e6)
    except ProblemError as error:
        assert error.kind.status == 422
        assert len(str(error)) < 200
    else:
        assert level is None or math.isfinite(level)


def _limit(text: bytes) -> None:
    try:
        limit = Limit.parse(text.decode("latin-1"))
    except ValueError as error:
        assert len(str(error)) < 200
    else:
        assert limit.count >= 1
        assert limit.seconds >= 1


def _anchor(text: bytes) -> None:
    try:
        link = Link.parse(text.decode("utf-8", "replace"))
    except ValueError:
        return
    assert link.seq >= 0
    assert len(link.hash) == 64


def _content_length(text: bytes) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        yield b"x"

    async def read() -> int:
        headers = {"content-length": text.decode("latin-1"), "content-type": "image/png"}
        return len(await read_raw(nothing(), headers, Intake(ByteBudget(100), 50)))

    try:
        assert run(read()) == 1
    except ProblemError:
        return


_PARSERS = (_frame, _level, _limit, _anchor, _content_length)


def _key_seeds() -> list[bytes]:
    line = f"pacs {_HASH}".encode()
    return [
        line, line + b" 600/60\n", b"# nobody\n\n" + line + b"\r\n" + line, b"", b"# only this\n",
        b"\xef\xbb\xbf" + line, b"\xff" + line,
        line + b" 0/1", line + b" 600/60 7", b"p" * 65 + line, line.upper(), line + b";" + line,
        b"pacs lungct_" + b"x" * 43,
        line.replace(b"ab", b"\xd9\xa1"), line + b"\0", line + b"\x0b" + line, line + b"\xe2\x80\xa8" + line,
        line + b" 1/\xc2\xb2",
        (line + b"\n") * 500, b"a" * 60_000, line.decode().encode("utf-16"),
    ]  # fmt: skip


def _number_seeds() -> list[bytes]:
    texts = [
        b"1", b"0", b"-1", b"+1", b"2147483647", b"2147483648", b"0" * 19 + b"1" + b"0" * 5000, b"9" * 100,
        b"1" * 5000, b"1.5", b"1e3",
        b"1e999", b"-1e999", b"nan", b"inf", b"1_0", b" 1", b"1 ", b"%31", b"%EF%BC%91", b"\xef\xbc\x91", b"\xc2\xb2",
        b"", b"1&frame=2",
        b"0x1", b"1e-999", b"0" * 5000 + b"." + b"0" * 5000, b"1" + b"e" * 9, b"600/60", b"1/1", b"0/0",
        b"999999999/999999", b"1/",
        b"7:" + b"a" * 64, b"9" * 5000 + b":" + b"a" * 64, b"1\n",
    ]  # fmt: skip
    return [bytes([number]) + text for number in range(len(_PARSERS)) for text in texts]


_KEY_WORDS = (
    _HASH.encode(),
    b"sha256:",
    b" 600/60",
    b"#",
    b"\n",
    b"\r",
    b";",
    b" ",
    b"\t",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\0",
)
_NUMBER_WORDS = (
    b"1e999",
    b"nan",
    b"0" * 5000,
    b"9" * 5000,
    b"-",
    b"+",
    b"_",
    b".",
    b"/",
    b":",
    b"%30",
    b"&",
    b"\xd9\xa1",
    b"e",
    b"a" * 64,
)

TARGETS = (
    Target("keys", _read_keys, _key_seeds, _KEY_WORDS),
    Target("numbers", _parse_number, _number_seeds, _NUMBER_WORDS, max_bytes=16 * 1024),
)
