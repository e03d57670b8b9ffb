"""Names and numbers in lines for people."""

import pytest

from trainer.terminal import counted, printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Lunge links (3) größer.png", "Lunge links (3) größer.png"),
        ("a\x1b[2Jb\nc\td\x9b1m", r"a\x1b[2Jb\nc\td\x9b1m"),
        (b"caf\xe9.png".decode("utf-8", "surrogateescape"), r"caf\xe9.png"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("\ud800", r"\ud800"),
        ("Bild\u00a01.png", "Bild\u00a01.png"),
    ],
)
def test_a_name_is_shown_without_what_a_terminal_obeys(name: str, shown: str) -> None:
    """Letters of every script stay; controls, direction marks, line breaks and bytes that are no UTF-8 are escaped."""
    assert printable(name) == shown
    assert printable(shown) == shown
    shown.encode()


def test_one_is_no_plural() -> None:
    """One thing stands without an s."""
    assert [counted(count, "seed") for count in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
