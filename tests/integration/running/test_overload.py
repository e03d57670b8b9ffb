"""More requests than can be served: those accepted are answered in time, the others are told at once when to return."""

import statistics
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.support.inputs.slices import jpeg_slice
from tests.support.serving import DEADLINE_S, RunningService, serving

pytestmark = pytest.mark.alone

CALLERS = 24


def ask_at_once(service: RunningService, turns: int, **request: object) -> list[tuple[int, float, httpx.Response]]:
    """Status, seconds and answer of many requests of many callers, each with a connection of its own."""
    outcomes: list[tuple[int, float, httpx.Response]] = []
    is_time = threading.Barrier(CALLERS)

    def ask() -> None:
        with httpx.Client(base_url=service.url, timeout=DEADLINE_S) as client:
            client.get("/health/live")  # connected
            is_time.wait(60)
            for _ in range(turns):
                started = time.monotonic()
                answer = client.post("/predict", **request)  # type: ignore[arg-type]
                outcomes.append((answer.status_code, time.monotonic() - started, answer))

    callers = [threading.Thread(target=ask) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return outcomes


def test_a_full_queue_is_told_at_once_and_empties(tiny_network_repository: Path) -> None:
    """With two places for many callers: answers or queue-full with Retry-After, nothing else, and room again after."""
    with serving(tiny_network_repository, max_queue=2) as narrow:
        outcomes = ask_at_once(narrow, turns=20, content=jpeg_slice(1, side=512))
        statuses = Counter(status for status, _, _ in outcomes)
        assert set(statuses) == {200, 503}
        assert statuses[200] > 2
        for status, _, answer in outcomes:
            if status == 503:
                assert answer.json()["type"] == "urn:lungct:problem:queue-full"
                assert int(answer.headers["retry-after"]) >= 1
                assert 0 < answer.json()["retry_after_s"] < 60
        # callers share this machine's cores with the service: the median says whether refusals wait for anything
        refused_s = [seconds for status, seconds, _ in outcomes if status == 503]
        answered_s = [seconds for status, seconds, _ in outcomes if status == 200]
        assert statistics.median(refused_s) < max(0.1, statistics.median(answered_s))
        narrow.wait_idle()
        assert narrow.client.post("/predict", content=jpeg_slice(1)).status_code == 200
        assert narrow.metric("lungct_rejected_total", reason="queue-full") == statuses[503]


def test_batches_form_under_load_and_not_without(service: RunningService) -> None:
    """One caller's slices are computed alone and without delay; many callers' share batches of warmed sizes."""

    def batches() -> dict[str, float]:
        return {
            bound: service.metric("lungct_batch_size_bucket", le=bound)
            for bound in ("1.0", "2.0", "4.0", "8.0", "+Inf")
        }

    before = batches()
    for turn in range(10):
        assert service.client.post("/predict", content=jpeg_slice(turn)).status_code == 200
    alone = batches()
    assert alone["1.0"] - before["1.0"] >= 10  # and the service's questions to itself
    assert alone["+Inf"] - alone["1.0"] == before["+Inf"] - before["1.0"]
    outcomes = ask_at_once(service, turns=10, content=jpeg_slice(1, side=512))
    assert {status for status, _, _ in outcomes} == {200}
    after = batches()
    computed = after["+Inf"] - alone["+Inf"]
    assert computed < 0.8 * len(outcomes)  # some were computed together
    assert after["8.0"] == after["+Inf"]


def test_one_caller_does_not_wait_for_company(service: RunningService) -> None:
    """A lone request spends next to no time in the queue."""
    waits, count = service.metric("lungct_wait_seconds_sum"), service.metric("lungct_wait_seconds_count")
    for turn in range(30):
        service.client.post("/predict", content=jpeg_slice(turn))
    waited = service.metric("lungct_wait_seconds_sum") - waits
    assert waited / (service.metric("lungct_wait_seconds_count") - count) < 0.005


@pytest.mark.parametrize("timeout_s", [0.001])
def test_a_deadline_is_kept(tiny_network_repository: Path, timeout_s: float) -> None:
    """Who cannot be answered in time is told so within that time and little more, and holds nothing afterwards."""
    with serving(tiny_network_repository, request_timeout_s=timeout_s) as hasty:
        outcomes = ask_at_once(hasty, turns=5, content=jpeg_slice(1, side=1024))
        assert {status for status, _, _ in outcomes} <= {200, 408, 503, 504}
        assert any(status in (408, 503, 504) for status, _, _ in outcomes)
        hasty.wait_idle()
