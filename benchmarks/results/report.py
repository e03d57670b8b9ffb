"""results.json → tables: in the terminal, and between the markers of docs/explanation/performance.md."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.results.rows import bar, holds, in_order

DOCUMENT = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"

Figures = Mapping[str, Any]


def print_ratios(ratios: Mapping[str, float]) -> None:
    """Each ratio with what it must be."""
    for key, value in in_order(ratios).items():
        print(f"{key:30} {value:8.3f}   must be {bar(key)}{'' if holds(key, value) else '   MISSED'}")


def write_tables(results: Figures, document: Path = DOCUMENT) -> None:
    """Replace what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`; a missing marker is an error."""
    text = document.read_text("utf-8")
    for name, table in render(results).items():
        block = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        if not block.search(text):
            raise ValueError(f"expected the markers of {name!r} in {document.name}")
        text = block.sub(lambda found, table=table: f"{found[1]}\n{table}\n{found[2]}", text)  # type: ignore[misc]
    document.write_text(text, "utf-8")


def render(results: Figures) -> dict[str, str]:
    """Markdown by marker, for the sections that the results have."""
    tables = {"ratios": _ratios(results["ratios"])}
    if "serving" in results:
        serving = results["serving"]
        tables |= {
            "conditions": _conditions(serving),
            "servers": _servers(serving),
            "costs": _costs(serving),
            "bare": _bare(serving["bare"]),
            "headroom": _headroom(serving),
            "overload": _overload(serving["overload"]),
        }
    for other in ("serving_f32", "serving_auto"):
        if other in results:
            serving = results[other]
            parts = (_conditions(serving), _ratios(serving["ratios"]), _servers(serving), _bare(serving["bare"]))
            tables["other_precision"] = "\n".join(parts)
    if "swap" in results:
        tables["swap"] = _swap(results["swap"])
    return tables


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _median(figure: Figures, digits: int, scale: float = 1.0) -> str:
    """'181 (178 to 184)': the median, and the lowest and highest round."""
    median, low, high = (f"{figure[name] * scale:.{digits}f}" for name in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def _ratios(ratios: Figures) -> str:
    rows = [
        [f"`{key}`", f"{value:.3g}", bar(key), "holds" if holds(key, value) else "**missed**"]
        for key, value in ratios.items()
    ]
    return _table(["ratio", "measured", "must be", ""], rows)


def _conditions(serving: Figures) -> str:
    machine, slices, generator = serving["machine"], serving["slices"], serving["generator"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    facts = {
        "Command": f"`{serving['command']}`",
        "Rounds": f"{serving['rounds']}, windows of {serving['window_s']:g} s, {serving['duration_s'] / 60:.0f} min",
        "Processor": f"{machine['cpu']}, {machine['cores']} cores, {', '.join(machine['instruction_sets'])}",
        "Machine": f"{machine['memory_gb']:.0f} GB, {machine['system']}, Python {machine['python']}",
        "Idle just before a round": f"{_median(serving['idle_share_before_rounds'], 0, 100)} % of all cores",
        "Model": f"{serving['model']}; batches of at most {serving['max_batch_size']}; "
        + ("float32 everywhere" if serving["precision"] == "f32" else "OpenVINO in the precision that it chooses"),
        "Slices": f"{slices['count']} {slices['kind']}, {slices['mean_bytes'] / 1e3:.0f} kB each as JPEG",
        "Load generator": f"wrk; sends {generator['limit_per_s']}/s of the same bodies where nobody computes; "
        f"took at most {generator['most_cores_taken']:.2f} of a core",
        "Versions": versions,
    }
    return _table(["", ""], [[name, fact] for name, fact in facts.items()])


def _servers(serving: Figures) -> str:
    """Throughput and latency by number of connections, the limit first."""
    levels = list(next(iter(serving["servers"].values()))["levels"])
    limit = serving["bare"]["arrangements"][serving["bare"]["limit"]]["throughput"]
    blocks = []
    for name, title, digits in (
        ("throughput", "Answers a second", 0),
        ("p50_ms", "p50, ms", 1),
        ("p99_ms", "p99, ms", 1),
    ):
        rows = [["bare loop (the limit)", *[_median(limit, 0)] * len(levels)]] if name == "throughput" else []
        rows += [
            [one["label"], *(_median(one["levels"][level][name], digits) for level in levels)]
            for one in serving["servers"].values()
        ]
        blocks.append(_table([f"{title}, by connections", *levels], rows))
    return "\n".join(blocks)


def _costs(serving: Figures) -> str:
    rows = []
    for one in serving["servers"].values():
        level = one["levels"].get("16") or next(iter(one["levels"].values()))
        rows.append(
            [
                one["label"],
                _median(level["cpu_s_per_request"], 2, 1e3),
                _median(one["rss_mb"], 0),
                _median(one["pss_mb"], 0),
                _median(one["first_answer_s"], 2),
            ]
        )
    return _table(["", "CPU ms a request (16)", "RSS, MB", "PSS, MB", "start to first answer, s"], rows)


def _bare(bare: Figures) -> str:
    rows = [
        [
            f"`{name}`" + (" (the limit)" if name == bare["limit"] else ""),
            _median(one["throughput"], 0),
            _median(one["p50_ms"], 1),
            _median(one["cpu_s_per_request"], 2, 1e3),
        ]
        for name, one in bare["arrangements"].items()
    ]
    return _table(["arrangement", "slices a second", "p50 of a step, ms", "CPU ms a slice"], rows)


def _headroom(serving: Figures) -> str:
    """What no server could exceed: the limit against each server."""
    limit = serving["bare"]["arrangements"][serving["bare"]["limit"]]["throughput"]["median"]
    rows = []
    for one in serving["servers"].values():
        rate = (one["levels"].get("16") or next(iter(one["levels"].values())))["throughput"]["median"]
        rows.append([one["label"], f"{rate:.0f}", f"{limit / rate:.2f}"])
    return _table(["", "answers a second (16)", "the limit / it"], rows)


def _overload(overload: Figures) -> str:
    rows = [
        ["offered, requests a second", _median(overload["offered_per_s"], 0)],
        ["answered 200, a second", _median(overload["answered_per_s"], 0)],
        ["p99 of those, ms", _median(overload["accepted_p99_ms"], 0)],
        ["2 x queue limit / measured rate, ms", _median(overload["accepted_limit_ms"], 0)],
        ["answered 503", _median(overload["refused"], 0)],
        ["p50 of those, ms", _median(overload["refused_p50_ms"], 1)],
        ["p99 of those, ms", _median(overload["refused_p99_ms"], 1)],
        ["within 20 ms, %", _median(overload["refused_within_20_ms"], 1, 100)],
        ["neither 200 nor 503", _median(overload["neither"], 0)],
    ]
    return _table(["beyond capacity", "median (lowest to highest round)"], rows)


def _failed(swap: Figures) -> str:
    """How many, by status where that was counted."""
    if not swap["failed"] or "failed_by_status" not in swap:
        return str(swap["failed"])
    every, without = (
        ", ".join(f"{count} x {status}" for status, count in swap[name].items()) or "none"
        for name in ("failed_by_status", "failed_by_status_without")
    )
    return f"{swap['failed']} ({every}; in pauses without swaps: {without})"


def _swap(swap: Figures) -> str:
    rss = swap["rss_mb_after"]
    rows = [
        ["swaps asked for, done", f"{swap['swaps_asked']}, {swap['swaps_done']}"],
        ["requests", f"{swap['requests']} at {swap['rate_per_s']:.0f} a second ({swap['load']:.0%} of capacity)"],
        ["failed", _failed(swap)],
        ["p50, ms: without swaps, with swaps", f"{swap['p50_ms_without']:.1f}, {swap['p50_ms_with']:.1f}"],
        ["p99, ms: without swaps, with swaps", f"{swap['p99_ms_without']:.1f}, {swap['p99_ms_with']:.1f}"],
        ["p99 inside the loading windows, ms", f"{swap['p99_ms_loading']:.1f}"],
        ["a load takes, s", f"{swap['load_s']['median']:.2f} (at most {swap['load_s']['max']:.2f})"],
        ["RSS after swap, MB", ", ".join(f"{number}: {value:.0f}" for number, value in rss.items())],
    ]
    return f"Command: `{swap['command']}`.\n\n" + _table(["", ""], rows)
