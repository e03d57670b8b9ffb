"""OpenVINO answers the same alone, in batches and beside itself, whether or not there is room for its copy."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.openvino_engine import OpenVINOEngine
from shared.artifact import ArtifactError


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """The folder for temporary files."""
    folder, as_ever = tmp_path / "scratch", tempfile.tempdir
    folder.mkdir()
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = as_ever


def _slices(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 224, 224, 1), np.uint8)


def _engine(version_dir: Path, precision: str | None = None) -> OpenVINOEngine:
    return OpenVINOEngine(version_dir, threads=2, batch_size=4, image_shape=(224, 224), precision=precision)


def test_a_slice_has_one_answer(tiny_network_repository: Path) -> None:
    """Alone, in a full batch, in one that is padded, and in batches that run at a time, a slice is answered alike."""
    engine, slices = _engine(tiny_network_repository / "lung-ct" / "1", "f32"), _slices(10)
    alone = np.concatenate([engine.infer_alone(one[np.newaxis]) for one in slices])
    assert alone.shape == (10, 3)
    with ThreadPoolExecutor(4) as pool:
        for size in (1, 2, 3, 4):
            batches = [slices[at : at + size] for at in range(0, 10, size)]
            np.testing.assert_allclose(np.concatenate(list(pool.map(engine.infer, batches))), alone, atol=1e-5)


def test_a_few_is_fewer_than_a_round(tiny_network_repository: Path) -> None:
    """At least a lone slice is computed alone, and a full round never is."""
    assert 1 <= _engine(tiny_network_repository / "lung-ct" / "1").few < 8


def test_nothing_is_left_on_the_disk(tiny_network_repository: Path, scratch: Path) -> None:
    """The copy with 16-bit weights is there for as long as the model is compiled."""
    engine = _engine(tiny_network_repository / "lung-ct" / "1")
    assert list(scratch.iterdir()) == []
    assert np.isfinite(engine.infer(_slices(4))).all()


def test_without_room_for_a_copy_the_model_itself_is_compiled(tiny_network_repository: Path, scratch: Path) -> None:
    """Where temporary files cannot be written, the answers are the same."""
    version_dir, slices = tiny_network_repository / "lung-ct" / "1", _slices(4)
    expected = _engine(version_dir).infer(slices)
    scratch.rmdir()
    np.testing.assert_allclose(_engine(version_dir).infer(slices), expected, atol=5e-3)


def test_what_is_no_model_is_said_to_be_bad(tmp_path: Path) -> None:
    """Garbage in place of a SavedModel is bad content, and not trouble of this machine."""
    (tmp_path / "saved_model.pb").write_bytes(b"garbage")
    with pytest.raises(ArtifactError, match="OpenVINO cannot compile"):
        _engine(tmp_path)
