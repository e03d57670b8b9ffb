"""What a killed run leaves for the next one: whole parts, of the same work, for one run at a time."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.versions import published_versions
from tests.support.inputs.labelled import of_cases
from trainer.data.cases import Cases
from trainer.data.dataset import Slices
from trainer.data.splits import Folds, split_by_case
from trainer.settings import TrainerSettings
from trainer.training.work_folder import WorkFolder, fingerprint, remove_work, work_folders

NAME = "0123456789abcdef"
ROOT = Path(__file__).parents[4]


def write(text: str) -> Callable[[Path], None]:
    def to(file: Path) -> None:
        file.write_text(text)

    return to


def read(file: Path) -> str:
    return file.read_text()


def leave(model_dir: Path, name: str, part: str, text: str) -> None:
    """What a run that is gone has kept."""
    work = WorkFolder(model_dir, name, is_resumed=False)
    work.keep(part, write(text))
    work.close()


def test_a_part_is_taken_up_by_a_run_that_resumes(tmp_path: Path) -> None:
    """What one run kept the next one loads, if it resumes; without --resume it begins anew."""
    first = WorkFolder(tmp_path / "lung-ct", NAME, is_resumed=False)
    first.keep("fold-0.npz", write("a fold"))
    assert first.load("fold-0.npz", read) is None
    first.close()
    second = WorkFolder(tmp_path / "lung-ct", NAME, is_resumed=True)
    assert second.load("fold-0.npz", read) == "a fold"
    assert second.load("fold-1.npz", read) is None
    second.remove()
    assert work_folders(tmp_path / "lung-ct") == ()
    assert WorkFolder(tmp_path / "lung-ct", NAME, is_resumed=False).load("fold-0.npz", read) is None


def test_nothing_is_made_before_something_is_kept(tmp_path: Path) -> None:
    """A run that ends before its first part leaves no folder; readers never take one for a version."""
    WorkFolder(tmp_path / "lung-ct", NAME, is_resumed=True).close()
    assert list(tmp_path.iterdir()) == []
    leave(tmp_path, NAME, "x", "x")
    assert [path.name for path in tmp_path.iterdir()] == [f".work-{NAME}"]
    assert published_versions(tmp_path) == ()


def test_a_part_that_cannot_be_read_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is damaged is said and passed over."""
    leave(tmp_path, NAME, "features.npy", "no array")
    work = WorkFolder(tmp_path, NAME, is_resumed=True)
    assert work.load("features.npy", np.load) is None
    assert "features.npy of the run before cannot be read and is made again" in caplog.text


def test_a_part_that_was_half_written_is_none(tmp_path: Path) -> None:
    """A writer that fails leaves nothing under the part's name, and the run goes on."""

    def fail(file: Path) -> None:
        file.write_text("half")
        raise OSError(28, "No space left on device")

    work = WorkFolder(tmp_path, NAME, is_resumed=True)
    work.keep("fold-0.npz", fail)
    assert work.load("fold-0.npz", read) is None


def test_one_run_at_a_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While another process holds the folder, nothing is read, written or removed there; prune takes the others."""
    leave(tmp_path, NAME, "x", "theirs")
    leave(tmp_path, "f" * 16, "x", "left behind")
    program = f"""
import sys
from pathlib import Path
from trainer.training.work_folder import WorkFolder
work = WorkFolder(Path({str(tmp_path)!r}), {NAME!r}, is_resumed=True)
print(work.load("x", Path.read_text), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
    ) as other:
        assert other.stdout.readline() == "theirs\n"
        work = WorkFolder(tmp_path, NAME, is_resumed=True)
        assert work.load("x", read) is None
        work.keep("x", write("mine"))
        work.remove()
        assert "Another run is at work" in caplog.text
        assert (tmp_path / f".work-{NAME}" / "x").read_text() == "theirs"
        assert remove_work(tmp_path) == (".work-" + "f" * 16,)
        other.stdin.close()
    assert remove_work(tmp_path) == (f".work-{NAME}",)


