import http.client
import shutil
import socket
from pathlib import Path

import pytest

from benchmarks.load.closed_loop import LoadFailed, closed_loop
from benchmarks.load.open_loop import BROKEN, OpenLoop
from benchmarks.load.servers import NULL, Running, Server, ServerFailed, running
from benchmarks.load.slices import Workload
from tests.support.inputs.slices import jpeg_slice

N_SLICES = 3
VERSION = Path("models/lung-ct/1")  # the server that does nothing looks at no model


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    found = Workload(tuple(jpeg_slice(seed) for seed in range(N_SLICES)), "test slices")
    found.write(tmp_path / "slices")
    return found


def test_open_loop_sends_every_request_when_it_is_due(workload: Workload, tmp_path: Path) -> None:
    """At 50 a second for a second there are 50 samples, evenly spaced, all answered."""
    with running(NULL, tmp_path / VERSION, workload.jpegs[0]) as process:
        samples = OpenLoop(process, tmp_path / "slices", rate=50, seconds=1).samples()
    assert [sample.status for sample in samples] == [http.client.OK] * 50
    due = sorted(sample.due for sample in samples)
    assert due[-1] - due[0] == pytest.approx(49 / 50, abs=1e-3)
    assert all(sample.latency_ms > 0 for sample in samples)


def test_an_endless_open_loop_ends_when_it_is_asked_for_its_samples(workload: Workload, tmp_path: Path) -> None:
    """Without a length it goes on; asked, it waits for the last answers and gives them all."""
    with running(NULL, tmp_path / VERSION, workload.jpegs[0]) as process:
        load = OpenLoop(process, tmp_path / "slices", rate=50)
        samples = load.samples()
    assert samples
    assert {sample.status for sample in samples} == {http.client.OK}


def test_open_loop_counts_requests_without_an_answer(workload: Workload, tmp_path: Path) -> None:
    """Where nobody listens, every request is there, as broken."""
    with running(NULL, tmp_path / VERSION, workload.jpegs[0]) as process, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = Running(NULL, process.process, nobody.getsockname()[1], process.log, process.first_answer_s)
        samples = OpenLoop(gone, tmp_path / "slices", rate=20, seconds=0.5).samples()
    assert [sample.status for sample in samples] == [BROKEN] * 10


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk, which generates the load, is not installed")
def test_closed_loop_measures_with_wrk(workload: Workload, tmp_path: Path) -> None:
    """wrk posts the slices; throughput, latency and CPU time come back."""
    with running(NULL, tmp_path / VERSION, workload.jpegs[0]) as process:
        result = closed_loop(process, tmp_path / "slices", N_SLICES, connections=4, seconds=1)
    assert result.throughput > 10
    assert 0 < result.p50_ms <= result.p99_ms
    assert result.cpu_s_per_request > 0


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk, which generates the load, is not installed")
def test_closed_loop_refuses_figures_of_failed_requests(workload: Workload, tmp_path: Path) -> None:
    """A server that is gone is not a fast one."""
    with running(NULL, tmp_path / VERSION, workload.jpegs[0]) as process, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = Running(NULL, process.process, nobody.getsockname()[1], process.log, process.first_answer_s)
        with pytest.raises(LoadFailed):
            closed_loop(gone, tmp_path / "slices", N_SLICES, connections=1, seconds=1)


def test_a_server_that_ends_is_not_waited_for(workload: Workload, tmp_path: Path) -> None:
    """Its exit code and its last words are in the error."""
    broken = Server("broken", "broken", "openvino", ("sh", "-c", "echo no such thing; exit 3"))
    with (
        pytest.raises(ServerFailed, match=r"exit code 3[\s\S]*no such thing"),
        running(broken, tmp_path / VERSION, workload.jpegs[0]),
    ):
        pass
