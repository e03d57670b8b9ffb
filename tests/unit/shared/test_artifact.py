"""A version's folder: its manifest is understood or refused, and every file in it is as it was published."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.artifact import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    CorruptArtifact,
    ManifestError,
    digest_file,
    digest_files,
    read_manifest,
    verify_files,
)
from tests.support.decision_rules import NAMES, rules
from tests.support.version_folder import manifest_of, rewrite_manifest

# --- manifest ---------------------------------------------------------------------------------------------------------


def test_a_manifest_reads_back_equal(version: Path) -> None:
    """Every field survives JSON, and the files it lists are all but itself."""
    manifest = read_manifest(version)
    assert manifest == manifest_of(version)
    assert sorted(manifest.files) == [
        "MODEL_CARD.md",
        "golden.npz",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    assert manifest.files["MODEL_CARD.md"].size == 0
    verify_files(version, manifest)


def test_thresholds_read_back_equal_and_may_be_missing(version: Path) -> None:
    """A manifest carries its rules; versions published before there were any have an empty object, or nothing."""
    rewrite_manifest(version, thresholds=rules().model_dump(mode="json"))
    assert read_manifest(version).thresholds == rules()
    rewrite_manifest(version, thresholds={})
    assert read_manifest(version).thresholds is None
    rewrite_manifest(version, thresholds=None)
    assert read_manifest(version).thresholds is None


def test_thresholds_for_other_classes_are_refused(version: Path) -> None:
    """Rules that name other classes than the model, or another target, are no rules for it."""
    for changes in ({"target_class": "Benign cases"}, {"class_names": NAMES[::-1]}):
        rewrite_manifest(version, thresholds=rules(**changes).model_dump(mode="json"))
        with pytest.raises(ManifestError, match="thresholds are for"):
            read_manifest(version)


def test_a_newer_trainer_may_add_what_people_read(version: Path) -> None:
    """Fields that this code does not know, at the top or within the metrics, do not keep a version from serving."""
    rewrite_manifest(version, calibration={"temperature": 1.2}, metrics={"sensitivity_at": [0.9, {"fpr": 0.1}]})
    assert read_manifest(version).metrics == {"sensitivity_at": [0.9, {"fpr": 0.1}]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"model_version": 4}, "is of version 4, the folder is 3"),
        ({"model_version": 0}, "model_version"),
        ({"classes": ...}, "classes: Field required"),
        ({"classes": {"names": ["a", "b"], "target": "c"}}, "classes: .*not one of"),
        ({"preprocessing": {"schema_version": 4}}, "preprocessing.schema_version"),
        ({"preprocessing": {"clahe": True}}, "preprocessing.clahe: Extra inputs"),
        ({"preprocessing": {"crop": "lungs"}}, "preprocessing.crop"),
        ({"preprocessing": {"height": 100_000}}, "preprocessing.height"),
        ({"golden_tolerance": 0}, "golden_tolerance"),
        ({"golden_tolerance": 0.5}, "golden_tolerance"),
        ({"golden_tolerance": float("nan")}, "golden_tolerance"),
        ({"created": "yesterday"}, "created"),
        ({"duration_s": float("inf")}, "a number is not finite"),
        ({"metrics": {"accuracy": [float("nan")]}}, "a number is not finite"),
        ({"files": {"saved_model.pb": {"sha256": "0" * 64, "size": 1}}}, "does not list golden.npz"),
        ({"files": {"golden.npz": {"sha256": "0" * 64, "size": 1}}}, "does not list saved_model.pb"),
        ({"files": {"saved_model.pb": {"sha256": "A" * 64, "size": 1}}}, "files.saved_model.pb.sha256"),
        ({"files": {"saved_model.pb": {"sha256": "0" * 64, "size": -1}}}, "files.saved_model.pb.size"),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused(version: Path, changes: dict[str, Any], reason: str) -> None:
    """An unknown schema or preprocessing, another version's number and nonsense are refused, and the field is named."""
    rewrite_manifest(version, **changes)
    with pytest.raises(ManifestError, match=reason):
        read_manifest(version)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b"\x80", b"[" * 100_000, b'{"a":' * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(version: Path, content: bytes) -> None:
    """Half a file, other bytes and absurd nesting are a ManifestError like any other."""
    (version / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(ManifestError, match="not understood"):
        read_manifest(version)


def test_every_prefix_of_a_manifest_is_refused(version: Path) -> None:
    """However short a copy was cut, no part of a manifest is a manifest."""
    whole = (version / MANIFEST_FILE).read_bytes()
    for cut in range(0, len(whole), 37):
        (version / MANIFEST_FILE).write_bytes(whole[:cut])
        with pytest.raises(ManifestError):
            read_manifest(version)


def test_a_missing_manifest_is_refused(version: Path) -> None:
    """A version is not there before its manifest is."""
    (version / MANIFEST_FILE).unlink()
    with pytest.raises(ManifestError, match=r"manifest\.json is missing"):
        read_manifest(version)


def test_an_endless_manifest_is_not_read_to_its_end(version: Path) -> None:
    """Reading stops at the limit, whatever the size of the file: this one claims 1 TB."""
    with (version / MANIFEST_FILE).open("r+b") as file:
        file.truncate(10**12)
    with pytest.raises(ManifestError, match=f"larger than {MAX_MANIFEST_BYTES} bytes"):
        read_manifest(version)


def test_errors_tell_no_paths(version: Path) -> None:
    """What /health shows of a bad version names no folder of the machine."""
    (version / MANIFEST_FILE).unlink()
    with pytest.raises(ManifestError) as missing_manifest:
        read_manifest(version)
    with pytest.raises(CorruptArtifact) as missing_file:
        verify_files(version, manifest_of(version, files={"../../x": {"sha256": "0" * 64, "size": 0}}))
    for error in (missing_manifest, missing_file):
        assert str(version.parent.parent) not in str(error.value)


# --- files ------------------------------------------------------------------------------------------------------------


def delete(path: Path) -> None:
    path.unlink()


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def turn_into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_in_a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def turn_into_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["saved_model.pb", "golden.npz", "variables/variables.data-00000-of-00001"])
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (delete, "is missing"),
        (lengthen, "bytes, not"),
        (shorten, "bytes, not"),
        (empty, "has 0 bytes, not"),
        (flip_a_bit, "differs from its checksum"),
        (turn_into_folder, "is missing"),
        (link_in_a_circle, "is missing"),
        (turn_into_pipe, "is missing"),
    ],
)
def test_a_harmed_file_is_found_and_named(version: Path, name: str, harm: Callable[[Path], None], reason: str) -> None:
    """Whatever happens to a listed file, verification refuses the version, names the file, and does not hang."""
    manifest = read_manifest(version)
    harm(version / name)
    with pytest.raises(CorruptArtifact, match=f"{name} .*{reason}|{name} {reason}"):
        verify_files(version, manifest)


