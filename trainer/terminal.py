"""What a person reads of a verb: results on standard output, all else on standard error, and lines of ours alone."""

import io
import logging
import os
import sys
import unicodedata
import warnings


def printable(text: object) -> str:
    r"""The text on one line, with nothing in it that a terminal or a page obeys.

    Control and formatting characters become escapes such as \x1b, and so do bytes of a file's name that are no UTF-8.
    """
    return "".join(one if one.isprintable() or unicodedata.category(one) == "Zs" else _escape(one) for one in str(text))


def _escape(one: str) -> str:
    is_byte = "\udc80" <= one <= "\udcff"  # how Python holds a byte that is no UTF-8
    return f"\\x{ord(one) - 0xDC00:02x}" if is_byte else one.encode("unicode_escape").decode()


def counted(count: int, noun: str) -> str:
    """'1 slice', '2 slices': for nouns that take an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def say(text: str) -> None:
    """Print lines of a result on standard output; nothing in them that a terminal obeys."""
    sys.stdout.write("\n".join(printable(line) for line in text.split("\n")) + "\n")


def complain(text: str) -> None:
    """Print a line on what went wrong on standard error, with our name before it."""
    sys.stderr.write(f"trainer: {printable(text)}\n")


def let_go_of_output() -> None:
    """What could not be written must not be tried again when Python ends, which would complain in its own words."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def have_our_lines_alone() -> None:
    """Show our log on standard error, and nothing of TensorFlow, other libraries or Python; for the process's own main.

    A person who asks Python for its warnings (-W, PYTHONWARNINGS) gets them.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_OnOneLine())
    ours = logging.getLogger("trainer")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries say
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _OnOneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
