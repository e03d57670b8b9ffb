"""Callers that go: their places and bytes are given back, and nothing is computed for them."""

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.inputs.slices import jpeg_slice
from tests.support.serving import RunningService, serving, wait_until

_HEAD = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n"


@pytest.mark.parametrize("sent_bytes", [0, 1, 5_000_000])
def test_going_during_the_upload_frees_the_bytes(service: RunningService, sent_bytes: int) -> None:
    """However much was sent of a body, all of it is given back when the sender goes."""
    connections = [service.connect() for _ in range(5)]
    for connection in connections:
        connection.sendall(_HEAD.format(10_000_000).encode() + bytes(sent_bytes))
    wait_until(lambda: service.metric("lungct_inflight_bytes") == 5 * sent_bytes, "the bytes are counted")
    for connection in connections:
        connection.close()
    service.wait_idle()


def test_going_while_waiting_frees_the_place_and_is_not_computed(service: RunningService) -> None:
    """Of many callers that hang up after sending, most are never computed, and others are answered meanwhile."""
    before = service.metric("lungct_batch_size_sum")
    slice_ = jpeg_slice(1, side=1000)  # takes long to decode, and not so long that it had threads of its own
    with ExitStack() as opened:
        callers = [opened.enter_context(service.connect()) for _ in range(100)]
        for connection in callers:
            connection.sendall(_HEAD.format(len(slice_)).encode() + slice_)
    assert service.client.post("/predict", content=slice_).status_code == 200
    service.wait_idle()
    computed = service.metric("lungct_batch_size_sum") - before
    assert computed < 60
    assert service.metric("lungct_requests_total", route="/predict", status="499") > 0


@pytest.mark.slow
def test_neighbours_of_those_who_go_are_answered(service: RunningService) -> None:
    """While some callers hang up again and again, all who stay get their answers."""
    is_over = threading.Event()
    slice_ = jpeg_slice(1)

    def come_and_go() -> None:
        while not is_over.is_set():
            with service.connect() as connection:
                connection.sendall(_HEAD.format(len(slice_)).encode() + slice_)

    fickle = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in fickle:
        thread.start()
    try:
        for turn in range(50):
            answer = service.client.post("/predict", content=jpeg_slice(turn))
            # the fickle may fill the queue for a moment; an accepted request is answered
            assert answer.status_code == 200 or answer.json()["type"] == "urn:lungct:problem:queue-full"
    finally:
        is_over.set()
        for thread in fickle:
            thread.join()
    service.wait_idle()


def test_bytes_in_flight_are_bounded_over_all_callers(tiny_network_repository: Path) -> None:
    """When slow uploads hold all the bytes there may be, the next caller is told to come back, and then served."""
    with serving(tiny_network_repository, max_upload_bytes=1_000_000, max_inflight_bytes=1_500_000) as tight:
        slow = tight.connect()
        slow.sendall(_HEAD.format(1_000_000).encode() + bytes(999_999))
        wait_until(lambda: tight.metric("lungct_inflight_bytes") == 999_999, "the bytes are counted")
        answer = tight.client.post("/predict", content=bytes(900_000))
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:lungct:problem:too-many-bytes-in-flight"
        assert int(answer.headers["retry-after"]) >= 1
        assert tight.client.post("/predict", content=jpeg_slice(1)).status_code == 200  # there is room for small ones
        slow.close()
        tight.wait_idle()
        assert tight.client.post("/predict", content=bytes(900_000)).status_code == 415
