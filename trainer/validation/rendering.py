"""Sections of a report for a terminal, as Markdown, and as one page that needs no other file and no network."""

import textwrap
from collections.abc import Iterable
from html import escape

from trainer import html_page
from trainer.validation.sections import HOW_IT_COUNTS, Row, Section

_WIDTH = 120
_CARE = "Research and education only, never for diagnosis."


def as_text(title: str, sections: Iterable[Section]) -> str:
    """Lines of at most 120 characters, but for tables with long names of classes."""
    parts = [title]
    for section in sections:
        lines = [f"\n{section.title}"] if section.title else []
        for sentence in section.sentences:
            lines += textwrap.wrap(sentence, _WIDTH) or [""]
        parts += lines + _aligned(section)
    return "\n".join(parts)


def as_markdown(title: str, sections: Iterable[Section]) -> str:
    """A document of its own."""
    parts = [f"# {title}", _CARE]
    for section in sections:
        if section.title:
            parts.append(f"## {section.title}")
        parts += [f"**{sentence}**" if section.is_warning else sentence for sentence in map(_marked, section.sentences)]
        if section.rows:
            head = (section.head, ("---", *("---:" for _ in section.head[1:])))
            parts.append("\n".join(f"| {' | '.join(map(_marked, row))} |" for row in (*head, *section.rows)))
    return "\n\n".join(parts) + "\n"


def as_page(title: str, sections: Iterable[Section], plots: Iterable[tuple[str, bytes]] = ()) -> str:
    """plots: caption and PNG bytes of each; they stand before what says how things are counted."""
    parts = [f"<h1>{escape(title)}</h1>", html_page.note(_CARE)]
    for section in sections:
        if section.title == HOW_IT_COUNTS:
            parts += [html_page.image(png, caption) for caption, png in plots]
        if section.title:
            parts.append(f"<h2>{escape(section.title)}</h2>")
        sentences = [escape(sentence) for sentence in section.sentences]
        parts += [html_page.bad(one) if section.is_warning else f"<p>{one}</p>" for one in sentences]
        if section.rows:
            parts.append(html_page.table(section.head, section.rows))
    return html_page.page(title, parts)


def _aligned(section: Section) -> list[str]:
    """A table: labels to the left, all else to the right."""
    if not section.rows:
        return []
    lines: tuple[Row, ...] = (section.head, *section.rows)
    widths = [max(len(row[column]) for row in lines) for column in range(len(section.head))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in lines
    ]


def _marked(cell: str) -> str:
    """Text in which Markdown sees no mark."""
    for mark in ("\\", "|", "*", "_", "<", "`"):
        cell = cell.replace(mark, f"\\{mark}")
    return cell
