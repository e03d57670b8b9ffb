"""The versions that are there, and the operator's word on them: list, pin, unpin, sign, prune. Needs no TensorFlow."""

import textwrap
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from shared.artifact import SIGNATURE_FILE, ArtifactError, Manifest, read_manifest, verify_files
from shared.signing import sign_version
from shared.versions import POLICY_FILE, Policy, PolicyError, published_versions, read_policy
from trainer.errors import TrainerError
from trainer.publishing.fsync import fsync_file
from trainer.publishing.staging import remove_dead_staging, staging_folder

_WIDTH, _MAX_NETWORK = 120, 16
"""Of the table: characters in a line, and of a network's name."""


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
    sensitivity: float | None
    """Out of fold at the operating point in force, as are specificity and set_size; None without decision rules."""
    specificity: float | None
    set_size: float | None
    """Mean number of classes in a prediction set."""
    ece: float | None
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
    """The versions as a table for a terminal, a line a version, and one more for what is wrong with it.

    The accuracy, sensitivity and specificity, size of the prediction sets and calibration error are out of fold.
    """
    if not summaries:
        return "No version yet."
    network = max(7, *(min(len(one.architecture or ""), _MAX_NETWORK) for one in summaries))
    head = f"version  {'created':<16}  {'network':<{network}}  accuracy  sens/spec  sets  {'ece':>5}"
    lines = [f"{head}  {'size':>8}  state"]
    for one in summaries:
        created = one.created.strftime("%Y-%m-%d %H:%M") if one.created else "-"
        marks = "pinned, " * one.pinned + "signed, " * one.has_signature
        lines.append(
            f"{one.version:>7}  {created:<16}  {_cut(one.architecture or '-'):<{network}}  "
            f"{_rounded(one.accuracy, 4):>8}  {_rounded(one.sensitivity, 2):>4}/{_rounded(one.specificity, 2):<4}  "
            f"{_rounded(one.set_size, 2):>4}  {_rounded(one.ece, 3):>5}  {one.size_bytes / 1e6:>5.1f} MB  "
            f"{marks}{'NOT VALID' if one.problem else 'valid'}"
        )
        if one.problem:
            lines += textwrap.wrap(one.problem, _WIDTH, initial_indent=" " * 9, subsequent_indent=" " * 9)
    return "\n".join(lines)


def _rounded(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _cut(name: str) -> str:
    return name if len(name) <= _MAX_NETWORK else f"{name[: _MAX_NETWORK - 1]}…"


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
    metrics, rules = (manifest.metrics, manifest.thresholds) if manifest else ({}, None)
    point = rules.operating_points[rules.operating_point] if rules else None
    return VersionSummary(
        version=number,
        created=manifest.created if manifest else None,
        architecture=manifest.architecture if manifest else None,
        accuracy=_number(metrics.get("accuracy")),
        sensitivity=point.sensitivity if point else None,
        specificity=point.specificity if point else None,
        set_size=rules.prediction_sets.measured_size if rules else None,
        ece=_number(metrics.get("ece")),
        size_bytes=sum(path.stat().st_size for path in version_dir.rglob("*") if path.is_file()),
        pinned=number == pinned,
        has_signature=(version_dir / SIGNATURE_FILE).is_file(),
        problem=_problem(model_dir, number),
    )


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) else None


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