def test_a_missing_folder_is_found(version: Path) -> None:
    """So is a folder that a copy left out, or that is a file now."""
    manifest = read_manifest(version)
    shutil.rmtree(version / "variables")
    with pytest.raises(CorruptArtifact, match=r"variables/variables\..* is missing"):
        verify_files(version, manifest)
    (version / "variables").write_text("")
    with pytest.raises(CorruptArtifact, match=r"variables/variables\..* is missing"):
        verify_files(version, manifest)


def test_each_single_flipped_byte_is_found(version: Path) -> None:
    """No byte of the network is exempt from its checksum."""
    manifest = read_manifest(version)
    graph = version / "saved_model.pb"
    whole = graph.read_bytes()
    for at in range(len(whole)):
        graph.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(CorruptArtifact, match="checksum"):
            verify_files(version, manifest)


@pytest.mark.parametrize("name", ["../secret", "variables/../../secret", "../../secret", "../3-copy/secret"])
def test_a_name_cannot_lead_out_of_the_version(version: Path, name: str) -> None:
    """A manifest cannot make the service read elsewhere, though the file there is just what it says."""
    secret = version / name
    (version.parent / "3-copy").mkdir()
    secret.write_text("secret")
    manifest = manifest_of(version, files=digest_files(version) | {name: digest_file(secret)})
    with pytest.raises(CorruptArtifact, match="lies outside the version"):
        verify_files(version, manifest)
    absolute = manifest_of(version, files={str(secret.resolve()): digest_file(secret)})
    with pytest.raises(CorruptArtifact, match="lies outside the version"):
        verify_files(version, absolute)


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_link_cannot_lead_out_of_the_version(version: Path, is_folder: bool) -> None:
    """The same holds for symbolic links, to a file and to the folder it lies in."""
    name = "variables/variables.index"
    manifest = read_manifest(version)
    inside = version / "variables" if is_folder else version / name
    outside = version.parent / "elsewhere"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(CorruptArtifact, match=r"variables.* lies outside the version"):
        verify_files(version, manifest)


@pytest.mark.parametrize("name", ["", ".", "variables", "a\0b", "no such file", "saved_model.pb/x", "a" * 300])
def test_a_name_that_no_file_has_is_a_missing_file(version: Path, name: str) -> None:
    """Odd names are refused as such and do not stop the service's poll with an unexpected exception."""
    manifest = manifest_of(version, files={name: {"sha256": "0" * 64, "size": 0}})
    with pytest.raises(CorruptArtifact, match="is missing"):
        verify_files(version, manifest)


def test_files_larger_than_any_version_are_not_read(version: Path) -> None:
    """A sparse file of 10 TB costs its publisher nothing, and would be read for days."""
    manifest = manifest_of(version, files={"more": {"sha256": "0" * 64, "size": 10**13}})
    with (version / "more").open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(CorruptArtifact, match="larger than"):
        verify_files(version, manifest)


def test_a_link_within_the_repository_volume_is_no_obstacle(version: Path, tmp_path: Path) -> None:
    """The repository itself may be reached over a link, as mounted volumes are."""
    (tmp_path / "mounted").symlink_to(version.parent)
    mounted = tmp_path / "mounted" / "3"
    verify_files(mounted, read_manifest(mounted))


def test_a_digest_is_of_all_bytes(tmp_path: Path) -> None:
    """SHA-256 and size of a file longer than one read, and of an empty one."""
    path = tmp_path / "file"
    path.write_bytes(b"a" * 1_000_000)  # the million a's of FIPS 180
    assert digest_file(path).sha256 == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    path.write_bytes(b"x" * 3 * 1024 * 1024)
    assert digest_file(path).size == 3 * 1024 * 1024
    path.write_bytes(b"")
    assert digest_file(path).sha256.startswith("e3b0c44298fc1c14")
