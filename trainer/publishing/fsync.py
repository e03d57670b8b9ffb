"""Having the disk hold what was written, before somebody is told that it is there."""

import os
from pathlib import Path


def fsync_file(path: Path) -> None:
    """Have the disk hold a file's bytes, or a folder's entries, a rename in it too. Raises OSError where it cannot."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(folder: Path) -> None:
    """Have the disk hold every file and folder below and the folder itself, deepest first. Raises OSError."""
    for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        fsync_file(path)
    fsync_file(folder)
