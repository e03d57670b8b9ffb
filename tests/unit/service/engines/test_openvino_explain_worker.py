"""Explanations are computed in a process of their own, which comes and goes without anybody's noticing."""

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.engines.base import OUTPUTS, UNMEASURED
from service.engines.openvino_conversion import convert
from service.engines.openvino_engine import OpenVINOEngine
from service.engines.openvino_explain_worker import ExplainWorker
from shared.artifact import ATTENTION_NAME, OUTPUT_NAME
from tests.support.published import publish_untrained
from tests.support.serving import wait_until

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 1), np.uint8)
HINTS = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version whose model says what each place adds, as the engine's files."""
    repository, folder = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("converted")
    publish_untrained(repository, seed=1, has_attention=True)
    convert(repository / "lung-ct" / "1", folder, 4, (224, 224), "f32")
    return folder


@pytest.fixture
def worker(converted: Path) -> Iterator[ExplainWorker]:
    """Its model for explanations."""
    worker = ExplainWorker(converted, (*OUTPUTS, ATTENTION_NAME), HINTS)
    yield worker
    worker.close()


def test_it_answers_what_predictions_answer(converted: Path, worker: ExplainWorker) -> None:
    """A batch of any size has the probabilities of its slices alone, and attention."""
    engine = OpenVINOEngine(converted, 2, (224, 224), "f32", UNMEASURED, pause=lambda: None)
    alone = np.concatenate([engine.infer_single(one[np.newaxis])[OUTPUT_NAME] for one in IMAGES])
    for count in (1, 3):
        answer = worker.infer(IMAGES[:count])
        np.testing.assert_allclose(answer[OUTPUT_NAME], alone[:count], atol=1e-5)
        assert answer[ATTENTION_NAME].shape == (count, 14, 14, 3)


def test_there_is_no_process_until_somebody_asks(worker: ExplainWorker) -> None:
    """It costs no memory until then, and what it computes yields to everybody."""
    assert worker.pid is None
    worker.infer(IMAGES[:1])
    assert worker.pid is not None
    policies = {os.sched_getscheduler(thread.id) for thread in psutil.Process(worker.pid).threads()}
    assert policies == {os.SCHED_IDLE}


@pytest.mark.slow
def test_it_ends_when_nobody_asks(converted: Path) -> None:
    """And answers the next as if nothing had been."""
    worker = ExplainWorker(converted, OUTPUTS, HINTS, idle_s=0.1)
    first = worker.infer(IMAGES[:1])
    wait_until(lambda: worker.pid is None, "the process ends")
    np.testing.assert_array_equal(worker.infer(IMAGES[:1])[OUTPUT_NAME], first[OUTPUT_NAME])
    worker.close()


@pytest.mark.slow
def test_one_that_is_killed_is_replaced(worker: ExplainWorker) -> None:
    """Whoever asks next has an answer, from another process."""
    first = worker.infer(IMAGES[:1])
    before = worker.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    np.testing.assert_array_equal(worker.infer(IMAGES[:1])[OUTPUT_NAME], first[OUTPUT_NAME])
    assert worker.pid not in (None, before)


@pytest.mark.slow
def test_what_cannot_be_computed_breaks_nothing(worker: ExplainWorker) -> None:
    """A slice of another size is an error in words; the same process answers the next."""
    worker.infer(IMAGES[:1])
    before = worker.pid
    with pytest.raises(RuntimeError, match=r"shape"):
        worker.infer(np.zeros((1, 10, 10, 1), np.uint8))
    assert worker.infer(IMAGES[:1])[OUTPUT_NAME].shape == (1, 3)
    assert worker.pid == before


def test_a_model_that_cannot_be_compiled_is_said(converted: Path) -> None:
    """In OpenVINO's words."""
    worker = ExplainWorker(converted, OUTPUTS, {"INFERENCE_PRECISION_HINT": "teapot"})
    with pytest.raises(RuntimeError, match=r"teapot"):
        worker.infer(IMAGES[:1])
    worker.close()


@pytest.mark.slow
def test_a_process_that_cannot_live_is_said(worker: ExplainWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """After two tries, and not never; one that lives answers the next."""
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", "/bin/false")
        with pytest.raises(ConnectionResetError, match=r"ended twice"):
            worker.infer(IMAGES[:1])
    assert worker.infer(IMAGES[:1])[OUTPUT_NAME].shape == (1, 3)


def test_it_outlives_its_files_and_goes_with_its_model(converted: Path, tmp_path: Path) -> None:
    """The folder may be gone before the first question; the process is gone with whoever could ask another."""
    folder = tmp_path / "converted"
    shutil.copytree(converted, folder)
    worker = ExplainWorker(folder, OUTPUTS, HINTS)
    shutil.rmtree(folder)
    worker.infer(IMAGES[:1])
    pid = worker.pid
    assert pid is not None
    del worker
    gc.collect()
    wait_until(lambda: not psutil.pid_exists(pid), "the process ends")
