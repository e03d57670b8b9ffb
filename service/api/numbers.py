"""Numbers that callers write, in the address or in a header: short, in ASCII, in one notation, or none.

Python's own int() and float() also take digits of every script, underscores, blanks, nan, and any length: int() raises
where a text is long, and what it takes is as long when it is told back.
"""

import re

_WHOLE = re.compile(r"[0-9]{1,20}")
_DECIMAL = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LONGEST_DECIMAL = 32  # characters; what any language prints has 25 at most


def whole_number(text: str) -> int | None:
    """Digits alone, at most 20; None for whatever else."""
    return int(text) if _WHOLE.fullmatch(text) else None


def decimal_number(text: str) -> float | None:
    """A decimal number, at most 32 characters, such as -160, .5 or 1e-3; None for whatever else. May be infinite."""
    return float(text) if len(text) <= _LONGEST_DECIMAL and _DECIMAL.fullmatch(text) else None
