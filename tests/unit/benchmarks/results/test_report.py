import json
import re
from pathlib import Path

import pytest

from benchmarks.results.report import DOCUMENT, render, write_tables
from benchmarks.results.rows import bar, holds, read_results, spread, write_results


def test_a_run_replaces_its_sections_and_leaves_the_others(tmp_path: Path) -> None:
    """`make bench` and `make bench-swap` write one file, in any order."""
    path = tmp_path / "results.json"
    write_results(path, {"swap": {"failed": 0}, "ratios": {"swap_failed": 0, "ready_s": 9.0}})
    write_results(path, {"serving": {"rounds": 5}, "ratios": {"ready_s": 1.5}})
    assert read_results(path) == {
        "swap": {"failed": 0},
        "serving": {"rounds": 5},
        "ratios": {"swap_failed": 0, "ready_s": 1.5},
    }


def test_only_known_ratios_are_written(tmp_path: Path) -> None:
    """A key that nobody is held to never gets into the file."""
    assert write_results(tmp_path / "results.json", {"ratios": {"other": 1.0}})["ratios"] == {}


@pytest.mark.parametrize(
    ("key", "value", "is_enough"),
    [
        ("throughput_vs_bare_16", 0.90, True),
        ("throughput_vs_bare_16", 0.89, False),
        ("throughput_vs_mosec_ov_16", 1.0, False),
        ("throughput_vs_mosec_ov_16", 1.01, True),
        ("swap_failed", 0, True),
        ("swap_failed", 1, False),
        ("rss_mb", 300.1, False),
    ],
)
def test_bars(key: str, value: float, is_enough: bool) -> None:
    """A bar holds from its limit on; being faster than a peer means more than as fast."""
    assert holds(key, value) == is_enough
    assert bar(key)


def test_a_spread_is_rounded_to_five_digits() -> None:
    """No figure pretends to more digits than a measurement has."""
    assert spread([1.0, 123456.789, 2.00000001]) == {"median": 2.0, "min": 1.0, "max": 123460.0}


def test_tables_stand_between_their_markers(tmp_path: Path) -> None:
    """A run replaces the earlier table and nothing else; a ratio that misses its bar says so."""
    document = tmp_path / "performance.md"
    document.write_text("before\n<!-- ratios:begin -->\nearlier\n<!-- ratios:end -->\nafter\n", "utf-8")
    for value in (3.5, 2.5):
        write_tables({"ratios": {"ready_s": value}}, document)
    text = document.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| `ready_s` | 2.5 | <= 3 | holds |" in text
    assert "earlier" not in text
    assert "3.5" not in text


def test_a_missing_marker_is_an_error(tmp_path: Path) -> None:
    """A table that finds no place is not lost in silence."""
    document = tmp_path / "performance.md"
    document.write_text("nothing here\n", "utf-8")
    with pytest.raises(ValueError, match="'ratios'"):
        write_tables({"ratios": {"ready_s": 1.0}}, document)


def test_the_document_shows_the_results_that_are_kept() -> None:
    """The page on performance says what results.json says, and shows no figure where there is no such file."""
    results = Path(__file__).parents[4] / "benchmarks" / "results.json"
    text = DOCUMENT.read_text("utf-8")
    if results.exists():
        for table in render(json.loads(results.read_text("utf-8"))).values():
            assert table in text
    else:
        shown = re.findall(r"<!-- (\w+):begin -->\n(.*?)<!-- \1:end -->", text, re.DOTALL)
        assert shown
        assert all(not table for _, table in shown)
