"""What a run has finished so far, so that a run that was killed can go on: `.work-…` beside the versions.

Readers of the repository pass over it. Its name is a fingerprint of everything that decides about the result, so work
on other data, with other settings or by other code is never taken up.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import shared
from trainer.data.dataset import Slices
from trainer.data.splits import Folds
from trainer.library_versions import library_versions
from trainer.settings import TrainerSettings

logger = logging.getLogger(__name__)

WORK_PREFIX = ".work-"
_PART = ".part"
_OFFERED = "offered"  # in a folder that the quality gate offered for --force --resume
_WITHOUT_EFFECT = {
    "data", "model_repository", "model_name", "cases", "case_counts", "on_label_conflict", "split_seed", "log_dir",
    "decode_threads", "validation_share", "signing_key",
}  # fmt: skip
"""Settings that say where things lie, or whose effect is in the fingerprint already."""

_CODE = (Path(__file__).parents[1], *map(Path, shared.__path__))

Kept = TypeVar("Kept")


class WorkFolder:
    """Finished parts by name. The folder is made when the first one is kept, and locked as long as this run lives."""

    def __init__(self, model_dir: Path, fingerprint: str, *, is_resumed: bool) -> None:
        self.path = model_dir / f"{WORK_PREFIX}{fingerprint[:16]}"
        self._is_resumed = is_resumed
        self._lock: int | None = None
        self._is_usable = True
        others = [name for name in work_folders(model_dir) if name != self.path.name]
        if others:
            logger.info(
                "Not taken up, being of other data, other settings or another version of the trainer "
                "(`trainer prune --all-work` removes it): unfinished work in %s", ", ".join(others),
            )  # fmt: skip
        if is_resumed and not self.path.is_dir():
            logger.info("Nothing to resume: no run of this data, these settings and this code was cut off")
        elif self.path.is_dir() and not is_resumed:
            logger.info("A run like this one was cut off; with --resume it would go on where it was")

    def load(self, name: str, read: Callable[[Path], Kept]) -> Kept | None:
        """A part that a run before this one finished; None if this run is not to resume it, or it cannot be read."""
        file = self.path / name
        if not (self._is_resumed and file.is_file() and self._locked()):
            return None
        try:
            kept = read(file)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            logger.warning("%s of the run before cannot be read and is made again: %s", name, error)
            return None
        logger.info("Taken from the run that was cut off: %s", name)
        return kept

    def keep(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a finished part, whole or not at all. A run goes on where that fails; it only cannot be resumed."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self._locked():
                part = self.path / (name + _PART)
                write(part)
                part.rename(self.path / name)
        except OSError as error:
            logger.warning("%s cannot be kept for --resume: %s", name, error.strerror or error)

    def offer(self) -> None:
        """Have prune leave this work: somebody was told to go on with it."""
        if self.path.is_dir():
            self.keep(_OFFERED, Path.touch)

    def remove(self) -> None:
        """All is published: nothing of the work is needed any more."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let another run have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _locked(self) -> bool:
        """Whether this run may read and write here: not while another one does."""
        if self._lock is None and self._is_usable:
            self._lock = _lock(self.path)
            self._is_usable = self._lock is not None
            if not self._is_usable:
                logger.warning("Another run is at work on the same; nothing of this one is kept for --resume")
        return self._is_usable


def work_folders(model_dir: Path) -> tuple[str, ...]:
    """Names of all work folders of a model, in order; empty where it has no folder."""
    if not model_dir.is_dir():
        return ()
    return tuple(
        sorted(path.name for path in model_dir.iterdir() if path.name.startswith(WORK_PREFIX) and path.is_dir())
    )


def remove_work(model_dir: Path, *, is_offered_too: bool = False) -> tuple[str, ...]:
    """Remove the work folders that no living run holds, and return their names; by default none that was offered."""
    removed = []
    for name in work_folders(model_dir):
        if (model_dir / name / _OFFERED).is_file() and not is_offered_too:
            continue
        handle = _lock(model_dir / name)
        if handle is not None:
            shutil.rmtree(model_dir / name, ignore_errors=True)
            os.close(handle)
            removed.append(name)
    return tuple(removed)


def fingerprint(dataset: Slices, folds: Folds, settings: TrainerSettings, code: tuple[Path, ...] = _CODE) -> str:
    """SHA-256 in hexadecimal over slices, labels, cases, folds, settings, libraries, and the code in these folders."""
    weights = Path(settings.weights)
    said = {
        "digests": dataset.digests,
        "labels": dataset.labels.tolist(),
        "groups": folds.cases.groups.tolist(),
        "folds": folds.fold_of.tolist(),
        "settings": settings.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
        "weights": _sha256(weights) if weights.is_file() else settings.weights,
        "libraries": library_versions(),
        "code": [
            (file.relative_to(folder).as_posix(), _sha256(file))
            for folder in code
            for file in sorted(folder.rglob("*.py"))
        ],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _lock(folder: Path) -> int | None:
    """A handle that holds the folder's lock until it is closed; None where another process has it.

    A file system without locks (some network shares) gives a handle: there, nobody can be told apart.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        logger.debug("%s cannot be locked", folder)
    return handle
