"""Signatures over versions: whose, over what, and what cannot be slipped past them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.artifact import ArtifactError, CorruptArtifact
from shared.signing import (
    NotTrusted,
    UnusableKey,
    copy_trusted,
    require_signing_key,
    sign_version,
    trusted_keys,
)
from tests.support.model_repository import ModelRepository
from tests.support.signing_keys import KeyPair, make_key_pair

WEIGHTS = "variables/variables.data-00000-of-00001"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    """The pair of the trainer."""
    return make_key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    """Somebody else's pair."""
    return make_key_pair(tmp_path_factory.mktemp("other-keys"))


@pytest.fixture
def repository(tmp_path: Path, tiny_network_repository: Path) -> ModelRepository:
    original = tiny_network_repository / "lung-ct" / "1"
    return ModelRepository(tmp_path / "repository", (original, original))


@pytest.fixture
def version(repository: ModelRepository, keys: KeyPair) -> Path:
    """lung-ct/3, published and signed."""
    folder = repository.publish(3)
    sign_version(folder, keys.private)
    return folder


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_signed_version_is_copied_whole(version: Path, keys: KeyPair, tmp_path: Path) -> None:
    """The copy holds what the manifest lists, the manifest and the signature, byte for byte."""
    copy = tmp_path / "copy" / "3"
    manifest = copy_trusted(version, keys.public, copy)
    assert manifest.model_version == 3
    assert names_below(copy) == sorted([*manifest.files, "manifest.json", "model.sig"])
    assert all((copy / name).read_bytes() == (version / name).read_bytes() for name in names_below(copy))


def test_a_signature_is_what_the_library_writes(version: Path, keys: KeyPair) -> None:
    """Somebody without this code checks the version with the command line of model-signing."""
    command = (sys.executable, "-m", "model_signing", "verify", "key", str(version), "--signature",
               str(version / "model.sig"), "--public_key", str(keys.public))  # fmt: skip
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _flip(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)


def _other_weights_and_their_digests(repository: ModelRepository, folder: Path) -> None:
    """What a thief with write access does: the manifest is made to fit, only the signature does not."""
    _flip(folder, WEIGHTS)
    repository.sign_off(folder)


def _later_warning_removed(repository: ModelRepository, folder: Path) -> None:
    repository.change_manifest(folder, warnings=[])


def _another_number(repository: ModelRepository, folder: Path) -> None:
    repository.change_manifest(folder, model_version=3, seed=99)


