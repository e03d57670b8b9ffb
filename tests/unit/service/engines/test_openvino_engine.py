"""OpenVINO answers the same alone, in batches and beside itself."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.engines.base import Outputs, Pace
from service.engines.openvino_conversion import convert
from service.engines.openvino_engine import OpenVINOEngine, prove
from shared.artifact import OUTPUT_NAME, ArtifactError

WITH_BATCHES = Pace(alone_s=1, one_s=1, full_s=2, batch_size=4)
"""Three slices and more are computed as a full batch."""


@pytest.fixture(scope="module")
def version_dir(tiny_network_repository: Path) -> Path:
    """A published version, untrained."""
    return tiny_network_repository / "lung-ct" / "1"


def _slices(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 224, 224, 1), np.uint8)


def _engine(version_dir: Path, folder: Path, precision: str | None = None, pace: Pace = WITH_BATCHES) -> OpenVINOEngine:
    convert(version_dir, folder, 4, (224, 224), precision)
    return OpenVINOEngine(folder, 2, (224, 224), precision, pace, pause=lambda: None)


@pytest.mark.parametrize("pace", [WITH_BATCHES, Pace()], ids=["with batches", "without"])
def test_a_slice_has_one_answer(version_dir: Path, tmp_path: Path, pace: Pace) -> None:
    """Alone, in a full batch, in one that is padded, and in batches that run at a time, a slice is answered alike."""
    engine, slices = _engine(version_dir, tmp_path, "f32", pace), _slices(10)
    alone = np.concatenate([engine.infer_single(one[np.newaxis])[OUTPUT_NAME] for one in slices])
    assert alone.shape == (10, 3)
    with ThreadPoolExecutor(4) as pool:
        for size in (1, 2, 3, 4):
            batches = [slices[at : at + size] for at in range(0, 10, size)]
            np.testing.assert_allclose(
                np.concatenate([answer[OUTPUT_NAME] for answer in pool.map(engine.infer, batches)]), alone, atol=1e-5
            )


def test_a_replay_asks_every_form(version_dir: Path, tmp_path: Path) -> None:
    """Alone, one a core and in full batches, which some versions do not have; all slices, in their order."""
    slices = _slices(10)
    for number, pace in ((3, WITH_BATCHES), (2, Pace())):
        folder = tmp_path / str(number)
        folder.mkdir()
        engine = _engine(version_dir, folder, "f32", pace)
        expected = np.concatenate([engine.infer_single(one[np.newaxis])[OUTPUT_NAME] for one in slices])
        answers = [outputs[OUTPUT_NAME] for outputs in engine.replay(slices)]
        assert len(answers) == number
        for answer in answers:
            np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_a_trial_checks_every_form_and_measures_it(version_dir: Path, tmp_path: Path) -> None:
    """What is seen of each form are its answers for all slices; the pace says how long each takes."""
    convert(version_dir, tmp_path, 4, (224, 224), "f32")
    slices, seen = _slices(6), list[Outputs]()
    pace = prove(tmp_path, 2, 4, (224, 224), "f32", images=slices, check=seen.append)
    assert [len(outputs[OUTPUT_NAME]) for outputs in seen] == [6, 6, 6]
    assert min(pace.alone_s, pace.one_s, pace.full_s) > 0  # by how much they differ is the machine's
    assert pace.full_s == pace.one_s if pace.batch_size == 1 else pace.batch_size == 4


def test_batches_that_all_would_wait_for_are_not_tried(
    version_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network so slow that a batch takes half a second, the trial looks at slices alone."""
    monkeypatch.setattr("service.engines.openvino_engine._TOO_LONG_S", 1e-6)
    convert(version_dir, tmp_path, 4, (224, 224), "f32")
    seen: list[Outputs] = []
    pace = prove(tmp_path, 2, 4, (224, 224), "f32", images=_slices(6), check=seen.append)
    assert (len(seen), pace.batch_size) == (2, 1)


def test_a_bad_form_ends_the_trial(version_dir: Path, tmp_path: Path) -> None:
    """What the check raises is raised."""

    def refuse(_: object) -> None:
        raise ArtifactError("no")

    convert(version_dir, tmp_path, 4, (224, 224), "f32")
    with pytest.raises(ArtifactError, match="no"):
        prove(tmp_path, 1, 4, (224, 224), "f32", images=_slices(1), check=refuse)


def test_a_model_outlives_its_files(version_dir: Path, tmp_path: Path) -> None:
    """What was converted can be removed as soon as it is compiled: the engine goes on answering the same."""
    folder = tmp_path / "converted"
    folder.mkdir()
    engine, slices = _engine(version_dir, folder), _slices(4)
    expected = engine.infer(slices)[OUTPUT_NAME]
    shutil.rmtree(folder)
    np.testing.assert_array_equal(engine.infer(slices)[OUTPUT_NAME], expected)
