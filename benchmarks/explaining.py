"""What an explanation costs beside a prediction: one caller, the two addresses in turn, medians.

Asks a service that runs already: `python -m benchmarks.explaining http://127.0.0.1:8000 slice.jpg`.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import httpx


def measure(client: httpx.Client, slice_: bytes, rounds: int) -> dict[str, float | str]:
    """Median milliseconds of /predict and of /explain as JSON and as PNG, and their ratios."""
    asked = {"predict": ("/predict", {}), "json": ("/explain", {"format": "json"}), "png": ("/explain", {})}
    times: dict[str, list[float]] = {name: [] for name in asked}
    for turn in range(rounds + 2):
        for name, (path, query) in asked.items():
            started = time.perf_counter()
            answer = client.post(path, params=query, content=slice_).raise_for_status()
            if turn > 1:  # the first compile and warm
                times[name].append((time.perf_counter() - started) * 1e3)
            if name == "json":
                method = answer.json()["method"]
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "method": method,
        **{f"{name}_ms": round(median, 2) for name, median in medians.items()},
        "json_over_predict": round(medians["json"] / medians["predict"], 2),
        "png_over_predict": round(medians["png"] / medians["predict"], 2),
    }


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the service")
    parser.add_argument("slice", type=Path, help="a JPEG or PNG")
    parser.add_argument("--rounds", type=int, default=25)
    args = parser.parse_args()
    with httpx.Client(base_url=args.url, timeout=60) as client:
        print(json.dumps(measure(client, args.slice.read_bytes(), args.rounds)))


if __name__ == "__main__":
    _main()
