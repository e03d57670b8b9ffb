"""Plain log lines, for a person at a terminal."""

import logging
import sys

import pytest

from service.logging_config import PlainFormatter


def line(message: str, *args: object, **extra: object) -> str:
    record = logging.getLogger("lungct.x").makeRecord("lungct.x", logging.WARNING, "x.py", 1, message, args, None)
    vars(record).update(extra)
    return PlainFormatter().format(record)


def test_time_level_message_and_what_was_given() -> None:
    """One line; text with spaces is quoted, and what is not there is left out."""
    told = line("took %s", 3, model_version=2, reason="version 3 is bad", status="", caller=None)
    assert told[8:] == " WARNING took 3 model_version=2 reason='version 3 is bad' status=''"
    assert told[2] == told[5] == ":"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "\r", "\x9b1m", "\u202e", "\udcff"])
def test_nothing_reaches_the_terminal_raw(text: str) -> None:
    """Neither a message nor what it was given can move the cursor or begin a line of its own."""
    assert all(character.isprintable() for character in line(text, name=text))


def test_a_traceback_follows() -> None:
    """The lines of an exception come after the line."""
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.getLogger().makeRecord("x", logging.ERROR, "x.py", 1, "why", (), sys.exc_info())
    assert PlainFormatter().format(record).splitlines()[-1] == "ValueError: broken"


def test_a_traceback_cannot_move_the_cursor() -> None:
    """The text of an exception may come from outside: its line stays a line, and printable."""
    try:
        raise ValueError("a\x1b[2J\rb")
    except ValueError:
        record = logging.getLogger().makeRecord("x", logging.ERROR, "x.py", 1, "why", (), sys.exc_info())
    told = PlainFormatter().format(record).split("\n")
    assert all(one.isprintable() for one in told)
    assert told[-1] == r"ValueError: a\x1b[2J\rb"
