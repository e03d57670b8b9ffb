"""A published version, loaded and asked as the service does it, but for HTTP: from bytes to what a caller reads."""

import itertools
import math
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from service.answers.prediction import prediction_of
from service.engines.base import Outputs
from service.inference.chest_gate import Gate, Predicted, Prepared
from service.inference.scoring import Encoded, Preparer
from service.metrics import Metrics
from service.model.serving_model import LoadOptions, load_model
from service.model.trial import prepare_model
from service.schemas import Prediction
from shared.artifact import DISTANCE_NAME
from shared.chest_ct import Check
from shared.raster.decode import SliceError
from shared.slices import SliceDecoder

_BATCH = 4
_CORES = 2
_BOUND_FROM = 300
"""Kinds with fewer pictures get no confidence bound."""


class Answer(NamedTuple):
    """What comes of one picture."""

    doubts: tuple[Check | str, ...]
    """What speaks against a chest slice; the picture is refused where there is anything."""
    distance: float = math.nan
    """The model's chest_distance; no number where the network was not asked, or has no such output."""
    prediction: Prediction | None = None
    """What a caller reads; None where the picture is refused."""


class VersionUnderTest:
    """A version as the service loads it. It flags what a service refuses, so that every reason is known."""

    def __init__(self, version_dir: Path) -> None:
        options = LoadOptions("openvino", "auto", threads=_CORES, max_batch_size=_BATCH)
        with tempfile.TemporaryDirectory() as scratch:
            proven = prepare_model(version_dir, options, Path(scratch))
            self._model = load_model(version_dir, proven, Path(scratch))
        self.decoder = SliceDecoder()
        metrics = Metrics()
        self._gate = Gate("flag", "uncertain", metrics)
        self._preparer = Preparer(self.decoder, self._gate, metrics.decode_seconds.observe)

    def answers(self, bodies: Iterable[bytes]) -> Iterator[Answer]:
        """For each file what the service says of its first frame.

        Like there, the network sees only what passes the image checks.
        """
        waiting = iter(bodies)
        running: deque[Future[list[Answer]]] = deque()
        with ThreadPoolExecutor(_CORES) as pool:
            while batch := list(itertools.islice(waiting, _BATCH)):
                running.append(pool.submit(self._answered, batch))
                if len(running) > _CORES:
                    yield from running.popleft().result()
            for one in running:
                yield from one.result()

    def close(self) -> None:
        """End the decoder's process."""
        self.decoder.close()

    def _answered(self, batch: list[bytes]) -> list[Answer]:
        prepared = [self._prepared(body) for body in batch]
        slices = [one.tensor for one in prepared if isinstance(one, Prepared)]
        outputs = self._model.engine.infer(np.stack(slices)) if slices else {}
        rows = itertools.count()
        return [one if isinstance(one, Answer) else self._judged(one, outputs, next(rows)) for one in prepared]

    def _prepared(self, body: bytes) -> Prepared | Answer:
        try:
            file = Encoded(body, self.decoder.read_header(body), None)
            prepared = self._preparer.prepare(self._model, file)[0]
        except SliceError:
            return Answer(("cannot be decoded",))
        return Answer(prepared.doubts) if prepared.doubts else prepared

    def _judged(self, prepared: Prepared, outputs: Outputs, row: int) -> Answer:
        manifest = self._model.manifest
        said = self._gate.judge(prepared, outputs, row, self._model.chest_gate, manifest.familiarity)
        assert isinstance(said, Predicted)  # the gate only flags
        distance = float(outputs[DISTANCE_NAME][row]) if DISTANCE_NAME in outputs else math.nan
        return Answer(
            said.doubts,
            distance,
            None if said.doubts else prediction_of(manifest, said, "", None, variant=self._model.variant),
        )


@dataclass(frozen=True)
class Row:
    """What comes of all pictures of a kind."""

    kind: str
    n: int
    refused: int
    refused_by_distance: int
    """By that alone; the image checks refuse the others."""
    by_check: dict[str, int]
    unfamiliar: int
    verdicts: dict[str, int]
    most_probable: dict[str, int]
    """How often each class is the most probable one."""
    contradictions: int
    distance: tuple[float, ...] | None
    """The first percentile, the median and the 99th of what the network was asked about."""


def row_of(kind: str, answers: Iterable[Answer]) -> Row:
    """Count; a line on standard error says how far the benchmark is."""
    asked = list(answers)
    said = [one.prediction for one in asked if one.prediction]
    distances = [one.distance for one in asked if not math.isnan(one.distance)]
    row = Row(
        kind=kind,
        n=len(asked),
        refused=sum(bool(one.doubts) for one in asked),
        refused_by_distance=sum(one.doubts == ("distance",) for one in asked),
        by_check=dict(Counter(doubt for one in asked for doubt in one.doubts)),
        unfamiliar=sum(_is_unfamiliar(one) for one in said),
        verdicts=dict(Counter(one.decision.verdict for one in said if one.decision)),
        most_probable=dict(Counter(one.prediction for one in said)),
        contradictions=sum(map(contradicts, said)),
        distance=tuple(np.quantile(distances, (0.01, 0.5, 0.99)).tolist()) if distances else None,
    )
    print(f"{kind}: {row.refused} of {row.n} refused, {row.unfamiliar} unfamiliar", file=sys.stderr, flush=True)
    return row


def contradicts(said: Prediction) -> bool:
    """Whether an answer speaks against itself: none should, and none without rules can."""
    decision, kept = said.decision, said.prediction_set
    if decision is None or kept is None:
        return False
    rules_out = decision.target_class not in kept
    is_withheld = decision.verdict == "uncertain" and set(kept) == set(said.all_predictions)
    return (
        said.prediction not in kept
        or (rules_out and decision.verdict != "negative")
        or (_is_unfamiliar(said) and not is_withheld)
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    titles = (
        "kind", "n", "refused", "by looks / distance", "unfamiliar", "refused or unfamiliar",
        "positive / negative / uncertain", "most probable", "contradictions", "distance: 1 %, median, 99 %",
    )  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", "|---|---:|---:|---:|---:|---:|---:|---|---:|---|"]
    for row in rows:
        n, verdicts = (
            row.n,
            " / ".join(str(row.verdicts.get(name, 0)) for name in ("positive", "negative", "uncertain")),
        )
        cells = (
            row.kind, n, _share(row.refused, n) + _bound(row.refused, n),
            f"{row.refused - row.refused_by_distance} / {row.refused_by_distance}",
            _share(row.unfamiliar, n), _share(row.refused + row.unfamiliar, n), verdicts if row.verdicts else "-",
            ", ".join(f"{name} {count}" for name, count in row.most_probable.items()) or "-", row.contradictions,
            ", ".join(f"{value:.2f}" for value in row.distance or ()) or "-",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _is_unfamiliar(said: Prediction) -> bool:
    return said.familiarity is not None and not said.familiarity.is_familiar


def _share(count: int, n: int) -> str:
    return f"{count} ({count / n:.1%})" if n else "0"


def _bound(count: int, n: int) -> str:
    """Clopper-Pearson's two-sided 95 % interval; none for small kinds."""
    from scipy.stats import binomtest  # noqa: PLC0415

    if n < _BOUND_FROM:
        return ""
    interval = binomtest(count, n).proportion_ci(0.95, "exact")
    return f", {interval.low:.1%} to {interval.high:.1%}"
