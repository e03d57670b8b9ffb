"""OpenVINO answers the same alone, in batches and beside itself."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.engines.openvino_conversion import convert
from service.engines.openvino_engine import OpenVINOEngine
from shared.artifact import OUTPUT_NAME


@pytest.fixture(scope="module")
def version_dir(tiny_network_repository: Path) -> Path:
    """A published version, untrained."""
    return tiny_network_repository / "lung-ct" / "1"


def _slices(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 224, 224, 1), np.uint8)


def _engine(version_dir: Path, folder: Path, precision: str | None = None) -> OpenVINOEngine:
    convert(version_dir, folder, 4, (224, 224), precision)
    return OpenVINOEngine(
        folder, threads=2, batch_size=4, image_shape=(224, 224), precision=precision, pause=lambda: None
    )


def test_a_slice_has_one_answer(version_dir: Path, tmp_path: Path) -> None:
    """Alone, in a full batch, in one that is padded, and in batches that run at a time, a slice is answered alike."""
    engine, slices = _engine(version_dir, tmp_path, "f32"), _slices(10)
    alone = np.concatenate([engine.infer_single(one[np.newaxis])[OUTPUT_NAME] for one in slices])
    assert alone.shape == (10, 3)
    with ThreadPoolExecutor(4) as pool:
        for size in (1, 2, 3, 4):
            batches = [slices[at : at + size] for at in range(0, 10, size)]
            np.testing.assert_allclose(
                np.concatenate([answer[OUTPUT_NAME] for answer in pool.map(engine.infer, batches)]), alone, atol=1e-5
            )


def test_a_few_is_fewer_than_a_round(version_dir: Path, tmp_path: Path) -> None:
    """At least a lone slice is computed alone, and a full round never is."""
    assert 1 <= _engine(version_dir, tmp_path).single_threshold() < 8


def test_a_model_outlives_its_files(version_dir: Path, tmp_path: Path) -> None:
    """What was converted can be removed as soon as it is compiled: the engine goes on answering the same."""
    folder = tmp_path / "converted"
    folder.mkdir()
    engine, slices = _engine(version_dir, folder), _slices(4)
    expected = engine.infer(slices)[OUTPUT_NAME]
    shutil.rmtree(folder)
    np.testing.assert_array_equal(engine.infer(slices)[OUTPUT_NAME], expected)
