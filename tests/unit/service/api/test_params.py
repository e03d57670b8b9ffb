"""Parameters in the address: one notation of numbers, short, once."""

import pytest
from fastapi import Request

from service.api.params import MAX_QUERY_BYTES, decimal_number, frame_of, number_of, parameter_of, whole_number
from service.errors import InvalidRequest


def asked(query: str) -> Request:
    """A request with this query in its address."""
    return Request({"type": "http", "headers": [], "query_string": query.encode()})


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("1", 1), ("007", 7), ("9" * 20, int("9" * 20))])
def test_whole_numbers(text: str, number: int) -> None:
    """Digits alone."""
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1_0",
        "1.0",
        "1e3",
        "0x1",
        "²",
        "\u0661",
        "\uff11",
        "9" * 21,
        "0" * 19 + "1" + "0" * 5000,
    ],
)
def test_what_is_no_whole_number(text: str) -> None:
    """Signs, blanks, underscores, digits of other scripts, and what is longer than any number that is meant."""
    assert whole_number(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("-160", -160), ("1.5", 1.5), (".5", 0.5), ("5.", 5), ("1e-05", 1e-5), ("2E+3", 2000),
     ("-2.2250738585072014e-308", -2.2250738585072014e-308)],
)  # fmt: skip
def test_decimal_numbers(text: str, number: float) -> None:
    """What languages print for a number."""
    assert decimal_number(text) == number


@pytest.mark.parametrize(
    "text",
    ["", ".", "-", "e5", "1e", "+1", " 1", "1\n", "1_0", "nan", "inf", "-Infinity", "1,5", "0x1p3", "\u0663", "1" * 33],
)
def test_what_is_no_decimal_number(text: str) -> None:
    """What only Python takes for a number, and what is too long for one."""
    assert decimal_number(text) is None


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "%2B1", "", "1_0", "%201", "2147483648", "9" * 19, "9" * 100, "0" * 19 + "1" + "0" * 1500, "%D9%A1"],
)
def test_a_frame_that_no_file_can_have(text: str) -> None:
    """It is refused without being repeated, however it is written."""
    with pytest.raises(InvalidRequest) as refused:
        frame_of(asked(f"frame={text}"))
    assert str(refused.value) == "frame must be a whole number from 1 to 2147483647."


def test_a_frame() -> None:
    """Counted from 1, up to what a file can say; none where none is asked for."""
    assert [frame_of(asked(query)) for query in ("", "x=1", "frame=1", "frame=2147483647")] == [
        None,
        None,
        1,
        2**31 - 1,
    ]


@pytest.mark.parametrize(
    "text", ["nan", "inf", "1e999", "-1e999", "1e400", "2", "-0.1", "1_0", "%20.5", "%2B.5", "", "0" * 40]
)
def test_a_number_out_of_bounds(text: str) -> None:
    """No number, or one beyond the bounds, infinite ones among them."""
    with pytest.raises(InvalidRequest) as refused:
        number_of(asked(f"opacity={text}"), "opacity", 0, 1)
    assert str(refused.value) == "opacity must be a number from 0 to 1."


def test_a_number() -> None:
    """Within bounds, bounds included."""
    assert [number_of(asked(query), "x", 0, 1) for query in ("", "x=0", "x=1", "x=1e-05")] == [None, 0, 1, 1e-5]


def test_a_parameter_is_given_once() -> None:
    """Of two values nobody knows which one was meant; other parameters are not looked at."""
    assert parameter_of(asked("a=1&b=2&b=3"), "a") == "1"
    with pytest.raises(InvalidRequest, match="frame must not be given more than once"):
        frame_of(asked("frame=1&frame=1"))


def test_the_query_is_bounded() -> None:
    """A long query is refused whatever it says, and before it is taken apart."""
    assert frame_of(asked("frame=1".ljust(MAX_QUERY_BYTES, "&"))) == 1
    with pytest.raises(InvalidRequest, match=f"{MAX_QUERY_BYTES} bytes"):
        frame_of(asked("frame=1".ljust(MAX_QUERY_BYTES + 1, "&")))
