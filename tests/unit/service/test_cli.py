"""`verify-ledger` ends with 0, 1 or 2 and one verdict, whatever the bytes are that it is given."""

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.cli import verify_ledger
from service.ledger.chain import START, Link, file_for, find_end, ledger_files, write_line
from service.ledger.verify import check_ledger
from tests.support.ledgers import record, running

Verify = Callable[..., tuple[int, str]]
_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Verify:
    """The verb: its exit code, and the line with its verdict; a traceback would fail the test."""

    def run(folder: Path, *anchors: str, is_part: bool = False, is_json: bool = False) -> tuple[int, str]:
        arguments = argparse.Namespace(folder=str(folder), anchor=list(anchors), part=is_part, json=is_json)
        code = verify_ledger(arguments)
        told = capsys.readouterr()
        if code == 2:
            assert (told.out, told.err.count("\n")) == ("", 1)
            return code, told.err
        assert told.err == ""
        return code, told.out if is_json else told.out.splitlines()[-1]

    return run


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a ledger of four runs, one of which was killed amid a line, one amid the first line of a file."""
    folder = tmp_path_factory.mktemp("real")
    for torn in ('{"seq":%d,"time":"20', "", '{"seq', ""):
        with running(folder, max_file_bytes=4096) as ledger:
            record(ledger, 12)
        link = find_end(folder).link
        if torn == '{"seq':
            file_for(folder, link.seq + 1).write_text(torn)
        elif torn:
            with ledger_files(folder)[-1].open("a") as file:
                file.write(torn % (link.seq + 1))
    assert len(ledger_files(folder)) >= 4
    return {path.name: path.read_bytes() for path in ledger_files(folder)}


def put(folder: Path, files: dict[str, bytes]) -> None:
    for path in folder.glob("ledger-*"):
        path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def sealed(body: str | bytes) -> bytes:
    """A line with whatever it is to say, and the hash that fits it."""
    body = body.encode() if isinstance(body, str) else body
    return b'%b,"hash":"%b"}\n' % (body, hashlib.sha256(body).hexdigest().encode())


def test_a_whole_ledger_ends_with_0(real: dict[str, bytes], tmp_path: Path, verify: Verify) -> None:
    """Its last line is the verdict, and ends with the anchor."""
    put(tmp_path, real)
    code, verdict = verify(tmp_path)
    assert (code, verdict) == (0, f"The chain is whole from line 1 to anchor {check_ledger(tmp_path).last}")
    assert json.loads(verify(tmp_path, is_json=True)[1])["is_whole"]


def test_two_anchors_of_one_line_must_both_hold(real: dict[str, bytes], tmp_path: Path, verify: Verify) -> None:
    """A ledger that was forked and written anew fits the later anchor only."""
    put(tmp_path, real)
    true = str(check_ledger(tmp_path).last)
    other = f"{true.partition(':')[0]}:{'0' * 64}"
    assert verify(tmp_path, true, true)[0] == 0
    for anchors in ((true, other), (other, true), (other,)):
        code, verdict = verify(tmp_path, *anchors)
        assert (code, verdict) == (1, "The chain is not whole. Problems: 1")


def test_nothing_to_verify_ends_with_2(tmp_path: Path, verify: Verify) -> None:
    """An empty folder, another one, a file, none: a mistyped path must not look like a whole ledger."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "keys.txt").write_text("x")
    (tmp_path / "begun").mkdir()
    file_for(tmp_path / "begun", 1).touch()
    (tmp_path / "strange").mkdir()
    file_for(tmp_path / "strange", 1).mkdir()
    for name in ("empty", "other", "begun", "strange", "none", "other/keys.txt", "none\0"):
        assert verify(tmp_path / name)[0] == 2, name
        assert verify(tmp_path / name, is_part=True)[0] == 2
    assert "nothing to verify" in verify(tmp_path / "empty")[1]


