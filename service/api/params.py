"""Parameters in the address of a request that takes a slice."""

from fastapi import Request

from service.api.numbers import decimal_number, whole_number
from service.errors import InvalidRequest

MAX_QUERY_BYTES = 2048
_MAX_FRAME = 2**31 - 1  # Number of Frames is an integer string (PS3.5, 6.2)


def parameter_of(request: Request, name: str) -> str | None:
    """The text of a parameter; None where it is not given.

    Raises InvalidRequest where it is given twice, for nobody knows which one was meant, and where the query is long.
    """
    query = request.scope["query_string"]
    if not query:  # nearly always
        return None
    if len(query) > MAX_QUERY_BYTES:
        raise InvalidRequest(f"The parameters in the address must not be longer than {MAX_QUERY_BYTES} bytes.")
    given = request.query_params.getlist(name)
    if len(given) > 1:
        raise InvalidRequest(f"{name} must not be given more than once.")
    return given[0] if given else None


def frame_of(request: Request) -> int | None:
    """`frame`, counted from 1; None where it is not given. Raises InvalidRequest."""
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
