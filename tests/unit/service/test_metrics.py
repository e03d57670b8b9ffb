"""What is counted and measured, in Prometheus's format."""

from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels."""
    text = metrics.exposition().decode()
    return {
        one.name + "".join(f" {k}={v}" for k, v in sorted(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_two_applications_share_nothing() -> None:
    """Each application has instruments of its own."""
    first, second = Metrics(), Metrics()
    first.loaded("loaded")
    assert samples(first)["lungct_reloads_total outcome=loaded"] == 1
    assert samples(second)["lungct_reloads_total outcome=loaded"] == 0


def test_batches_are_observed() -> None:
    """Sizes, waits, inference and failures of batches are told apart."""
    metrics = Metrics()
    metrics.waited(0.02)
    metrics.waited(0.3)
    metrics.inferred(0.004)
    metrics.batch_done(2, None)
    metrics.batch_done(4, RuntimeError())
    seen = samples(metrics)
    assert (seen["lungct_wait_seconds_count"], seen["lungct_wait_seconds_sum"]) == (2, 0.32)
    assert (seen["lungct_infer_seconds_count"], seen["lungct_infer_seconds_bucket le=0.005"]) == (1, 1)
    assert seen["lungct_batch_size_sum"] == 6
    assert (seen["lungct_batch_size_bucket le=1.0"], seen["lungct_batch_size_bucket le=2.0"]) == (0, 1)
    assert seen["lungct_failed_batches_total"] == 1


def test_every_name_has_the_prefix_and_a_help_text() -> None:
    """All names begin with lungct_ but those of the process, which Prometheus fixes; each says what it is."""
    families = list(text_string_to_metric_families(Metrics().exposition().decode()))
    assert all(family.name.startswith(("lungct_", "process_")) for family in families)
    assert all(family.documentation for family in families)


def test_what_must_be_observable_is_there() -> None:
    """Requests, the three parts of latency, batches, queue, bytes, reloads, version, predictions, rejections."""
    names = {family.name for family in text_string_to_metric_families(Metrics().exposition().decode())}
    assert names >= {
        "lungct_requests", "lungct_request_seconds", "lungct_wait_seconds", "lungct_decode_seconds",
        "lungct_infer_seconds", "lungct_batch_size", "lungct_queue_depth", "lungct_inflight_bytes", "lungct_reloads",
        "lungct_serving_version", "lungct_ready", "lungct_predictions", "lungct_rejected",
    }  # fmt: skip
