"""What Prometheus may read of the service."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.process_collector import ProcessCollector

from shared import VERSION

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The instruments of one application, in a registry of its own, and the batcher's observer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        seconds = partial(Histogram, registry=self.registry, buckets=_SECONDS)
        ProcessCollector(registry=self.registry)
        Info("lungct_build", "Which software this is.", registry=self.registry).info({"version": VERSION})
        self.requests = counter("lungct_requests", "Requests answered.", ("route", "method", "status"))
        self.request_seconds = seconds("lungct_request_seconds", "From the request line to the answer.", ("route",))
        self.wait_seconds = seconds("lungct_wait_seconds", "Time in the queue, per slice.")
        self.doubts = counter(
            "lungct_chest_doubts",
            "Checks that pictures did not pass: refused or flagged as no chest CT slice.",
            ("check",),
        )
        self.unfamiliar = counter("lungct_unfamiliar", "Chest slices unlike those that the version was trained on.")
        self.decode_seconds = seconds("lungct_decode_seconds", "Decoding and preprocessing, per slice.")
        self.infer_seconds = seconds("lungct_infer_seconds", "Inference, per batch.")
        self.batch_size = Histogram("lungct_batch_size", "Slices in a batch.", buckets=_SIZES, registry=self.registry)
        self.queue_depth = gauge("lungct_queue_depth", "Slices accepted and not yet answered.")
        self.inflight_bytes = gauge("lungct_inflight_bytes", "Upload bytes held.")
        self.reloads = counter("lungct_reloads", "Attempts to load a version.", ("outcome",))
        for outcome in ("loaded", "bad_content", "trouble"):  # there from the start: the first one is an increase
            self.reloads.labels(outcome)
        self.serving_version = gauge("lungct_serving_version", "The version that serves; 0 is none.")
        self.serving_variant = gauge(
            "lungct_serving_variant", "1 for what of the version serves: f32, or a variant.", ("variant",)
        )
        self.ready = gauge("lungct_ready", "1 where /health/ready answers 200.")
        self.degraded = gauge(
            "lungct_degraded", "1 where /health says degraded: it answers, and something is not as wanted."
        )
        self.predictions = counter("lungct_predictions", "Answers by class.", ("prediction",))
        self.rejected = counter("lungct_rejected", "Inputs not answered, by problem.", ("reason",))
        self.failed_batches = counter("lungct_failed_batches", "Batches whose inference failed.")
        self.caller_requests = counter("lungct_caller_requests", "Requests with a known key, by its name.", ("caller",))
        self.api_keys = gauge("lungct_api_keys", "Keys in force; 0 lets nobody in.")
        self.ledger_up = gauge("lungct_ledger_up", "0 where the ledger could not be written last.")
        self.ledger_up.set(1)  # also where there is none: nothing is wrong with it
        self.ledger_lines = counter("lungct_ledger_lines", "Lines written for answers.")
        self.ledger_lost = counter("lungct_ledger_lost_lines", "Answers that left without a line (policy open).")
        self.ledger_sequence = gauge("lungct_ledger_sequence", "Number of the ledger's last line.")
        self.ledger_sync_seconds = seconds("lungct_ledger_sync_seconds", "Flushes of the ledger to the disk.")
        self.explanations = counter("lungct_explanations", "Explanations made.", ("outcome",))
        self.consecutive_failures = 0

    def waited(self, seconds: float) -> None:
        """An item left the queue for the engine."""
        self.wait_seconds.observe(seconds)

    def inferred(self, seconds: float) -> None:
        """The engine answered. A batch without a slice that could be decoded never asks it, and proves nothing."""
        self.infer_seconds.observe(seconds)
        self.consecutive_failures = 0

    def batch_done(self, size: int, error: BaseException | None) -> None:
        """A batch left the function."""
        self.batch_size.observe(size)
        if error is not None:
            self.consecutive_failures += 1
            self.failed_batches.inc()

    def loaded(self, outcome: str) -> None:
        """A version was tried. One that passed its golden replay has proven the engine anew."""
        self.reloads.labels(outcome).inc()
        if outcome == "loaded":
            self.consecutive_failures = 0

    def exposition(self) -> bytes:
        """All instruments in the Prometheus text format."""
        return generate_latest(self.registry)
