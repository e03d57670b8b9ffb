"""Parameters in the address of a request that takes a slice."""

import math

from fastapi import Request

from service import problems
from service.problems import ProblemError

_MAX_FRAME = 2**31 - 1  # Number of Frames is an integer string (PS3.5, 6.2)


def frame_of(request: Request) -> int | None:
    """`frame`, counted from 1; None where it is not given. Raises ProblemError."""
    if not request.scope["query_string"]:  # nearly always
        return None
    text = request.query_params.get("frame")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:20]) <= _MAX_FRAME):
        raise ProblemError(problems.INVALID_REQUEST, "frame must be a whole number from 1.")
    return int(text)


def number_of(request: Request, name: str, least: float, most: float) -> float | None:
    """A number within bounds; None where it is not given. Raises ProblemError."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:  # also true for NaN
        raise ProblemError(problems.INVALID_REQUEST, f"{name} must be a number from {least:g} to {most:g}.")
    return number
