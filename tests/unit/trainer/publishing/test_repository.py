"""The repository: list, pin, unpin, prune."""

import fcntl
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.versions import POLICY_FILE, Policy, read_policy
from tests.support.decision_rules import rules
from tests.support.published import publish_untrained
from tests.support.version_folder import rewrite_manifest, write_version
from trainer.publishing.repository import (
    EmptyRepository,
    InvalidVersion,
    NoSuchVersion,
    UnreadablePolicy,
    list_versions,
    newest_valid_version,
    pin,
    prune,
    read_version,
    table,
    unpin,
)
from trainer.publishing.staging import _lock, staging_folder


@pytest.fixture
def model_dir(tiny_network_repository: Path, tmp_path: Path) -> Path:
    """Versions 1 to 4, all valid: one was published, the others carry its files under their own number."""
    target = tmp_path / "lung-ct"
    for number in range(1, 5):
        version = target / str(number)
        shutil.copytree(tiny_network_repository / "lung-ct" / "1", version)
        manifest = version / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"model_version": 1', f'"model_version": {number}'))
    return target


def spoil(version_dir: Path) -> None:
    """Flip one byte of the graph."""
    path = version_dir / "saved_model.pb"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def names_in(model_dir: Path) -> set[str]:
    return {path.name for path in model_dir.iterdir()}


def numbers(model_dir: Path) -> list[int]:
    return [summary.version for summary in list_versions(model_dir)]


def test_versions_are_listed_with_what_matters(model_dir: Path) -> None:
    """Created, architecture, size, pin and validity of each version; a spoilt one says which file is wrong."""
    spoil(model_dir / "3")
    pin(model_dir, 2)
    summaries = list_versions(model_dir)
    assert [(one.version, one.pinned, one.problem is None) for one in summaries] == [
        (1, False, True), (2, True, True), (3, False, False), (4, False, True),
    ]  # fmt: skip
    assert "saved_model.pb" in summaries[2].problem
    assert summaries[0].architecture == "tiny"
    assert summaries[0].size_bytes == sum(
        path.stat().st_size for path in (model_dir / "1").rglob("*") if path.is_file()
    )
    assert "pinned" in table(summaries).splitlines()[2]
    assert "NOT VALID" in table(summaries).splitlines()[3]


def test_versions_compare_more_than_accuracy(tmp_path: Path) -> None:
    """What the rules promise at the operating point in force, the size of sets and the calibration error; - where a
    version has none. No line of the table is longer than 120 characters, and what is wrong has a line of its own.
    """
    metrics = {"accuracy": 0.85, "ece": 0.0312}
    for number, (architecture, changes) in enumerate(
        (("tiny", {}), ("keras:MobileNetV3Large", {"thresholds": rules(), "metrics": metrics})), 1
    ):
        write_version(tmp_path / str(number))
        rewrite_manifest(tmp_path / str(number), architecture=architecture, **_as_json(changes))
    old, new = list_versions(tmp_path)
    assert (old.sensitivity, old.set_size, old.ece) == (None,) * 3
    assert (new.sensitivity, new.specificity, new.set_size, new.ece) == (0.97, 0.9, 1.5, 0.0312)
    lines = table((old, replace(new, pinned=True, has_signature=True))).splitlines()
    assert lines[0].split() == ["version", "created", "network", "accuracy", "sens/spec", "sets", "ece", "size",
                                "state"]  # fmt: skip
    assert "   -/-   " in lines[1]
    assert "0.8500  0.97/0.90  1.50  0.031  " in lines[2]
    assert max(map(len, lines)) <= 120
    spoilt = table((replace(new, problem="word " * 40),)).splitlines()
    assert max(map(len, spoilt)) <= 120
    assert spoilt[2].startswith(" " * 9 + "word word")


def _as_json(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: json.loads(one.model_dump_json()) if name == "thresholds" else one for name, one in changes.items()}


def test_a_repository_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """Nothing to list, no newest version, nothing to prune; reading says how to get one."""
    missing = tmp_path / "missing"
    assert list_versions(missing) == ()
    assert newest_valid_version(missing) is None
    assert prune(missing, 1) == ()
    unpin(missing)
    assert not missing.exists()
    with pytest.raises(EmptyRepository, match="trainer run"):
        read_version(missing)


