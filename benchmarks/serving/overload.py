"""More load than a server can answer: do those it accepts keep their latency, and do the others hear so at once?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.load.open_loop import OpenLoop
from benchmarks.load.servers import Running

MAX_REFUSAL_MS = 20.0


@dataclass(frozen=True)
class OverloadResult:
    """Open-loop load beyond capacity."""

    offered_per_s: float
    answered_per_s: float
    accepted_p99_ms: float
    accepted_limit_ms: float
    """2 x queue limit / measured rate: what the accepted may take."""
    refused: int
    refused_p50_ms: float
    refused_p99_ms: float
    refused_within_20_ms: float
    """Share of the refusals."""
    neither: int
    """Requests with another status than 200 and 503, or with none; must be 0."""


def overload(
    running: Running, slices: Path, *, capacity: float, factor: float, max_queue: int, seconds: float
) -> OverloadResult:
    """Send factor x capacity (requests a second) for that long."""
    samples = OpenLoop(running, slices, capacity * factor, seconds).samples()
    accepted = [sample for sample in samples if sample.status == 200]
    refused = np.array([sample.latency_ms for sample in samples if sample.status == 503] or [0.0])
    n_refused = sum(sample.status == 503 for sample in samples)
    ends = [sample.due + sample.latency_ms / 1e3 for sample in accepted]
    rate = len(accepted) / (max(ends) - min(sample.due for sample in samples))
    return OverloadResult(
        offered_per_s=capacity * factor,
        answered_per_s=rate,
        accepted_p99_ms=float(np.percentile([sample.latency_ms for sample in accepted], 99)),
        accepted_limit_ms=2 * max_queue / rate * 1e3,
        refused=n_refused,
        refused_p50_ms=float(np.percentile(refused, 50)),
        refused_p99_ms=float(np.percentile(refused, 99)),
        refused_within_20_ms=float(np.mean(refused <= MAX_REFUSAL_MS)),
        neither=len(samples) - len(accepted) - n_refused,
    )
