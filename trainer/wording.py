"""How names that come from outside, and numbers of things, are put into lines for people."""

import unicodedata


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
