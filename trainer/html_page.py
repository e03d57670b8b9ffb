"""Pieces of a page of HTML that needs no other file and no network, readable on light and on dark screens."""

import base64
from collections.abc import Iterable
from html import escape

_MAX_ROWS = 50

_HEAD = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\
<meta name="viewport" content="width=device-width, initial-scale=1"><style>\
:root { color-scheme: light dark; --ink: #1c2733; --paper: #fff; --head: #f2f5f8; --line: #d5dde5; --note: #51606e;
  --bad: #a3271f; --good: #2c6e31 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dde5ec; --paper: #12181f; --head: #1d2731; --line: #3a4754; --note: #a3b3c1; --bad: #ff8f85;
    --good: #86d48b } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1120px;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.2rem; margin-top: 2.4rem }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem }
table { border-collapse: collapse; margin: .6rem 0 } th { font-weight: 600; background: var(--head) }
td, th { border: 1px solid var(--line); padding: .25rem .6rem; text-align: left }
td { overflow-wrap: anywhere }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
img { max-width: 100%; height: auto; background: #fff } .bad { color: var(--bad); font-weight: 600 }
.good { color: var(--good) } p.note { color: var(--note); margin: .2rem 0 } figure { margin: .4rem 0 }
</style></head>
<body>"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole page. title: plain text; body: HTML, a piece a line."""
    return "\n".join([_HEAD.replace("{title}", escape(title)), *body, "</body></html>\n"])


def table(head: Iterable[str], rows: Iterable[Iterable[object]], rest: str = "") -> str:
    """Numbers to the right; rows beyond 50 are counted instead of shown, and `rest` says where they are."""
    listed = [tuple(row) for row in rows]
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td{_numeric(cell)}>{escape(str(cell))}</td>" for cell in row) for row in listed[:_MAX_ROWS]]
    more = f"<p>… and {len(listed) - _MAX_ROWS} more{rest}.</p>" if len(listed) > _MAX_ROWS else ""
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + f"</table>{more}"


def _numeric(cell: object) -> str:
    return ' class="n"' if isinstance(cell, int) or str(cell).replace(".", "", 1).isdigit() else ""


def bad(sentence: str) -> str:
    """A sentence of HTML that nobody must miss."""
    return f'<p class="bad">{sentence}</p>'


def note(text: str) -> str:
    """Plain text beside the matter."""
    return f'<p class="note">{escape(text)}</p>'


def details(title: str, content: str) -> str:
    """HTML behind a line of plain text that opens it."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def image(png: bytes, caption: str = "") -> str:
    """A picture within the page."""
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return f'<figure><img alt="{escape(caption)}" src="{source}">{text}</figure>'
