"""What the service writes of its work, log and metrics: enough to run it, and nothing of a patient."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.inputs.slices import gif, jpeg_slice
from tests.support.serving import RunningService, serving


@pytest.fixture(scope="module")
def busy(tiny_network_repository: Path) -> RunningService:
    """A service that has seen good, bad and strange requests, all naming a patient, and has ended."""
    with serving(tiny_network_repository, log_level="debug") as service:
        client = service.client
        slice_ = jpeg_slice(1)
        named = {"X-Patient": "smith", "Cookie": "name=smith", "User-Agent": "smith/1"}
        client.post("/predict?patient=smith", files={"file": ("smith_john.jpg", slice_)}, headers=named)
        client.post("/predict", files={"file": ("smith_john.jpg", b"smith is no image")}, headers=named)
        client.post("/predict", files={"smith": ("smith_john.jpg", slice_)}, headers=named)
        client.post("/predict", content=b"smith", headers={"Content-Type": "multipart/form-data; boundary=smith"})
        client.post("/predict/batch", files=[("files", ("smith.png", slice_)), ("files", ("smith.gif", gif()))])
        client.get("/smith-john/slice.jpg")
        client.get("/static/smith.js")
        client.post("/predict", content=slice_, headers={"X-Request-ID": "known-id"})
        with service.connect() as connection:
            connection.sendall(b"SMITH /smith HTTP/1.1\r\nHost: smith\r\n\r\n")
            connection.recv(1000)
        service.text = client.get("/metrics").text  # type: ignore[attr-defined]
        service.signal()
        assert service.wait_end() == 0
        service.lines = service.log_lines()  # type: ignore[attr-defined]
        service.raw = service.log_text()  # type: ignore[attr-defined]
    return service


def test_every_line_is_a_json_object(busy: RunningService) -> None:
    """From start to end, whatever logs, each line is one object with time, level, logger and message."""
    lines = busy.lines  # type: ignore[attr-defined]
    assert len(lines) > 10
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(line)
        datetime.fromisoformat(line["time"].replace(",", "."))


def test_nothing_that_names_a_patient_is_logged(busy: RunningService) -> None:
    """Neither file, field nor path names, nor queries, headers or bodies reach the log, at any level."""
    raw = busy.raw  # type: ignore[attr-defined]
    assert "smith" not in raw.lower()
    assert "JFIF" not in raw
    assert "Traceback" not in raw


def test_each_request_has_one_line(busy: RunningService) -> None:
    """Route, method, status, time and id; what was predicted by which version, or which problem it was."""
    requests = [line for line in busy.lines if line["logger"] == "lungct.request"]  # type: ignore[attr-defined]
    assert len({line["request_id"] for line in requests}) == len(requests)
    (known,) = [line for line in requests if line["request_id"] == "known-id"]
    assert (known["route"], known["method"], known["status"], known["model_version"]) == ("/predict", "POST", 200, 1)
    assert known["prediction"] in {"Normal cases", "Benign cases", "Malignant cases"}
    assert 0 < known["duration_ms"] < 100_000
    told = [line["problem"] for line in requests if "problem" in line]
    assert told == [
        "not-an-image-type",
        "wrong-field",
        "malformed-multipart",
        "not-found",
        "not-found",
        "malformed-http",
    ]
    (batch,) = [line for line in requests if line["route"] == "/predict/batch"]
    assert batch["items"] == 2
    loaded = [line for line in busy.lines if line["message"] == "model loaded"]  # type: ignore[attr-defined]
    assert [line["model_version"] for line in loaded] == [1]


def test_metrics_tell_what_happened(busy: RunningService) -> None:
    """Requests by route and status, predictions by class, rejections by reason, and latency split in three."""
    families = list(text_string_to_metric_families(busy.text))  # type: ignore[attr-defined]
    samples = {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}
    assert samples["lungct_requests_total", "/predict", "200", "POST"] == 2
    assert samples["lungct_requests_total", "/predict", "415", "POST"] == 1
    assert samples["lungct_requests_total", "/predict", "400", "POST"] == 2
    assert samples["lungct_requests_total", "/predict/batch", "200", "POST"] == 1
    assert samples["lungct_requests_total", "404", "GET", "unmatched"] == 2
    by_name = {
        name: sum(value for key, value in samples.items() if key[0] == name) for name in {key[0] for key in samples}
    }
    assert by_name["lungct_predictions_total"] == 3
    assert samples["lungct_rejected_total", "not-an-image-type"] == 2  # one of them in the batch
    assert samples["lungct_rejected_total", "wrong-field"] == 1
    assert by_name["lungct_decode_seconds_count"] == 3
    assert by_name["lungct_wait_seconds_count"] >= 3
    assert by_name["lungct_infer_seconds_count"] >= 2
    assert by_name["lungct_infer_seconds_sum"] > 0
    assert by_name["lungct_batch_size_sum"] >= 3
    assert by_name["lungct_queue_depth"] == by_name["lungct_inflight_bytes"] == 0
    assert samples["lungct_reloads_total", "loaded"] == 1
    assert by_name["lungct_serving_version"] == 1
    assert by_name["lungct_ready"] == 1
    assert by_name["process_resident_memory_bytes"] > 1e7


def test_metrics_have_no_label_of_a_callers_choice(busy: RunningService) -> None:
    """Whatever is asked, labels come from a fixed set: no patient's name, and no growth without end."""
    text = busy.text  # type: ignore[attr-defined]
    assert "smith" not in text.lower()
    assert json.dumps(text).count("lungct_requests_total{") < 20
