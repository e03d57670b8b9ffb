"""The versions that are there, and the operator's word on them: list, pin, unpin, sign, prune. Needs no TensorFlow."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shared.artifact import SIGNATURE_FILE, ArtifactError, Manifest, read_manifest, verify_files
from shared.signing import sign_version
from shared.versions import POLICY_FILE, Policy, PolicyError, published_versions, read_policy
from trainer.errors import TrainerError
from trainer.publishing.fsync import fsync_file
from trainer.publishing.staging import remove_dead_staging, staging_folder


class RepositoryError(TrainerError):
    """The repository does not allow what was asked."""


class NoSuchVersion(RepositoryError):
    """The version is not there."""

    def __init__(self, version: int, present: tuple[int, ...]) -> None:
        there = ", ".join(str(number) for number in present) or "no version"
        super().__init__(f"Version {version} is not in the repository, which holds {there}.")


class InvalidVersion(RepositoryError):
    """The version is there, and its files are not what was published."""

    def __init__(self, version: int, reason: str) -> None:
        super().__init__(f"Version {version} is not valid: {reason}.")


class EmptyRepository(RepositoryError):
    """No version that is valid."""

    def __init__(self, model_dir: Path) -> None:
        super().__init__(f"{model_dir} holds no valid version; `trainer run` publishes one.")


class UnreadablePolicy(RepositoryError):
    """policy.json cannot be understood, so it is not known what is pinned."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; `trainer pin` or `trainer unpin` writes a new one.")


@dataclass(frozen=True)
class VersionSummary:
    """One version at a glance; `problem` says why it is not valid, and then what the manifest says may be missing."""

    version: int
    created: datetime | None
    architecture: str | None
    accuracy: float | None
    size_bytes: int
    pinned: bool
    has_signature: bool
    """Whether there is one; whose it is, the service finds out."""
    problem: str | None


def list_versions(model_dir: Path) -> tuple[VersionSummary, ...]:
    """Every version in ascending order, each verified byte by byte. Raises UnreadablePolicy."""
    pinned = _policy(model_dir).pin
    return tuple(_summarise(model_dir, number, pinned) for number in published_versions(model_dir))


def table(summaries: tuple[VersionSummary, ...]) -> str:
    """The versions as a table for a terminal, a line a version."""
    if not summaries:
        return "No version yet."
    lines = ["version  created              network   accuracy      size  state"]
    for one in summaries:
        created = one.created.strftime("%Y-%m-%d %H:%M:%S") if one.created else "-"
        accuracy = "-" if one.accuracy is None else f"{one.accuracy:.4f}"
        marks = "pinned, " * one.pinned + "signed, " * one.has_signature
        state = marks + (f"NOT VALID: {one.problem}" if one.problem else "valid")
        size = f"{one.size_bytes / 1e6:.1f} MB"
        lines.append(
            f"{one.version:>7}  {created:<19}  {one.architecture or '-':<8}  {accuracy:>8}  {size:>8}  {state}"
        )
    return "\n".join(lines)


def newest_valid_version(model_dir: Path) -> int | None:
    """The highest number whose files verify; None where there is none."""
    return next((number for number in reversed(published_versions(model_dir)) if not _problem(model_dir, number)), None)


def read_version(model_dir: Path, version: int | None = None) -> Manifest:
    """Manifest of a version whose files verify; by default the pinned one, or else the newest valid one.

    Raises NoSuchVersion, InvalidVersion, EmptyRepository or UnreadablePolicy.
    """
    wanted = version
    if wanted is None:
        wanted = _policy(model_dir).pin or newest_valid_version(model_dir)
    if wanted is None:
        raise EmptyRepository(model_dir)
    present = published_versions(model_dir)
    if wanted not in present:
        raise NoSuchVersion(wanted, present)
    try:
        return _verified(model_dir / str(wanted))
    except (ArtifactError, OSError) as error:
        raise InvalidVersion(wanted, str(error)) from error