def test_work_that_was_offered_stays(tmp_path: Path) -> None:
    """What somebody was told to go on with is removed only when all work is to go; nothing kept, nothing offered."""
    WorkFolder(tmp_path, "e" * 16, is_resumed=False).offer()
    assert work_folders(tmp_path) == ()
    leave(tmp_path, "f" * 16, "x", "left behind")
    work = WorkFolder(tmp_path, NAME, is_resumed=False)
    work.keep("x", write("x"))
    work.offer()
    work.close()
    assert remove_work(tmp_path) == (".work-" + "f" * 16,)
    again = WorkFolder(tmp_path, NAME, is_resumed=True)
    assert again.load("x", read) == "x"
    again.close()
    assert remove_work(tmp_path, is_offered_too=True) == (f".work-{NAME}",)


def test_other_unfinished_work_is_named_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run names what it cannot take up."""
    caplog.set_level("INFO")
    leave(tmp_path, "f" * 16, "x", "x")
    WorkFolder(tmp_path, NAME, is_resumed=True)
    assert ".work-ffffffffffffffff" in caplog.text
    assert "Nothing to resume" in caplog.text
    assert work_folders(tmp_path) == (".work-" + "f" * 16,)


def test_work_of_a_version_before_is_refused(
    tmp_path: Path, work: tuple[Slices, Folds], caplog: pytest.LogCaptureFixture
) -> None:
    """Code that changed in any room, moved or went is another fingerprint: what it left is named and not taken up."""
    caplog.set_level("INFO")
    code = shutil.copytree(ROOT / "trainer", tmp_path / "trainer", ignore=shutil.ignore_patterns("__pycache__"))
    slices, folds = work
    settings = TrainerSettings(network="tiny")
    rooms = sorted({file.parent for file in code.rglob("*.py")})
    assert len(rooms) > 8
    now = fingerprint(slices, folds, settings, (code,))
    found = {now}
    for room in rooms:
        module = max(room.glob("*.py"), key=lambda file: file.stat().st_size)
        text = module.read_text("utf-8")
        module.write_text(text + "# changed\n", "utf-8")
        found.add(fingerprint(slices, folds, settings, (code,)))
        module.write_text(text, "utf-8")
    moved = (code / "training" / "fit.py").rename(code / "fit.py")
    before = fingerprint(slices, folds, settings, (code,))
    found.add(before)
    moved.unlink()
    found.add(fingerprint(slices, folds, settings, (code,)))
    assert len(found) == len(rooms) + 3

    leave(tmp_path, before, "fold-0.npz", "of a version before")
    resumed = WorkFolder(tmp_path, now, is_resumed=True)
    assert resumed.load("fold-0.npz", read) is None
    assert "being of other data, other settings or another version of the trainer" in caplog.text
    assert f"unfinished work in .work-{before[:16]}" in caplog.text
    assert "Nothing to resume" in caplog.text


@pytest.fixture
def work() -> tuple[Slices, Folds]:
    """Slices and folds, as a run has them."""
    slices, truth = of_cases({0: [2, 2, 2], 1: [2, 2, 2], 2: [2, 2, 2]})
    return slices, split_by_case(slices, Cases(truth, "known"), 3, seed=0)


def test_the_fingerprint_is_of_what_decides_about_the_result(work: tuple[Slices, Folds]) -> None:
    """Another place, or other threads, are the same work; other folds, settings, labels or weights are not."""
    slices, folds = work
    settings = TrainerSettings(network="tiny", data="/here")
    same = fingerprint(slices, folds, settings)
    moved = settings.model_copy(
        update={"data": "/there", "decode_threads": 3, "model_name": "other", "signing_key": "/key.pem"}
    )
    assert fingerprint(slices, folds, moved) == same
    others = {
        fingerprint(slices, split_by_case(slices, folds.cases, 3, seed=1), settings),
        fingerprint(slices, folds, settings.model_copy(update={"epochs": 7})),
        fingerprint(slices, folds, settings.model_copy(update={"seed": 7})),
    }
    assert len(others | {same}) == 4


def test_a_weights_file_counts_by_its_content(work: tuple[Slices, Folds], tmp_path: Path) -> None:
    """The same path with other weights is other work."""
    slices, folds = work
    settings = TrainerSettings(weights=str(tmp_path / "weights.h5"))
    (tmp_path / "weights.h5").write_bytes(b"one")
    one = fingerprint(slices, folds, settings)
    (tmp_path / "weights.h5").write_bytes(b"two")
    assert fingerprint(slices, folds, settings) != one
