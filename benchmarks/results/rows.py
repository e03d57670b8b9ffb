"""benchmarks/results.json: read, merged, written whole; and the ratios that the figures come to."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results.json"

_BARS: dict[str, tuple[str, float]] = {
    "throughput_vs_bare_16": (">=", 0.90),
    "throughput_vs_bare_64": (">=", 0.90),
    "throughput_vs_litserve_tf_16": (">=", 1.7),
    "throughput_vs_bentoml_tf_16": (">=", 2.5),
    "throughput_vs_flask_tf_16": (">=", 1.7),
    "throughput_vs_litserve_ov_16": (">", 1.0),
    "throughput_vs_mosec_ov_16": (">", 1.0),
    "p50_vs_bare_1": ("<=", 1.15),
    "p99_over_p50_16": ("<=", 1.8),
    "swap_failed": ("<=", 0),
    "swap_p99_ratio": ("<=", 1.5),
    "swap_rss_ratio_100": ("<=", 1.10),
    "rss_mb": ("<=", 300),
    "ready_s": ("<=", 3),
}
"""What the service is held to, by key of `ratios`."""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median with the lowest and highest value, rounded to five digits."""
    return {"median": _rounded(statistics.median(values)), "min": _rounded(min(values)), "max": _rounded(max(values))}


def _rounded(value: float) -> float:
    return 0.0 if value == 0 else round(value, 4 - math.floor(math.log10(abs(value))))


def read_results(path: Path) -> dict[str, Any]:
    """What earlier runs measured; empty where there was none."""
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}


def write_results(path: Path, news: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the sections that were measured now, and in `ratios` their keys; returns everything."""
    results = read_results(path)
    results = {**results, **news, "ratios": in_order({**results.get("ratios", {}), **news.get("ratios", {})})}
    path.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    return results


def in_order(ratios: Mapping[str, float]) -> dict[str, float]:
    """The same ratios, always in one order."""
    return {key: ratios[key] for key in _BARS if key in ratios}


def bar(key: str) -> str:
    """What `ratios[key]` must be, such as ">= 0.9"."""
    sign, limit = _BARS[key]
    return f"{sign} {limit:g}"


def holds(key: str, value: float) -> bool:
    """Whether a ratio is as it must be."""
    sign, limit = _BARS[key]
    return value >= limit if sign == ">=" else value > limit if sign == ">" else value <= limit
