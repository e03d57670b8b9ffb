"""The table of docs/reference/errors.md: `python -m tests.support.problem_table` writes it anew from the code.

Name, status and example are the code's. What a problem means is the document's; of a new one, its docstring.
"""

import re
from pathlib import Path

from service.api.connection import http_protocol
from service.api.problems import all_problems, example_of, kind_of
from service.app import create_app

assert http_protocol, create_app  # with them everything is imported that can be wrong
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
_ROW = re.compile(r"^\| `([a-z-]+)` \| \d{3} \| (.+?) \| .+ \|\n", re.MULTILINE)


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
