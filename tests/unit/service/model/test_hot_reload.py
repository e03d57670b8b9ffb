"""Which version is loaded, what becomes of failures, and what the operator is told."""

import errno
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from service.model.hot_reload import HotReload, fingerprint
from service.model.trial_process import MachineTrouble, TrialFailed
from shared.artifact import ArtifactError
from tests.support.serving import wait_until


class Model:
    """What a load gives."""

    def __init__(self, version: int) -> None:
        self.version, self.variant = version, "f32"


class Shelf:
    """A model folder of empty versions, a loader that fails as told, a clock, and the reload on them."""

    def __init__(self, model_dir: Path, *versions: int) -> None:
        self.model_dir = model_dir
        self.now = 1000.0
        self.trouble: dict[int, BaseException] = {}
        self.loads: list[int] = []
        self.outcomes: list[tuple[str, int]] = []
        self.reload = HotReload(
            model_dir,
            self._load,
            stop_loading=lambda: None,
            poll_interval_s=0.01,
            on_load=lambda outcome, version: self.outcomes.append((outcome, version)),
            clock=lambda: self.now,
        )
        for version in versions:
            self.publish(version)

    def publish(self, version: int) -> Path:
        folder = self.model_dir / str(version)
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}", "utf-8")
        return folder

    def write_policy(self, text: str) -> None:
        (self.model_dir / "policy.json").write_text(text, "utf-8")

    def pin(self, version: int | None) -> None:
        self.write_policy(json.dumps({"pin": version}))

    def _load(self, version_dir: Path) -> Any:
        version = int(version_dir.name)
        self.loads.append(version)
        if version in self.trouble:
            raise self.trouble[version]
        return Model(version)

    @property
    def serving(self) -> int | None:
        return self.reload.serving.version if self.reload.serving else None

    def poll(self, later_s: float = 0.0) -> int | None:
        self.now += later_s
        self.reload.poll()
        return self.serving


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "lung-ct")


def test_the_newest_serves_and_newer_ones_replace_it(shelf: Shelf) -> None:
    """Nothing, then a version, then a newer one: each is loaded once, at the first look after it came."""
    assert shelf.poll() is None
    assert shelf.reload.complaint is None
    shelf.publish(1)
    assert shelf.poll() == 1
    shelf.publish(2)
    shelf.publish(3)
    assert shelf.poll() == 3
    shelf.poll()
    assert shelf.loads == [1, 3]
    assert shelf.outcomes == [("loaded", 1), ("loaded", 3)]
    assert shelf.reload.versions == (1, 2, 3)


def test_pin_unpin_and_roll_back_take_one_look(shelf: Shelf) -> None:
    """The operator's word is followed at the next look, in either direction."""
    for version in (1, 2, 3):
        shelf.publish(version)
    assert shelf.poll() == 3
    shelf.pin(1)
    assert (shelf.poll(), shelf.reload.pin) == (1, 1)
    shelf.publish(4)
    assert shelf.poll() == 1
    shelf.pin(2)
    assert shelf.poll() == 2
    shelf.pin(None)
    assert (shelf.poll(), shelf.reload.pin) == (4, None)
    shelf.pin(3)
    shelf.poll()
    (shelf.model_dir / "policy.json").unlink()
    assert shelf.poll() == 4
    shutil.rmtree(shelf.model_dir / "4")
    assert shelf.poll() == 3


def test_bad_content_is_left_alone_until_its_files_change(shelf: Shelf) -> None:
    """A bad version is tried once, the old one serves and the complaint says why; a mended one is tried again."""
    shelf.publish(1)
    shelf.publish(2)
    shelf.trouble[2] = ArtifactError("golden.npz is missing")
    assert shelf.poll() == 1
    assert shelf.poll(later_s=100_000) == 1
    assert shelf.loads == [2, 1]
    assert shelf.reload.complaint == "version 2 is bad: golden.npz is missing"
    failure = shelf.reload.failures[2]
    assert (failure.reason, failure.retry_at) == ("golden.npz is missing", None)
    (shelf.model_dir / "2" / "golden.npz").write_bytes(b"half")
    assert shelf.poll() == 1
    assert shelf.loads == [2, 1, 2]  # changed, tried, and still bad
    (shelf.model_dir / "2" / "golden.npz").write_bytes(b"whole")
    shelf.trouble.clear()
    assert shelf.poll() == 2
    assert (shelf.reload.failures, shelf.reload.complaint) == ({}, None)
    assert shelf.outcomes == [("bad_content", 2), ("loaded", 1), ("bad_content", 2), ("loaded", 2)]


