"""The ledger as anybody with its folder could leave it: verified, and continued by the next start."""

import argparse
import contextlib
import hashlib
import io
import json
import re
import shutil

from service.cli import verify_ledger
from service.ledger.chain import START, BrokenLine, Link, find_end, write_line
from tests.fuzz.target import Reader, Target, scratch

_NEXT_FILE = b"\n--file "
_ANCHORS = b"\n--anchors "


def _check(body: bytes) -> None:
    """One line of verdict and exit code 0, 1 or 2, whatever lies in the folder; then what the next start makes of it.

    An input's first byte says whether lines are given the hashes that fit, its second whether older files are gone;
    a line of its own begins the next file or names anchors.
    """
    reader = Reader(body)
    is_mended, is_part = reader.byte() % 2 == 1, reader.byte() % 2 == 1
    content, _, anchors = reader.rest().partition(_ANCHORS)
    folder = scratch() / "ledger"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    before = START
    for number, part in enumerate(content.split(_NEXT_FILE)):
        name, _, lines = part.partition(b"\n") if number else (b"1", b"", part)
        if is_mended:
            lines, before = _mended(lines, before)
        digits = "".join(re.findall("[0-9]", name.decode("latin-1")))[-12:]
        (folder / f"ledger-{digits:0>12}.jsonl").write_bytes(lines)
    named = anchors.decode("utf-8", "replace").split()[:9]
    for as_json in (False, True):
        arguments = argparse.Namespace(folder=str(folder), anchor=named, part=is_part, json=as_json)
        out, told = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
            code = verify_ledger(arguments)
        assert code in (0, 1, 2)
        assert (code == 2) == bool(told.getvalue())
        assert told.getvalue().count("\n") == (code == 2)
        if as_json and code != 2:
            assert json.loads(out.getvalue())["is_whole"] == (code == 0)
    with contextlib.suppress(BrokenLine):
        assert find_end(folder).torn_bytes == 0 or code != 0


def _mended(lines: bytes, before: Link) -> tuple[bytes, Link]:
    """Every line as it is but for its end: there stand the previous hash and its own."""
    mended = []
    for line in lines.split(b"\n"):
        if not line:
            continue
        body = line.partition(b',"prev":')[0].removesuffix(b"}") + b',"prev":"%b"' % before.hash.encode()
        digest = hashlib.sha256(body).hexdigest()
        mended.append(b'%b,"hash":"%b"}\n' % (body, digest.encode()))
        before = Link(before.seq + 1, digest)
    torn = b"" if lines.endswith(b"\n") else lines.rpartition(b"\n")[2][:7]
    return b"".join(mended) + torn, before


def _seeds() -> list[bytes]:
    link, lines, anchors = START, [], []
    for seq in range(1, 7):
        facts: dict[str, object] = {"time": f"2026-01-01T00:00:0{seq}Z", "event": "request", "request_id": f"r{seq}"}
        line, link = write_line(link, facts | ({"lost_lines": 2} if seq == 3 else {}))
        lines.append(line)
        anchors.append(str(link).encode())
    one, two = b"".join(lines[:3]), b"".join(lines[3:])
    split, end = one + _NEXT_FILE + b"4\n" + two, _ANCHORS + b" ".join(anchors[2:4])
    changed = [
        b'{"seq":%b,"time":%b,"lost_lines":%b}' % one
        for one in (
            (b"1", b'"x"', b"null"), (b"1", b"null", b"1e999"), (b'"1"', b"[]", b"[]"), (b"true", b"{}", b"-1"),
            (b"1e999", b"1", b'"2"'), (b"1.5", b'"\\ud800"', b"NaN"), (b"9" * 5000, b'"\\u001b[2J\\n"', b"9" * 5000),
            (b"null", b"[" * 3000, b"{"), (b"1", b'"x"', b"[" * 9000 + b"]" * 9000), (b"-1", b'""', b"0"),
        )
    ]  # fmt: skip
    return [
        b"\0\0" + split, b"\0\0" + split + end, b"\0\1" + two, b"\0\0" + one[:-20], b"\0\0" + two, b"\0\0",
        b"\0\0" + one + bytes(140_000), b"\0\0" + bytes(3000), b"\0\0" + one + b"\n\n" + two, b"\0\0" + one * 2,
        b"\0\0" + split + _ANCHORS + anchors[1] + b" 2:" + b"0" * 64, b"\0\0" + one + _ANCHORS + anchors[5],
        b"\0\0" + split + _ANCHORS + b"9" * 5000 + b":" + b"0" * 64,
        b"\0\0" + split + _ANCHORS + b"\xc2\xb2:" + b"0" * 64,
        b"\0\0" + one + b"\xef\xbb\xbf" + two, b"\0\0" + (b"[" * 60_000 + b"\n") * 2, b"\0\0" + b"x" * 200_000,
        *(b"\1\0" + line + b"\n" + one for line in changed), *(b"\1\1" + line + b"\n" for line in changed),
        *(b"\1\0" + one + line for line in (b"[]\n", b"1\n", b'"x"\n', b"\xff\n", b"\r\n", b"{}\n",
        b'{"seq":4,"torn_bytes":7}\n')),
    ]  # fmt: skip


_WORDS = (
    _NEXT_FILE, _ANCHORS, b"\n", b'"seq":', b'"time":', b'"prev":"', b'"hash":"', b'"lost_lines":', b'"torn_bytes":',
    b"null",
    b"1e999", b"NaN", b"-1", b"[", b"{", b'"\\ud800"', b"9" * 5000, b"0" * 64, b"\0" * 200, b"\r", b'"}', b"true",
    b'"event":',
)  # fmt: skip

TARGETS = (Target("ledger", _check, _seeds, _WORDS, max_bytes=256 * 1024),)
