"""Parameters in the address of a request that takes a slice, and how callers write numbers there and in headers.

Numbers are short, in ASCII, in one notation. Python's own int() and float() also take digits of every script,
underscores, blanks, nan, and any length: int() raises where a text is long, and what it takes is as long when it is
told back.
"""

import re

from fastapi import Request

from service.errors import InvalidRequest

MAX_QUERY_BYTES = 2048
_MAX_FRAME = 2**31 - 1  # Number of Frames is an integer string (PS3.5, 6.2)
_WHOLE = re.compile(r"[0-9]{1,20}")
_DECIMAL = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LONGEST_DECIMAL = 32  # characters; what any language prints has 25 at most


def whole_number(text: str) -> int | None:
    """Digits alone, at most 20; None for whatever else."""
    return int(text) if _WHOLE.fullmatch(text) else None


def decimal_number(text: str) -> float | None:
    """A decimal number, at most 32 characters, such as -160, .5 or 1e-3; None for whatever else. May be infinite."""
    return float(text) if len(text) <= _LONGEST_DECIMAL and _DECIMAL.fullmatch(text) else None


def parameter_of(request: Request, name: str) -> str | None:
    """The text of a parameter; None where it is not given.

    Raises InvalidRequest where it is given twice, for nobody knows which one was meant, and where the query is long.
    """
    if len(request.scope["query_string"]) > MAX_QUERY_BYTES:
        raise InvalidRequest(f"The parameters in the address must not be longer than {MAX_QUERY_BYTES} bytes.")
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise InvalidRequest(f"{name} must not be given more than once.")
    return given[0] if given else None


def frame_of(request: Request) -> int | None:
    """`frame`, counted from 1; None where it is not given. Raises InvalidRequest."""
    if not request.scope["query_string"]:  # nearly always
        return None
    text = parameter_of(request, "frame")
    if text is None:
        return None
    number = whole_number(text)
    if number is None or not 1 <= number <= _MAX_FRAME:
        raise InvalidRequest(f"frame must be a whole number from 1 to {_MAX_FRAME}.")
    return number


def number_of(request: Request, name: str, least: float, most: float) -> float | None:
    """A number within bounds; None where it is not given. Raises InvalidRequest."""
    text = parameter_of(request, name)
    if text is None:
        return None
    number = decimal_number(text)
    if number is None or not least <= number <= most:
        raise InvalidRequest(f"{name} must be a number from {least:g} to {most:g}.")
    return number
