"""Publishing on a disk of its own that is full, fills up, or may not be written to."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.artifact import read_manifest, verify_files
from shared.imaging import PreprocessingSpec
from tests.support.published import publish_untrained
from tests.support.signing_keys import make_key_pair
from trainer.__main__ import main
from trainer.publishing.publish import PublishingFailed

SMALL = PreprocessingSpec(height=32, width=32)
_CAN_MOUNT = shutil.which("mount") is not None and os.geteuid() == 0
pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not _CAN_MOUNT, reason="only root can mount a small disk"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)), check=True)
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)


def fill(disk: Path, free_bytes: int) -> Path:
    """Take all room but this much; the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while shutil.disk_usage(disk).free:
            file.write(bytes(4096))
        file.truncate(file.tell() - free_bytes)
    return filler


@pytest.mark.parametrize("free_kib", [0, 4, 16, 40, 80, 120])
def test_a_full_disk_costs_nothing_that_was_published(disk: Path, tmp_path: Path, free_kib: int) -> None:
    """However far a publication gets before the disk is full: one sentence, the version before is whole, nothing is
    left; and with room again the next one takes the next number, signed.
    """
    key = make_key_pair(tmp_path / "keys").private
    publish_untrained(disk, seed=0, preprocessing=SMALL, signing_key=key)
    filler = fill(disk, free_kib * 1024)
    with pytest.raises(PublishingFailed, match=r"^Publishing failed, and the repository is as it was: "):
        publish_untrained(disk, seed=1, preprocessing=SMALL, signing_key=key)
    assert [path.name for path in (disk / "lung-ct").iterdir()] == ["1"]
    verify_files(disk / "lung-ct" / "1", read_manifest(disk / "lung-ct" / "1"))
    filler.unlink()
    assert publish_untrained(disk, seed=1, preprocessing=SMALL, signing_key=key) == 2


def test_a_read_only_repository_is_told_and_left_alone(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Publishing, pinning, signing and pruning say that the disk is read-only, and change nothing; listing works."""
    for seed in range(2):
        publish_untrained(disk, seed=seed, preprocessing=SMALL)
    subprocess.run(("mount", "-o", "remount,ro", str(disk)), check=True)
    with pytest.raises(PublishingFailed, match="Read-only file system"):
        publish_untrained(disk, seed=2, preprocessing=SMALL)
    where = ("--model-repository", str(disk))
    key = make_key_pair(tmp_path / "keys").private
    for verb in (("pin", "1"), ("sign", "1", "--signing-key", str(key)), ("prune", "--keep", "1")):
        assert main([*verb, *where]) == 1
        assert "Read-only file system" in capsys.readouterr().err
    assert main(["versions", *where]) == 0
    assert capsys.readouterr().out.count("valid") == 2
    assert sorted(path.name for path in (disk / "lung-ct").iterdir()) == ["1", "2"]