def test_an_anchor_of_an_emptied_ledger_ends_with_1(tmp_path: Path, verify: Verify) -> None:
    """The files are there and hold nothing, but an anchor says that they did."""
    file_for(tmp_path, 1).touch()
    assert verify(tmp_path, f"5:{'0' * 64}")[0] == 1


@pytest.mark.parametrize(
    "body",
    [
        '{"seq":1,"lost_lines":null,"prev":"%s"', '{"seq":1,"lost_lines":1e999,"prev":"%s"',
        '{"seq":1,"lost_lines":"many","prev":"%s"', '{"seq":1,"lost_lines":-1,"prev":"%s"',
        '{"seq":1,"torn_bytes":[],"prev":"%s"', '{"seq":1,"time":7,"prev":"%s"',
        '{"seq":1,"time":"\\ud800","prev":"%s"', '{"seq":1,"time":"\\u001b[2J","prev":"%s"',
        '{"seq":1e999,"prev":"%s"', '{"seq":NaN,"prev":"%s"', '{"seq":1.0,"prev":"%s"', '{"seq":true,"prev":"%s"',
        '{"seq":"1","prev":"%s"', '{"seq":[],"prev":"%s"', '{"seq":null,"prev":"%s"', '{"prev":"%s"',
        '{"seq":0,"prev":"%s"', '{"seq":-1,"prev":"%s"', f'{{"seq":{"9" * 5000},"prev":"%s"',
        f'{{"seq":1,"lost_lines":{"9" * 4300},"prev":"%s"', '{"seq":1,"prev":null', '{"seq":1,"prev":["%s"]',
        '{"seq":1', "[1", "7", "", "{", '{"seq":1,"time":"\u00fc","prev":"%s"',
        f'{{"seq":1,"deep":{"[" * 20_000}{"]" * 20_000},"prev":"%s"',
        f'{{"seq":1,"deep":{"[" * 20_000},"prev":"%s"',
        f'{{"seq":1,"long":"{"x" * 70_000}","prev":"%s"', b'{"seq":1,"latin":"\xfc"', b"\0" * 70_000, b"\0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_part", [True, False])
def test_a_line_of_another_make_ends_with_1(
    tmp_path: Path, verify: Verify, body: str | bytes, *, is_part: bool
) -> None:
    """Wrong types, numbers without end, nesting without end, other encodings, with a hash that fits."""
    body = body.replace("%s", "0" * 64) if isinstance(body, str) else body
    file_for(tmp_path, 1).write_bytes(sealed(body))
    assert verify(tmp_path, is_part=is_part)[0] == 1
    assert verify(tmp_path, is_part=is_part, is_json=True)[0] == 1


def test_counts_beyond_all_printing_are_added_up(tmp_path: Path, verify: Verify) -> None:
    """The sum of what lines claim is told, however large."""
    link, path = START, file_for(tmp_path, 1)
    with path.open("wb") as file:
        for _ in range(20):
            line, link = write_line(link, {"lost_lines": 2**63 - 1})
            file.write(line)
    assert verify(tmp_path)[0] == 0


def test_many_problems_are_counted_and_some_told(tmp_path: Path, verify: Verify) -> None:
    """A file of a hundred thousand broken lines does not become a report as long."""
    file_for(tmp_path, 1).write_bytes(b"\n" * 100_000)
    assert verify(tmp_path) == (1, "The chain is not whole. Problems: 100000")
    told = json.loads(verify(tmp_path, is_json=True)[1])
    assert (len(told["problems"]), told["problem_count"], told["is_whole"]) == (100, 100_000, False)


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with a piece replaced: by other bytes, by nothing, by zeros, by another piece of it."""
    begin = draw(st.integers(0, len(content)))
    end = draw(st.integers(begin, min(len(content), begin + draw(st.sampled_from([0, 1, 80, 9999])))))
    at = draw(st.integers(0, len(content)))
    piece = draw(
        st.one_of(
            st.binary(max_size=3),
            st.sampled_from(
                [b"", b"\n", b"\r\n", b"\0", b"\xef\xbb\xbf", bytes(end - begin), b"[" * 70_000, bytes(150_000)]
            ),
            st.integers(0, 500).map(lambda size: content[at : at + size]),
        )
    )
    return content[:begin] + piece + content[end:]


@_ONE_FOLDER
@given(data=st.data())
def test_no_changed_bytes_end_with_0(
    real: dict[str, bytes], tmp_path: Path, verify: Verify, data: st.DataObject
) -> None:
    """With the anchor of the last line any change ends with 1; without it, all but an end that was cleanly cut off."""
    name = data.draw(st.sampled_from(sorted(real)))
    changed = {**real, name: data.draw(mutations(real[name]))}
    put(tmp_path, real)
    anchor = str(check_ledger(tmp_path).last)
    put(tmp_path, changed)
    code = verify(tmp_path, anchor)[0]
    assert code == int(changed != real)
    if verify(tmp_path)[0] == 0:
        before, after = (b"".join(files.values()) for files in (real, changed))
        assert before.startswith(after)
    verify(tmp_path, anchor, is_part=True, is_json=True)


@_ONE_FOLDER
@given(
    files=st.lists(st.binary(max_size=300).map(lambda body: body.replace(b"a", b"\n")), max_size=3),
    is_part=st.booleans(),
)
def test_any_bytes_end_with_a_verdict(tmp_path: Path, verify: Verify, files: list[bytes], *, is_part: bool) -> None:
    """Files of anything are no ledger, and the writer finds its place behind them."""
    put(tmp_path, {file_for(tmp_path, number).name: content for number, content in enumerate(files, start=1)})
    assert verify(tmp_path, is_part=is_part)[0] == (1 if any(files) else 2)
    assert find_end(tmp_path).link == START


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@pytest.mark.slow
@_ONE_FOLDER
@given(
    facts=st.dictionaries(
        st.sampled_from(["seq", "time", "prev", "lost_lines", "torn_bytes", "torn_sha256", "hash"]), _JSON
    )
)
def test_any_json_with_a_fitting_hash_ends_with_a_verdict(
    tmp_path: Path, verify: Verify, facts: dict[str, object]
) -> None:
    """What a line says may be of any type."""
    put(tmp_path, {file_for(tmp_path, 1).name: sealed(json.dumps({"seq": 1, "prev": "0" * 64, **facts})[:-1])})
    assert verify(tmp_path)[0] in {0, 1}
    assert verify(tmp_path, is_part=True, is_json=True)[0] in {0, 1}


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(0, 40), max_size=12), tail=st.binary(max_size=40), block=st.integers(1, 600))
def test_the_end_is_found_wherever_blocks_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lengths: list[int], tail: bytes, block: int
) -> None:
    """A file is read from its end in blocks; lines lie across them anyhow."""
    monkeypatch.setattr("service.ledger.chain._BLOCK", block)
    link, content = START, b""
    for length in lengths:
        line, link = write_line(link, {"outcome": "x" * length})
        content += line
    put(tmp_path, {file_for(tmp_path, 1).name: content + tail})
    end = find_end(tmp_path)
    assert (end.link, end.torn_bytes) == (link, len(tail))


@pytest.mark.parametrize(
    "text", ["0:" + "0" * 64, "\u0665:" + "0" * 64, "9" * 5000 + ":" + "0" * 64, "5:" + "0" * 64 + "\n"]
)
def test_an_anchor_of_another_make_ends_with_2(
    real: dict[str, bytes], tmp_path: Path, verify: Verify, text: str
) -> None:
    """Digits are 0 to 9, and not without end."""
    put(tmp_path, real)
    assert verify(tmp_path, text)[0] == 2
    with pytest.raises(ValueError, match="SEQ:HASH"):
        Link.parse(text)
