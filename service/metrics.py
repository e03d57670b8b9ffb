"""What Prometheus may read of the service."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.process_collector import ProcessCollector

from shared import VERSION

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The instruments of one application, in a registry of its own, and the batcher's observer."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("lungct_build", "Which software this is.", registry=registry).info({"version": VERSION})
        self.requests = Counter(
            "lungct_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "lungct_request_seconds",
            "From the request line to the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.wait_seconds = Histogram(
            "lungct_wait_seconds", "Time in the queue, per slice.", buckets=_SECONDS, registry=registry
        )
        self.doubts = Counter(
            "lungct_chest_doubts",
            "Checks that pictures did not pass: refused or flagged as no chest CT slice.",
            ("check",),
            registry=registry,
        )
        self.decode_seconds = Histogram(
            "lungct_decode_seconds", "Decoding and preprocessing, per slice.", buckets=_SECONDS, registry=registry
        )
        self.infer_seconds = Histogram(
            "lungct_infer_seconds", "Inference, per batch.", buckets=_SECONDS, registry=registry
        )
        self.batch_size = Histogram(
            "lungct_batch_size", "Slices in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=registry
        )
        self.queue_depth = Gauge("lungct_queue_depth", "Slices accepted and not yet answered.", registry=registry)
        self.inflight_bytes = Gauge("lungct_inflight_bytes", "Upload bytes held.", registry=registry)
        self.reloads = Counter("lungct_reloads", "Attempts to load a version.", ("outcome",), registry=registry)
        for outcome in ("loaded", "bad_content", "trouble"):  # there from the start: the first one is an increase
            self.reloads.labels(outcome)
        self.serving_version = Gauge("lungct_serving_version", "The version that serves; 0 is none.", registry=registry)
        self.ready = Gauge("lungct_ready", "1 where /health/ready answers 200.", registry=registry)
        self.degraded = Gauge(
            "lungct_degraded",
            "1 where /health says degraded: it answers, and something is not as wanted.",
            registry=registry,
        )
        self.predictions = Counter("lungct_predictions", "Answers by class.", ("prediction",), registry=registry)
        self.rejected = Counter("lungct_rejected", "Inputs not answered, by problem.", ("reason",), registry=registry)
        self.failed_batches = Counter("lungct_failed_batches", "Batches whose inference failed.", registry=registry)
        self.caller_requests = Counter(
            "lungct_caller_requests", "Requests with a known key, by its name.", ("caller",), registry=registry
        )
        self.api_keys = Gauge("lungct_api_keys", "Keys in force; 0 lets nobody in.", registry=registry)
        self.ledger_up = Gauge("lungct_ledger_up", "0 where the ledger could not be written last.", registry=registry)
        self.ledger_up.set(1)  # also where there is none: nothing is wrong with it
        self.ledger_lines = Counter("lungct_ledger_lines", "Lines written for answers.", registry=registry)
        self.ledger_lost = Counter(
            "lungct_ledger_lost_lines", "Answers that left without a line (policy open).", registry=registry
        )
        self.ledger_sequence = Gauge("lungct_ledger_sequence", "Number of the ledger's last line.", registry=registry)
        self.ledger_sync_seconds = Histogram(
            "lungct_ledger_sync_seconds", "Flushes of the ledger to the disk.", buckets=_SECONDS, registry=registry
        )
        self.explanations = Counter("lungct_explanations", "Explanations made.", ("outcome",), registry=registry)
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
