import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.alone,
    pytest.mark.tools,
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk, which generates the load, is not installed"),
]

_ROOT = Path(__file__).parent.parent.parent


def run(module: str, *arguments: str, results: Path) -> dict[str, dict[str, float]]:
    """Run a benchmark to its end; returns what it wrote."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUNGCT_")}
    command = [sys.executable, "-m", module, "--quick", "--network=tiny", f"--results={results}", *arguments]
    finished = subprocess.run(command, cwd=_ROOT, env=inherited, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return dict(json.loads(results.read_text("utf-8")))


def test_both_benchmarks_measure_the_service_into_one_file(tmp_path: Path) -> None:
    """The service beside the bare loop, and swapped under load, each short and with a small network."""
    results = tmp_path / "results.json"
    run("benchmarks.serving.compare", "--servers=lungct", results=results)
    written = run("benchmarks.serving.swap", results=results)
    ratios = written["ratios"]
    assert {"throughput_vs_bare_16", "p50_vs_bare_1", "p99_over_p50_16", "rss_mb", "ready_s"} <= ratios.keys()
    assert {"swap_failed", "swap_p99_ratio", "swap_rss_ratio_100"} <= ratios.keys()
    assert 0 < ratios["throughput_vs_bare_16"] < 10
    assert written["swap"]["swaps_done"] == written["swap"]["swaps_asked"]
    assert written["serving"]["overload"]["neither"]["max"] == 0