def pin(model_dir: Path, version: int) -> None:
    """Have services serve this version and no other. Raises NoSuchVersion or InvalidVersion."""
    read_version(model_dir, version)
    _write_policy(model_dir, Policy(pin=version))


def unpin(model_dir: Path) -> None:
    """Have services serve the newest valid version again. Raises OSError where the repository is no folder."""
    published_versions(model_dir)
    if model_dir.is_dir():
        _write_policy(model_dir, Policy())


def sign(model_dir: Path, version: int, signing_key: Path) -> None:
    """Sign a version that is there already, after verifying it. Raises NoSuchVersion, InvalidVersion or OSError.

    Whoever signs vouches for what the version holds now, whoever wrote it.
    """
    read_version(model_dir, version)
    version_dir = model_dir / str(version)
    with staging_folder(model_dir) as folder:
        path = sign_version(version_dir, signing_key, folder / SIGNATURE_FILE)
        fsync_file(path)
        path.replace(version_dir / SIGNATURE_FILE)
    fsync_file(version_dir)


def prune(model_dir: Path, keep: int) -> tuple[int, ...]:
    """Remove old versions and what killed runs left; returns the numbers that were removed.

    Stays: the pinned version, the `keep` newest ones, and the `keep` newest valid ones, so that a row of broken
    versions never costs the last good one. Raises UnreadablePolicy, ValueError for keep < 1.
    """
    if keep < 1:
        raise ValueError(f"expected to keep at least 1 version, got {keep}")
    pinned = _policy(model_dir).pin
    remove_dead_staging(model_dir)
    newest_first = published_versions(model_dir)[::-1]
    valid = [number for number in newest_first if not _problem(model_dir, number)]
    stays = {pinned, *newest_first[:keep], *valid[:keep]}
    removed = tuple(sorted(number for number in newest_first if number not in stays))
    for number in removed:
        # a reader sees the whole version or none: it is renamed out of sight before a file of it goes
        with staging_folder(model_dir) as folder:
            (model_dir / str(number)).rename(folder / str(number))
    return removed


def _summarise(model_dir: Path, number: int, pinned: int | None) -> VersionSummary:
    version_dir, manifest = model_dir / str(number), None
    with suppress(ArtifactError, OSError):
        manifest = read_manifest(version_dir)
    accuracy = manifest.metrics.get("accuracy") if manifest else None
    return VersionSummary(
        version=number,
        created=manifest.created if manifest else None,
        architecture=manifest.architecture if manifest else None,
        accuracy=float(accuracy) if isinstance(accuracy, int | float) else None,
        size_bytes=sum(path.stat().st_size for path in version_dir.rglob("*") if path.is_file()),
        pinned=number == pinned,
        has_signature=(version_dir / SIGNATURE_FILE).is_file(),
        problem=_problem(model_dir, number),
    )


def _problem(model_dir: Path, number: int) -> str | None:
    """Why the version is not valid, None where it is."""
    try:
        _verified(model_dir / str(number))
    except (ArtifactError, OSError) as error:
        return str(error)
    return None


def _verified(version_dir: Path) -> Manifest:
    """The manifest of a version whose files are what was published. Raises ArtifactError or OSError."""
    manifest = read_manifest(version_dir)
    verify_files(version_dir, manifest)
    return manifest


def _policy(model_dir: Path) -> Policy:
    try:
        return read_policy(model_dir)
    except PolicyError as error:
        raise UnreadablePolicy(str(error)) from error


def _write_policy(model_dir: Path, policy: Policy) -> None:
    """Beside it, flushed, then renamed over it: a service polls this file at any moment."""
    with staging_folder(model_dir) as folder:
        path = folder / POLICY_FILE
        path.write_text(policy.model_dump_json() + "\n", "utf-8")
        fsync_file(path)
        path.replace(model_dir / POLICY_FILE)
    fsync_file(model_dir)