def test_at_start_the_newest_valid_one_is_found_in_one_look(shelf: Shelf) -> None:
    """With several bad ones at the top, the first look already serves."""
    for version in range(1, 6):
        shelf.publish(version)
    shelf.trouble = {version: ArtifactError("bad") for version in (3, 4, 5)}
    assert shelf.poll() == 2
    assert shelf.loads == [5, 4, 3, 2]
    assert set(shelf.reload.failures) == {3, 4, 5}
    assert shelf.reload.complaint == "version 5 is bad: bad"


def test_a_bad_version_that_is_removed_is_forgotten(shelf: Shelf) -> None:
    """Failures of versions that are gone are no longer told, and a new folder of that number is tried."""
    shelf.publish(1)
    shelf.publish(2)
    shelf.trouble[2] = ArtifactError("bad")
    shelf.poll()
    shutil.rmtree(shelf.model_dir / "2")
    assert shelf.poll() == 1
    assert (shelf.reload.failures, shelf.reload.complaint) == ({}, None)
    shelf.trouble.clear()
    shelf.publish(2)
    assert shelf.poll() == 2


@pytest.mark.parametrize(
    ("trouble", "reason", "longest_s"),
    [
        (OSError(errno.EIO, "Input/output error"), "Input/output error", 3),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied", 3),
        (MemoryError(), "MemoryError", 60),
        (MachineTrouble("no more threads can be started"), "no more threads", 3),
        (TrialFailed("a trial load was ended by signal 9"), "signal 9", 60),
        (RuntimeError("/secret/path: what a library says"), "RuntimeError", 60),
    ],
    ids=["disk", "permission", "memory", "threads", "trial", "library"],
)
def test_trouble_of_the_machine_is_tried_again_later_and_later(
    shelf: Shelf, trouble: BaseException, reason: str, longest_s: float
) -> None:
    """Disk, memory and crashes say nothing of the content: retried after 1, 2, 4 … s, then served.

    What is lacking may be there again at any time, and is soon found to be lacking: at most 3 s later. What crashed is
    likely to crash again, after much work: at most 60 s.
    """
    shelf.publish(1)
    shelf.publish(2)
    shelf.trouble[2] = trouble
    assert shelf.poll() == 1
    assert reason in shelf.reload.failures[2].reason
    assert "/secret" not in shelf.reload.failures[2].reason
    waits: list[float] = []
    before = shelf.now
    while len(waits) < 9:
        tried = len(shelf.loads)
        shelf.poll(later_s=0.5)
        if len(shelf.loads) > tried:
            waits.append(shelf.now - before)
            before = shelf.now
    assert waits == [min(wait, longest_s) for wait in (1, 2, 4, 8, 16, 32, 64, 128, 256)]
    assert shelf.serving == 1
    assert reason in (shelf.reload.complaint or "")
    assert shelf.reload.failures[2].attempts == 10
    shelf.trouble.clear()
    assert shelf.poll(later_s=60) == 2
    assert shelf.reload.failures == {}
    assert set(shelf.outcomes) == {("trouble", 2), ("loaded", 1), ("loaded", 2)}


def test_a_pinned_bad_or_missing_version_is_never_replaced(shelf: Shelf) -> None:
    """What serves stays, what is empty stays empty, and the complaint says why."""
    shelf.publish(1)
    shelf.publish(2)
    shelf.trouble[2] = ArtifactError("bad")
    shelf.pin(2)
    assert shelf.poll() is None
    assert shelf.reload.complaint == "the pinned version 2 is bad: bad"
    shelf.pin(7)
    assert shelf.poll() is None
    assert shelf.reload.complaint == "the pinned version 7 is not in the repository"
    shelf.pin(1)
    assert shelf.poll() == 1
    shelf.pin(2)
    assert shelf.poll() == 1
    assert shelf.loads == [2, 1]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pin": "two"}', '{"pin": 0}', '{"pin": 1, "canary": 2}'])
def test_a_malformed_policy_changes_nothing(shelf: Shelf, text: str) -> None:
    """What serves goes on and the complaint names the file; newer versions wait until it is mended."""
    shelf.publish(1)
    shelf.poll()
    shelf.write_policy(text)
    shelf.publish(2)
    assert shelf.poll() == 1
    assert "policy.json" in (shelf.reload.complaint or "")
    shelf.pin(None)
    assert shelf.poll() == 2


def test_a_repository_that_cannot_be_read_changes_nothing(shelf: Shelf, tmp_path: Path) -> None:
    """Where the volume goes away, the old model serves; when it comes back, the new one is found."""
    shelf.publish(1)
    shelf.poll()
    shelf.model_dir.rename(tmp_path / "elsewhere")
    shelf.model_dir.write_text("a file where the folder was", "utf-8")
    assert shelf.poll() == 1
    assert "the repository cannot be read" in (shelf.reload.complaint or "")
    shelf.model_dir.unlink()
    (tmp_path / "elsewhere").rename(shelf.model_dir)
    shelf.publish(2)
    assert shelf.poll() == 2
    assert shelf.reload.complaint is None