def _half_a_signature(_: ModelRepository, folder: Path) -> None:
    content = (folder / "model.sig").read_text("utf-8")
    (folder / "model.sig").write_text(content[: len(content) // 2], "utf-8")


def _no_json(_: ModelRepository, folder: Path) -> None:
    (folder / "model.sig").write_bytes(b"\x00\xff" * 100)


def _absurd_nesting(_: ModelRepository, folder: Path) -> None:
    (folder / "model.sig").write_text("[" * 200_000, "utf-8")


def _empty_bundle(_: ModelRepository, folder: Path) -> None:
    (folder / "model.sig").write_text("{}", "utf-8")


def _no_signature_in_the_bundle(_: ModelRepository, folder: Path) -> None:
    bundle = json.loads((folder / "model.sig").read_text("utf-8"))
    bundle["dsseEnvelope"]["signatures"] = []
    (folder / "model.sig").write_text(json.dumps(bundle), "utf-8")


def _files_taken_from_the_manifest(repository: ModelRepository, folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    repository.change_manifest(folder, files={name: files[name] for name in ("saved_model.pb", "golden.npz")})


FORGERIES: dict[str, Callable[[ModelRepository, Path], None]] = {
    "other weights, true checksums": _other_weights_and_their_digests,
    "a warning removed": _later_warning_removed,
    "another seed": _another_number,
    "half a signature": _half_a_signature,
    "no JSON": _no_json,
    "absurd nesting": _absurd_nesting,
    "an empty bundle": _empty_bundle,
    "a bundle without a signature": _no_signature_in_the_bundle,
    "files taken from the manifest": _files_taken_from_the_manifest,
}


@pytest.mark.parametrize("what", FORGERIES)
def test_what_was_changed_after_signing_is_not_trusted(
    what: str, repository: ModelRepository, version: Path, keys: KeyPair, tmp_path: Path
) -> None:
    """However well the rest fits: a signature that is not over exactly these files is none."""
    FORGERIES[what](repository, version)
    with pytest.raises(NotTrusted, match=r"^model\.sig is no signature of a trusted key over these files$"):
        copy_trusted(version, keys.public, tmp_path / "copy" / "3")


def test_an_unsigned_version_is_not_trusted(repository: ModelRepository, keys: KeyPair, tmp_path: Path) -> None:
    """A version whose publisher had no key says what is missing."""
    with pytest.raises(NotTrusted, match=r"^model\.sig is missing"):
        copy_trusted(repository.publish(2), keys.public, tmp_path / "copy" / "2")


def test_somebody_elses_signature_is_not_trusted(
    version: Path, other_keys: KeyPair, keys: KeyPair, tmp_path: Path
) -> None:
    """A whole and true signature of another key does not count; while keys change, either of two does."""
    sign_version(version, other_keys.private)
    with pytest.raises(NotTrusted, match="is no signature of a trusted key"):
        copy_trusted(version, keys.public, tmp_path / "one" / "3")
    both = tmp_path / "trusted"
    both.mkdir()
    shutil.copy(keys.public, both / "old.pem")
    shutil.copy(other_keys.public, both / "new.pem")
    assert copy_trusted(version, both, tmp_path / "two" / "3").model_version == 3


def test_a_signed_version_cannot_be_moved(
    repository: ModelRepository, version: Path, keys: KeyPair, tmp_path: Path
) -> None:
    """A true signature holds for one number and one model: an old version does not come back as a newer one."""
    shutil.copytree(version, repository.version_dir(9))
    with pytest.raises(ArtifactError, match="is of version 3, the folder is 9"):
        copy_trusted(repository.version_dir(9), keys.public, tmp_path / "a" / "9")
    elsewhere = repository.root / "other-model" / "3"
    shutil.copytree(version, elsewhere)
    with pytest.raises(NotTrusted, match=r"^it was signed as a version of lung-ct$"):
        copy_trusted(elsewhere, keys.public, tmp_path / "b" / "3")


def test_what_the_manifest_does_not_list_is_not_taken(version: Path, keys: KeyPair, tmp_path: Path) -> None:
    """A file planted into a signed version reaches nobody."""
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / "planted").write_bytes(b"x")
    copy_trusted(version, keys.public, tmp_path / "copy" / "3")
    assert "assets.extra/planted" not in names_below(tmp_path / "copy" / "3")


def test_links_lead_nowhere(repository: ModelRepository, version: Path, keys: KeyPair, tmp_path: Path) -> None:
    """A listed file that is a link out of the version, and a name that climbs, are refused before anything is read."""
    outside = repository.root / "weights"
    shutil.move(version / WEIGHTS, outside)
    (version / WEIGHTS).symlink_to(outside)
    with pytest.raises(CorruptArtifact, match="lies outside the version"):
        copy_trusted(version, keys.public, tmp_path / "a" / "3")
    (version / WEIGHTS).unlink()
    shutil.move(outside, version / WEIGHTS)
    files = json.loads((version / "manifest.json").read_text("utf-8"))["files"]
    repository.change_manifest(version, files=files | {"../../escaped": files["golden.npz"]})
    with pytest.raises(CorruptArtifact, match="lies outside the version"):
        copy_trusted(version, keys.public, tmp_path / "b" / "3")
    assert not (tmp_path / "escaped").exists()


def test_a_file_larger_than_listed_is_not_copied_to_its_end(version: Path, keys: KeyPair, tmp_path: Path) -> None:
    """A terabyte of nothing in a file's place takes no room: copying ends with the size that the manifest lists."""
    os.truncate(version / WEIGHTS, 2**40)
    with pytest.raises(CorruptArtifact, match=f"^{WEIGHTS} is larger than"):
        copy_trusted(version, keys.public, tmp_path / "copy" / "3")


def test_a_version_larger_than_any_is_not_begun_with(
    repository: ModelRepository, version: Path, keys: KeyPair, tmp_path: Path
) -> None:
    """A manifest that lists a petabyte is bad content, on whatever disk; nothing of it is copied."""
    files = json.loads((version / "manifest.json").read_text("utf-8"))["files"]
    repository.change_manifest(version, files=files | {"more": {"sha256": "0" * 64, "size": 2**50}})
    with pytest.raises(CorruptArtifact, match="larger than"):
        copy_trusted(version, keys.public, tmp_path / "copy" / "3")
    assert {path.name for path in (tmp_path / "copy" / "3").iterdir()} == {"manifest.json", "model.sig"}


@pytest.mark.parametrize(("name", "reason"), [("./saved_model.pb", "listed twice"), ("a" * 300, "is missing")])
def test_names_that_no_copy_can_have_are_bad_content(version: Path, keys: KeyPair, name: str, reason: str) -> None:
    """A file listed under two names, or under one longer than any, is the version's fault and not the disk's."""
    manifest = json.loads((version / "manifest.json").read_text("utf-8"))
    manifest["files"][name] = manifest["files"]["saved_model.pb"]
    (version / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(CorruptArtifact, match=reason):
        copy_trusted(version, keys.public, version.parent / "copy" / "3")


def test_what_is_no_key_is_told_before_it_is_needed(keys: KeyPair, tmp_path: Path) -> None:
    """Missing files, private keys where public ones belong, the reverse, other kinds and passphrases have their say."""
    empty = tmp_path / "empty"
    empty.mkdir()
    locked = tmp_path / "locked.key"
    lock = ("openssl", "ec", "-in", str(keys.private), "-aes256", "-passout", "pass:secret", "-out", str(locked))
    subprocess.run(lock, check=True, capture_output=True)
    for path, reason in (
        (tmp_path / "none.pem", "cannot be read: No such file"),
        (keys.private, "is no PEM file of a public key"),
        (empty, r"holds no \*\.pem"),
    ):
        with pytest.raises(UnusableKey, match=reason):
            trusted_keys(path)
    for path, reason in (
        (tmp_path / "none.key", "cannot be read: No such file"),
        (keys.public, "is no PEM file of an elliptic curve's private key"),
        (locked, "without a passphrase"),
    ):
        with pytest.raises(UnusableKey, match=reason):
            require_signing_key(path)
    require_signing_key(keys.private)


def test_a_damaged_public_key_is_trouble_of_the_machine(version: Path, tmp_path: Path) -> None:
    """Only the operator can mend it, and the version is not to blame."""
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "utf-8")
    with pytest.raises(UnusableKey, match=r"damaged\.pem is no public key"):
        copy_trusted(version, damaged, tmp_path / "copy" / "3")