def test_the_version_that_services_serve_is_read_by_default(model_dir: Path) -> None:
    """The pinned version, or else the newest valid one; a number asks for that one."""
    assert read_version(model_dir).model_version == 4
    spoil(model_dir / "4")
    assert read_version(model_dir).model_version == 3
    pin(model_dir, 2)
    assert read_version(model_dir).model_version == 2
    assert read_version(model_dir, 1).model_version == 1
    with pytest.raises(NoSuchVersion, match="Version 0"):
        read_version(model_dir, 0)


def test_a_pin_is_what_the_service_reads(model_dir: Path) -> None:
    """policy.json holds the pin, replaces an earlier one, and unpin takes it back; nothing else is left beside it."""
    before = names_in(model_dir)
    pin(model_dir, 1)
    pin(model_dir, 3)
    assert read_policy(model_dir) == Policy(pin=3)
    unpin(model_dir)
    assert read_policy(model_dir) == Policy()
    assert names_in(model_dir) == before | {POLICY_FILE}


def test_only_a_valid_version_can_be_pinned(model_dir: Path) -> None:
    """A missing and a spoilt version are refused, and the pin that was there stays."""
    pin(model_dir, 2)
    spoil(model_dir / "3")
    with pytest.raises(NoSuchVersion, match="Version 9 is not in the repository, which holds 1, 2, 3, 4"):
        pin(model_dir, 9)
    with pytest.raises(InvalidVersion, match=r"Version 3 is not valid: saved_model\.pb"):
        pin(model_dir, 3)
    assert read_policy(model_dir).pin == 2


def test_prune_keeps_the_newest(model_dir: Path) -> None:
    """The oldest go, the `keep` newest stay whole."""
    assert prune(model_dir, 2) == (1, 2)
    assert numbers(model_dir) == [3, 4]
    assert all(summary.problem is None for summary in list_versions(model_dir))
    assert prune(model_dir, 2) == ()


def test_prune_never_removes_the_pinned_version(model_dir: Path) -> None:
    """However old it is."""
    pin(model_dir, 1)
    assert prune(model_dir, 1) == (2, 3)
    assert numbers(model_dir) == [1, 4]


def test_prune_never_removes_the_last_good_versions(model_dir: Path) -> None:
    """Broken newer versions do not push the valid ones out."""
    spoil(model_dir / "3")
    spoil(model_dir / "4")
    assert prune(model_dir, 1) == (1, 3)
    assert numbers(model_dir) == [2, 4]


def test_prune_keeps_at_least_one(model_dir: Path) -> None:
    """Keeping none would empty the repository under a service."""
    with pytest.raises(ValueError, match="at least 1"):
        prune(model_dir, 0)


def test_prune_refuses_while_the_policy_cannot_be_read(model_dir: Path) -> None:
    """What is pinned is not known, so nothing is removed; a new pin mends it."""
    (model_dir / POLICY_FILE).write_text("pin: 1")
    with pytest.raises(UnreadablePolicy, match=r"policy\.json"):
        prune(model_dir, 1)
    assert len(list((model_dir / "1").iterdir())) > 3
    pin(model_dir, 1)
    assert prune(model_dir, 1) == (2, 3)


def test_dead_folders_go_and_living_ones_stay(model_dir: Path) -> None:
    """An unfinished folder is removed once its writer is gone, and never before."""
    dead = model_dir / ".tmp-dead"
    dead.mkdir()
    (dead / "saved_model.pb").write_bytes(b"half")
    with staging_folder(model_dir) as living:
        (living / "file").touch()
        assert prune(model_dir, 4) == ()
        assert not dead.exists()
        assert (living / "file").exists()
    assert not living.exists()


def test_where_folders_cannot_be_locked_nothing_is_taken_for_dead(tmp_path: Path) -> None:
    """A handle that cannot be locked (as on some network shares) is no lock taken, and no error either."""
    handle = os.open(tmp_path, os.O_PATH)  # flock() refuses such a handle, as those shares refuse any
    try:
        assert not _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)


def test_numbers_are_never_used_again(tiny_network_repository: Path, tmp_path: Path) -> None:
    """What prune removed does not come back under its number: the newest version always stays."""
    shutil.copytree(tiny_network_repository, tmp_path, dirs_exist_ok=True)
    assert publish_untrained(tmp_path, seed=2) == 2
    prune(tmp_path / "lung-ct", 1)
    assert publish_untrained(tmp_path, seed=3) == 3
