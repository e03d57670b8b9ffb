"""Who published a version: a signature over all of its files, made with a private key and checked with its public half.

model.sig is what the OpenSSF library `model-signing` writes, and its command line can check it: an in-toto statement
that lists the SHA-256 of every file of the version, signed with an elliptic-curve key. No network, no service. The
library is imported when a signature is made or checked, and by nobody who does neither.
"""

import contextlib
import importlib.util
import io
import shutil
from errno import EINVAL, ENOPKG, ENOSPC
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from shared.artifact import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    SIGNATURE_FILE,
    ArtifactError,
    CorruptArtifact,
    Manifest,
    is_file,
    read_manifest,
    require_bounded,
    verify_files,
)

if TYPE_CHECKING:
    from model_signing import hashing, signing

_CHUNK_BYTES = 1024 * 1024


class NotTrusted(ArtifactError):
    """No signature, or none of a trusted key over exactly these files."""


class UnusableKey(OSError):
    """A key file, or the library, is not what is needed: trouble of this machine, and no verdict on a version."""


def require_library() -> None:
    """Raises UnusableKey where model-signing is not installed."""
    if importlib.util.find_spec("model_signing") is None:
        raise UnusableKey(ENOPKG, "the package model-signing is not installed; it comes with lungct[signing]")


def trusted_keys(path: Path) -> list[Path]:
    """The PEM files of public keys that path is, or holds as *.pem: while keys change, the old and the new one.

    Raises UnusableKey where there is none.
    """
    keys = sorted(path.glob("*.pem")) if path.is_dir() else [path]
    if not keys:
        raise UnusableKey(EINVAL, "the folder of trusted keys holds no *.pem")
    for key in keys:
        try:
            is_public = b"-----BEGIN PUBLIC KEY-----" in key.read_bytes()
        except OSError as error:
            raise UnusableKey(error.errno, f"the trusted key cannot be read: {error.strerror}") from error
        if not is_public:
            raise UnusableKey(EINVAL, f"{key.name} is no PEM file of a public key")
    return keys


def require_signing_key(private_key: Path) -> None:
    """Raises UnusableKey where this is no private key to sign with: found out before hours of training, not after."""
    require_library()
    _signer(private_key)


def sign_version(version_dir: Path, private_key: Path, path: Path | None = None) -> Path:
    """Write model.sig over every other file of the version, into it or to path; returns where it is.

    Raises UnusableKey or OSError.
    """
    require_library()
    signer, path = _signer(private_key), path or version_dir / SIGNATURE_FILE
    signer.set_hashing_config(_all_but_the_signature()).sign(version_dir, path)
    return path


def require_signature(version_dir: Path) -> None:
    """Raises NotTrusted where there is none; says nothing about what it is worth."""
    if not (version_dir / SIGNATURE_FILE).is_file():
        raise NotTrusted(f"{SIGNATURE_FILE} is missing: only signed versions may serve here")


def copy_trusted(version_dir: Path, keys: Path, copy: Path) -> Manifest:
    """Copy what the manifest lists into the new folder copy, and check signature and digests of the copy.

    What is used afterwards is the copy, so nobody can change a file between its check and its use. copy has the
    version's number as its name, as version_dir has. The manifest's model is compared with the folder around
    version_dir, so that a signed version of another model is not taken for one of this. Raises NotTrusted, another
    ArtifactError, UnusableKey, or OSError where there is no room.
    """
    require_library()
    copy.mkdir(parents=True)
    require_signature(version_dir)
    for name in (MANIFEST_FILE, SIGNATURE_FILE):
        _copy(version_dir, name, copy, MAX_MANIFEST_BYTES)
    manifest = read_manifest(copy)
    require_bounded(manifest)
    if sum(file.size for file in manifest.files.values()) > shutil.disk_usage(copy).free:
        raise OSError(ENOSPC, "No space left for temporary files")
    for name, digest in manifest.files.items():
        if name not in (MANIFEST_FILE, SIGNATURE_FILE):
            _copy(version_dir, name, copy, digest.size)
    _check_signature(copy, trusted_keys(keys))
    verify_files(copy, manifest)
    if manifest.model_name != version_dir.parent.name:
        raise NotTrusted(f"it was signed as a version of {manifest.model_name}")
    return manifest


def _copy(version_dir: Path, name: str, copy: Path, max_bytes: int) -> None:
    source, target = version_dir / PurePosixPath(name), copy / PurePosixPath(name)
    if not target.resolve().is_relative_to(copy.resolve()) or not source.resolve().is_relative_to(
        version_dir.resolve()
    ):
        raise CorruptArtifact(f"{name} lies outside the version")
    if not is_file(source):
        raise CorruptArtifact(f"{name} is missing")
    if target.exists():
        raise CorruptArtifact(f"{name} is listed twice")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as read, target.open("xb") as written:
        left = max_bytes
        while chunk := read.read(min(_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise CorruptArtifact(f"{name} is larger than {max_bytes} bytes")
            written.write(chunk)


def _check_signature(copy: Path, keys: list[Path]) -> None:
    """Raises NotTrusted unless one of the keys signed exactly the files of the folder."""
    from model_signing import verifying  # noqa: PLC0415 - 0.6 s and 40 MB, for those who check

    said = io.StringIO()  # the library prints; standard output of a trial is its verdict
    for key in keys:
        try:
            verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
        except Exception as error:  # whatever cryptography makes of a damaged key
            raise UnusableKey(EINVAL, f"{key.name} is no public key of an elliptic curve") from error
        try:
            with contextlib.redirect_stdout(said):
                verifier.set_hashing_config(_all_but_the_signature()).verify(copy, copy / SIGNATURE_FILE)
        except OSError:
            raise
        except Exception:  # noqa: S112 - another key's, or anything that is no signature at all
            continue
        return
    raise NotTrusted(f"{SIGNATURE_FILE} is no signature of a trusted key over these files")


def _signer(private_key: Path) -> "signing.Config":
    from model_signing import signing  # noqa: PLC0415 - see above

    try:
        return signing.Config().use_elliptic_key_signer(private_key=private_key)
    except OSError as error:
        raise UnusableKey(error.errno, f"the signing key cannot be read: {error.strerror}") from error
    except Exception as error:  # encrypted, of another kind, or no key at all
        raise UnusableKey(
            EINVAL, f"{private_key.name} is no PEM file of an elliptic curve's private key without a passphrase"
        ) from error


def _all_but_the_signature() -> "hashing.Config":
    from model_signing import hashing  # noqa: PLC0415 - see above

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE_FILE], ignore_git_paths=False)
