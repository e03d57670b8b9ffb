"""The table of docs/reference/errors.md: `python -m tests.support.problem_table` writes it anew from the code.

Name, status and example are the code's. What a problem means is the document's; of a new one, its docstring.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from service.api.connection import http_protocol
from service.api.problems import OF_DECODING, example_of, kind_of
from service.app import create_app
from service.errors import ProblemError

assert http_protocol, create_app  # with them everything is imported that can be wrong
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
_ROW = re.compile(r"^\| `([a-z-]+)` \| \d{3} \| (.+?) \| .+ \|\n", re.MULTILINE)


def all_problems() -> list[type[Exception]]:
    """A class for each kind there is, by status and name, as far as their modules are imported."""
    errors = [*OF_DECODING, *(one for one in _below(ProblemError) if "kind" in vars(one))]
    return sorted(errors, key=lambda error: (kind_of(error).status, kind_of(error).name))


def _below(parent: type[ProblemError]) -> Iterator[type[ProblemError]]:
    for child in parent.__subclasses__():
        yield child
        yield from _below(child)


def with_table(text: str) -> str:
    """The document with a row for every problem, by status; text: the document as it is."""
    meanings = dict(_ROW.findall(text))
    rows = []
    for error in all_problems():
        kind = kind_of(error)
        meaning = meanings.get(kind.name) or " ".join((error.__doc__ or "").split())
        rows.append(f"| `{kind.name}` | {kind.status} | {meaning} | {example_of(error)} |\n")
    head, _, tail = text.partition(next(row[0] for row in _ROW.finditer(text)))
    return head + "".join(rows) + _ROW.sub("", tail)


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text("utf-8")), "utf-8")
