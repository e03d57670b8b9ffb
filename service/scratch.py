"""Folders for temporary files. Each is owned by a lock that dies with its process, so what a killed one left is known.

tempfile goes to another folder where the first is full, and what lies in the first would not be looked for any more:
this stays with TMPDIR.
"""

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from typing import NoReturn

log = logging.getLogger("lungct.scratch")

_PREFIX = "lungct-load-"

_held: set[Path] = set()
"""Folders of this process, for end_process()."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder of this process, removed at the end. What killed processes left is removed before.

    Raises OSError, whose strerror says that it is about temporary files.
    """
    sweep()
    try:
        folder, lock = _new_folder()
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, in the folder for temporary files") from error
    _held.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _held.discard(folder)
        os.close(lock)


def sweep() -> None:
    """Remove the folders of this user whose process has ended; those of others, and links, are left alone."""
    for folder in sorted(_root().glob(f"{_PREFIX}*")):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # gone by now, another user's, or no folder
            continue
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                log.info("removed what an ended process left", extra={"folder": folder.name})
        except BlockingIOError:  # its process lives
            continue
        except OSError as error:
            log.warning("temporary files stay", extra={"folder": folder.name, "reason": error.strerror})
        finally:
            os.close(lock)


def room_to_convert(version_dir: Path) -> int:
    """Bytes that a version's conversions take at most: three, of two what was compiled, and a copy to be checked."""
    return 6 * sum(path.stat().st_size for path in version_dir.rglob("*") if path.is_file())


def require_room(folder: Path, needed: int) -> None:
    """Raises OSError where so many bytes would not fit into the folder's volume."""
    if shutil.disk_usage(folder).free < needed:
        raise OSError(ENOSPC, "No space left for temporary files")


def end_process(code: int) -> NoReturn:
    """End at once, though threads hang in a stalled volume or an engine; the log and these folders are seen to."""
    logging.shutdown()
    for folder in list(_held):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(code)


def _new_folder() -> tuple[Path, int]:
    """The folder, and the file descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_root()))
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # swept by another process between these two lines
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # or swept between those
            return folder, lock
        os.close(lock)


def _root() -> Path:
    return Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - where tempfile looks first, too
