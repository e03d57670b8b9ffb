"""The folders in which versions are written before they are one: `.tmp-…` beside the versions.

Their writer holds a lock on them, which the kernel drops however the writer ends, so an unlocked one is what a killed
run left. A folder is made and locked, and the dead are removed, under the lock of the model's folder: nobody can find
a new folder between its making and its locking.
"""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.artifact import STAGING_PREFIX

_NO_LOCKS_HERE = (errno.ENOLCK, errno.EBADF, errno.ENOTSUP, errno.EINVAL)
"""How file systems without locks on folders answer (some network shares)."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, waiting for whoever has it; held by nobody on a file system without locks."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def staging_folder(model_dir: Path) -> Iterator[Path]:
    """A new empty folder of this process; whatever still has its name at the end is removed."""
    folder = model_dir / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
    with locked(model_dir):
        folder.mkdir()
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        _lock(handle, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_dead_staging(model_dir: Path) -> int:
    """Remove staging folders whose writer is gone, and say how many; the folders of living writers stay."""
    if not model_dir.is_dir():
        return 0
    with locked(model_dir):
        found = [path for path in model_dir.iterdir() if path.name.startswith(STAGING_PREFIX) and path.is_dir()]
        return sum(_remove_if_dead(path) for path in found)


def _remove_if_dead(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
        shutil.rmtree(folder)
        return True
    finally:
        os.close(handle)


def _lock(handle: int, operation: int) -> bool:
    """Whether the lock was taken; a file system without locks never gives one, so nothing on it counts as dead."""
    try:
        fcntl.flock(handle, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:
            return False
        raise
    return True