def test_what_serves_stays_when_its_folder_is_removed(shelf: Shelf) -> None:
    """Removing the only version takes nothing from the callers, but is told."""
    shelf.publish(1)
    shelf.poll()
    shutil.rmtree(shelf.model_dir / "1")
    assert shelf.poll() == 1
    assert "no longer in the repository" in (shelf.reload.complaint or "")


def test_unfinished_and_other_folders_are_no_versions(shelf: Shelf) -> None:
    """Only folders with plain positive numbers count."""
    shelf.publish(1)
    for name in (".tmp-2", "3.bak", "04", "-5", "\uff16", "latest"):
        (shelf.model_dir / name).mkdir()
    (shelf.model_dir / "8").write_text("a file", "utf-8")
    assert shelf.poll() == 1
    assert shelf.reload.versions == (1,)


def test_the_thread_looks_again_and_ends_when_told(shelf: Shelf) -> None:
    """After a load that broke, later looks try again; stop() ends the thread."""
    shelf.publish(1)
    shelf.trouble[1] = RuntimeError("unforeseen")
    shelf.reload.start()
    wait_until(lambda: shelf.reload.failures, "the failure is recorded", 10)
    shelf.trouble.clear()
    shelf.now += 100
    wait_until(lambda: shelf.serving == 1, "the version is loaded", 10)
    assert shelf.reload.stop(patience_s=10)
    assert not any(thread.name == "hot-reload" for thread in threading.enumerate())


def test_a_stalled_load_is_left_behind_at_the_end(tmp_path: Path) -> None:
    """stop() tells when a load does not come back, instead of waiting for it."""
    has_begun, may_end = threading.Event(), threading.Event()

    def stall(_: Path) -> Any:
        has_begun.set()
        may_end.wait(60)
        raise ArtifactError("late")

    shelf = Shelf(tmp_path / "lung-ct", 1)
    reload = HotReload(shelf.model_dir, stall, stop_loading=lambda: None, poll_interval_s=0.01, on_load=lambda *_: None)
    reload.start()
    assert has_begun.wait(10)
    assert reload.loading == 1
    assert not reload.stop(patience_s=0.01)
    may_end.set()
    assert reload.stop(patience_s=10)
    assert reload.loading is None


def test_a_fingerprint_sees_what_a_repair_changes(tmp_path: Path) -> None:
    """A file more, fewer, longer, or rewritten at another time gives another fingerprint; looking does not."""
    (tmp_path / "variables").mkdir()
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "variables" / "b").write_bytes(b"22")
    seen = [fingerprint(tmp_path)]
    assert fingerprint(tmp_path) == seen[0]
    (tmp_path / "c").write_bytes(b"")
    seen.append(fingerprint(tmp_path))
    (tmp_path / "variables" / "b").write_bytes(b"333")
    seen.append(fingerprint(tmp_path))
    (tmp_path / "a").unlink()
    seen.append(fingerprint(tmp_path))
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == len(seen)
    assert fingerprint(tmp_path / "nowhere") == ()


def test_a_repository_full_of_bad_versions_is_looked_at_in_turn(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two hundred bad versions is tried once; a look at the repository then costs dozens of folders, and an
    old version that was mended, wherever it stands, is found within some looks.
    """
    for version in range(1, 201):
        shelf.publish(version)
        shelf.trouble[version] = ArtifactError("bad")
    looks: list[Path] = []

    def looked_at(folder: Path) -> object:
        looks.append(folder)
        return fingerprint(folder)

    monkeypatch.setattr("service.model.hot_reload.fingerprint", looked_at)
    shelf.reload.poll()
    assert shelf.loads == list(range(200, 0, -1))
    assert len(looks) == 200
    looks.clear()
    shelf.reload.poll()
    assert 0 < len(looks) <= 48
    del shelf.trouble[60]
    (shelf.model_dir / "60" / "manifest.json").write_text("mended", "utf-8")
    for _ in range(15):
        shelf.reload.poll()
    assert shelf.reload.serving is not None
    assert shelf.reload.serving.version == 60


def test_a_reason_of_megabytes_is_cut(shelf: Shelf) -> None:
    """A name in a manifest can be as long as the manifest; what /health, /model-info and the log say is a line."""
    shelf.publish(1)
    shelf.trouble[1] = ArtifactError("a" * 5_000_000)
    shelf.poll()
    assert len(shelf.reload.failures[1].reason) < 600
    assert len(shelf.reload.complaint or "") < 600
