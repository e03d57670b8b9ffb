"""Sections for a terminal, as Markdown, and as a page."""

import re

from trainer.validation.rendering import as_markdown, as_page, as_text
from trainer.validation.sections import HOW_IT_COUNTS, Section

SECTIONS = (
    Section("", ("2 of 3 slices were trained on.",), is_warning=True),
    Section("Figures", ("A | B <i>",), ("", "by slice", "by case"), (("accuracy", "0.5", "0.25"), ("a_b", "-", "1"))),
    Section(HOW_IT_COUNTS, ("word " * 40,)),
)


def test_a_terminal_gets_columns_and_short_lines() -> None:
    """Labels to the left, numbers to the right, a title after a blank line; sentences are wrapped."""
    text = as_text("Version 1", SECTIONS)
    assert text.splitlines()[:8] == [
        "Version 1",
        "2 of 3 slices were trained on.",
        "",
        "Figures",
        "A | B <i>",
        "          by slice  by case",
        "accuracy       0.5     0.25",
        "a_b              -        1",
    ]
    assert max(map(len, text.splitlines())) <= 120


def test_markdown_obeys_nothing_that_a_name_holds() -> None:
    """Marks within names are escaped; a warning is bold."""
    text = as_markdown("Version 1", SECTIONS)
    assert text.startswith("# Version 1\n")
    assert "**2 of 3 slices were trained on.**" in text
    assert r"A \| B \<i>" in text
    assert "|  | by slice | by case |\n| --- | ---: | ---: |\n| accuracy | 0.5 | 0.25 |\n| a\\_b | - | 1 |" in text


def test_a_page_is_whole_and_loads_nothing() -> None:
    """Everything is in it, names are escaped, and plots stand before the last explanation; it suits dark screens."""
    page = as_page("Version <1>", SECTIONS, [("A plot", b"png")])
    assert "<title>Version &lt;1&gt;</title>" in page
    assert '<p class="bad">2 of 3' in page
    assert "A | B &lt;i&gt;" in page
    assert "prefers-color-scheme: dark" in page
    assert page.index("Figures") < page.index("data:image/png;base64,cG5n") < page.index(HOW_IT_COUNTS)
    assert re.findall(r"(?:src|href)=\"(?!data:)", page) == []
