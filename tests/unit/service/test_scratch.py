"""Folders for temporary files are gone after their process, however it ended, and nobody else's are touched."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.scratch import require_room, scratch_folder, sweep
from tests.support.serving import wait_until

ROOT = Path(__file__).parents[3]
HOLDS_ONE = """
import sys, time
from service.scratch import end_process, scratch_folder
with scratch_folder() as folder:
    (folder / "weights.bin").write_bytes(bytes(1000))
    print(folder, flush=True)
    {deed}
"""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this process and those that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def _holding(deed: str = "time.sleep(3600)") -> tuple["subprocess.Popen[str]", Path]:
    """A process with a folder of its own, in which it has written."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS_ONE.format(deed=deed)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    return holder, Path(holder.stdout.readline().strip())


@pytest.fixture
def living(scratch: Path) -> Iterator[Path]:
    """The folder of another process that lives."""
    holder, folder = _holding()
    assert folder.parent == scratch
    yield folder
    with holder:
        holder.kill()


def test_it_is_gone_at_the_end(scratch: Path) -> None:
    """Empty, for nobody else's eyes, and removed with what was written in it."""
    with scratch_folder() as folder:
        assert (list(folder.iterdir()), folder.stat().st_mode & 0o777) == ([], 0o700)
        (folder / "weights.bin").write_bytes(b"x")
    assert list(scratch.iterdir()) == []


def test_what_a_killed_process_left_is_removed(scratch: Path) -> None:
    """kill -9 leaves the folder; the next one who needs a folder, or sweeps, removes it."""
    holder, folder = _holding()
    with holder:
        holder.kill()
    assert folder.exists()
    with scratch_folder() as own:
        assert list(scratch.iterdir()) == [own]


def test_what_a_process_uses_stays(scratch: Path, living: Path) -> None:
    """Two services may share the folder for temporary files: neither removes the other's, nor its own."""
    with scratch_folder() as own:
        sweep()
        assert set(scratch.iterdir()) == {own, living}


def test_other_folders_files_and_links_stay(scratch: Path) -> None:
    """Only folders of our name are removed: what a link of that name leads to is somebody else's."""
    treasure = scratch / "treasure"
    treasure.mkdir()
    (treasure / "file").touch()
    (scratch / "lungct-load-link").symlink_to(treasure)
    (scratch / "lungct-load-file").touch()
    os.mkfifo(scratch / "lungct-load-pipe")
    (scratch / "lungct-loading").mkdir()
    before = set(scratch.rglob("*"))
    sweep()
    assert set(scratch.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user, for which it needs root")
def test_another_users_folder_stays(scratch: Path) -> None:
    """In /tmp anybody may make a folder of our name, and root could remove it."""
    folder = scratch / "lungct-load-x"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    sweep()
    assert folder.exists()


def test_a_folder_that_is_swept_while_it_is_made_is_made_again(scratch: Path) -> None:
    """Between a folder's making and its lock another process may sweep: whoever gets a folder has it to itself."""
    code = "from service.scratch import sweep\nwhile True: sweep()"
    sweepers = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    try:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            with scratch_folder() as folder:
                (folder / "file").touch()
                time.sleep(0.001)
                assert (folder / "file").exists()
    finally:
        for sweeper in sweepers:
            with sweeper:
                sweeper.kill()
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("scratch")
def test_a_process_that_ends_at_once_leaves_nothing() -> None:
    """os._exit() runs no finally clause; end_process() sees to the folder, also from another thread than its own."""
    holder, folder = _holding(
        "import threading; threading.Thread(target=end_process, args=(7,)).start(); time.sleep(60)"
    )
    with holder:
        assert holder.wait(60) == 7
    wait_until(lambda: not folder.exists(), "it is gone", 1)


def test_no_folder_for_temporary_files_is_told_as_that(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a disk that is full, or gone, is said which it is; nothing is written elsewhere instead."""
    monkeypatch.setenv("TMPDIR", str(scratch / "gone"))
    with pytest.raises(OSError, match="No such file or directory, in the folder for temporary files"), scratch_folder():
        pass
    with pytest.raises(OSError, match="No space left for temporary files"):
        require_room(scratch, 2**60)
    require_room(scratch, 1)
