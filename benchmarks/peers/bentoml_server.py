"""BentoML: one service whose API is batchable, so that its dispatcher adapts batch size and waiting time."""

import os
from pathlib import Path

import bentoml

from benchmarks.peers.model import load_model, max_batch_size


@bentoml.service(workers=int(os.environ.get("BENCH_WORKERS", "1")), traffic={"timeout": 60})
class SliceService:
    """Started with `bentoml serve benchmarks.peers.bentoml_server:SliceService`."""

    def __init__(self) -> None:
        self.model = load_model()

    @bentoml.api(batchable=True, max_batch_size=max_batch_size(), max_latency_ms=60_000)
    def predict(self, file: list[Path]) -> list[dict]:  # type: ignore[type-arg] # BentoML reads the annotation
        return self.model.predict([self.model.read(path.read_bytes()) for path in file])
