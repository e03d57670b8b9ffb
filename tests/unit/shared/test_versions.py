from pathlib import Path
from typing import Any

import pytest

from shared.versions import Decision, Policy, PolicyError, decide, published_versions, read_policy


# expected: the version to load, the version complained about
@pytest.mark.parametrize(
    ("published", "pin", "serving", "failed", "expected"),
    [
        # nothing to do
        ((), None, None, (), (None, None)),
        ((3,), None, 3, (), (None, None)),
        ((1, 2, 3), None, 3, (1, 2), (None, None)),
        ((1, 2), 1, 1, (), (None, None)),
        # the newest good one
        ((1,), None, None, (), (1, None)),
        ((9, 10, 2), None, 9, (), (10, None)),
        ((1, 2), None, None, (1,), (2, None)),
        # the newest is bad
        ((3,), None, None, (3,), (None, 3)),
        ((1, 2, 3), None, None, (3,), (2, 3)),
        ((1, 2, 3), None, 2, (3,), (None, 3)),
        ((1, 2, 3, 4), None, 1, (4,), (3, 4)),
        ((1, 2, 3, 4), None, 2, (3, 4), (None, 4)),
        ((1, 2), None, None, (1, 2), (None, 2)),
        # what serves was proven: finding its files bad later does not unload it
        ((1, 2), None, 2, (2,), (None, None)),
        ((1, 2, 3), None, 2, (2, 3), (None, 3)),
        # what serves is gone
        ((), None, 4, (), (None, 4)),
        ((1, 2), None, 4, (), (2, 4)),
        ((1, 5), None, 4, (), (5, 4)),
        ((1, 2), None, 4, (1, 2), (None, 2)),
        ((1, 2), None, 4, (2,), (1, 2)),
        # pinned, up or down
        ((1, 2, 3), 1, 3, (), (1, None)),
        ((1, 2, 3), 3, 1, (), (3, None)),
        ((1, 2, 3), 2, None, (), (2, None)),
        ((1, 2, 3), 2, 1, (3,), (2, None)),
        ((1, 2), 2, 2, (2,), (None, None)),
        # pinned but missing or bad: never replaced by another one, not even at the start
        ((1, 2), 7, None, (), (None, 7)),
        ((1, 2), 7, 2, (), (None, 7)),
        ((), 7, None, (), (None, 7)),
        ((1, 2), 1, None, (1,), (None, 1)),
        ((1, 2), 1, 2, (1,), (None, 1)),
        # pinned and serving, but gone: a restart would find nothing
        ((1,), 2, 2, (), (None, 2)),
    ],
)
def test_decide(
    published: tuple[int, ...],
    pin: int | None,
    serving: int | None,
    failed: tuple[int, ...],
    expected: tuple[int | None, int | None],
) -> None:
    """Every branch: which version is loaded, and which one there is a complaint about."""
    decision = decide(published, Policy(pin=pin), serving, failed)
    assert (decision.load, decision.about) == expected
    assert (decision.complaint is None) == (decision.about is None)
    assert decision.complaint is None or str(decision.about) in decision.complaint


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (((1, 2), Policy(), None, (2,)), "version 2 is bad"),
        (((1,), Policy(), 2, ()), "the serving version 2 is no longer in the repository"),
        (((1,), Policy(pin=2), 2, ()), "the serving version 2 is no longer in the repository"),
        (((1,), Policy(pin=2), 1, ()), "the pinned version 2 is not in the repository"),
        (((1, 2), Policy(pin=2), 1, (2,)), "the pinned version 2 is bad"),
    ],
)
def test_complaints_are_sentences_for_the_operator(arguments: tuple[Any, ...], complaint: str) -> None:
    """/health shows these words as they are."""
    assert decide(*arguments).complaint == complaint


def test_following_decisions_ends() -> None:
    """Whatever is bad, doing what is decided and noting what fails comes to rest on the newest good version."""
    versions = (1, 2, 3, 4)
    for bad_bits in range(16):
        bad = {version for bit, version in enumerate(versions) if bad_bits >> bit & 1}
        serving, steps = None, 0
        failed: set[int] = set()
        while (load := decide(versions, Policy(), serving, failed).load) is not None:
            if load in bad:
                failed.add(load)
            else:
                serving = load
            steps += 1
            assert steps <= len(versions)
        assert serving == max(set(versions) - bad, default=None)


def test_no_folder_is_an_empty_repository(tmp_path: Path) -> None:
    """The service may start before the first publisher made the folder."""
    assert published_versions(tmp_path / "lung-ct") == ()
    assert decide((), Policy(), None, ()) == Decision()


def test_versions_are_folders_with_plain_integer_names(tmp_path: Path) -> None:
    """Unfinished versions, other spellings of numbers, links and files are none; order is by number."""
    for name in ("10", "9", "1"):
        (tmp_path / name).mkdir()
    for name in (".tmp-11", "11.tmp", "03", "+4", "-5", "6.0", " 7", "1_000", "²", "٣", "figures", "v8"):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file")
    (tmp_path / "13").symlink_to(tmp_path / "9")
    (tmp_path / "policy.json").write_text("{}")
    assert published_versions(tmp_path) == (1, 9, 10)


@pytest.mark.parametrize(
    ("text", "pin"), [('{"pin": 2}', 2), ('{"pin": null}', None), ("{}", None), (' {"pin":1}\n', 1)]
)
def test_a_policy_pins_or_does_not(tmp_path: Path, text: str, pin: int | None) -> None:
    """A number pins; null and nothing do not."""
    (tmp_path / "policy.json").write_text(text)
    assert read_policy(tmp_path) == Policy(pin=pin)


def test_no_policy_file_means_no_pin(tmp_path: Path) -> None:
    """So does a folder that is not there yet."""
    assert read_policy(tmp_path) == read_policy(tmp_path / "lung-ct") == Policy(pin=None)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"2", b"[2]", b"\xff\xfe", b'{"pin": 2}}', b'{"pins": 2}', b'{"pin": 2, "until": "noon"}'),
        *(b'{"pin": 0}', b'{"pin": -1}', b'{"pin": 1.5}', b'{"pin": true}', b'{"pin": "2"}', b'{"pin": [2]}'),
    ],
)
def test_a_malformed_policy_is_an_error(tmp_path: Path, content: bytes) -> None:
    """What cannot be understood whole is never taken for "no pin", nor true for 1."""
    (tmp_path / "policy.json").write_bytes(content)
    with pytest.raises(PolicyError, match=r'expected \{"pin": N\}'):
        read_policy(tmp_path)
