"""cases.csv: which case each slice is of, as the user knows it.

    file,case
    Normal cases/IM-0001.png,patient-17

A file is named by its path relative to the folder of the class folders; further columns are ignored. What of a name
cannot be printed, or is no UTF-8, is written as the trainer's messages and audit.json write it.
"""

import csv
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from trainer.data.dataset import file_name
from trainer.errors import TrainerError
from trainer.terminal import counted, printable

CASE_TABLE_FILE = "cases.csv"
_COLUMNS = ("file", "case")
_SHOWN = 3


class CaseTableError(TrainerError):
    """The table of cases cannot be used."""


class UnreadableCaseTable(CaseTableError):
    """It cannot be opened, is no CSV in UTF-8, or lacks a column or a value."""

    def __init__(self, table: Path, reason: str) -> None:
        super().__init__(f"{table} cannot be used: {reason}; expected a CSV file in UTF-8 with the columns file,case.")


class FileListedTwice(CaseTableError):
    """A file has more than one row."""

    def __init__(self, table: Path, files: Collection[str]) -> None:
        super().__init__(f"{table} lists {_some(files, 'file')} more than once.")


class UnlistedSlices(CaseTableError):
    """Slices have no row."""

    def __init__(self, table: Path, files: Collection[str], total: int) -> None:
        super().__init__(f"{table} lacks {_some(files, 'file')} of {total}; expected one row for each slice.")


class ListedFileMissing(CaseTableError):
    """Rows name files that are not there."""

    def __init__(self, table: Path, files: Collection[str], folder: Path) -> None:
        super().__init__(f"{table} lists {_some(files, 'file')} that {folder} does not hold.")


def read_case_table(table: Path, folder: Path, files: Collection[str]) -> dict[str, str]:
    """Case of each of the files, which are called as trainer.data.dataset.file_name() calls them.

    Rows of other files that are there (unreadable slices, folders that are no class) are passed over.
    Raises UnreadableCaseTable, FileListedTwice, UnlistedSlices or ListedFileMissing, each saying which and how many.
    """
    rows = read_rows(table)
    if twice := [file for file, count in Counter(file for file, _ in rows).items() if count > 1]:
        raise FileListedTwice(table, twice)
    cases = dict(rows)
    if unlisted := [file for file in files if _key(file) not in cases]:
        raise UnlistedSlices(table, unlisted, len(files))
    if others := cases.keys() - {_key(file) for file in files}:
        others -= {_key(file_name(path, folder)) for path in folder.rglob("*") if path.is_file()}
        if others:
            raise ListedFileMissing(table, sorted(others), folder)
    return {file: cases[_key(file)] for file in files}


def read_rows(table: Path) -> list[tuple[str, str]]:
    """(file, case) of each row, in order, without a look at the files. Raises UnreadableCaseTable."""
    if table.exists() and not table.is_file():
        raise UnreadableCaseTable(table, "it is a folder" if table.is_dir() else "it is no regular file")
    try:
        with table.open(encoding="utf-8-sig", newline="") as text:  # spreadsheets write a byte order mark
            reader = csv.DictReader(text, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            if lacking := [name for name in _COLUMNS if name not in columns]:
                there = ", ".join(map(repr, columns)) or "none"
                raise UnreadableCaseTable(table, f"the column {lacking[0]!r} is missing, the columns are {there}")
            reader.fieldnames = columns
            return [_row(table, reader.line_num, row) for row in reader]
    except OSError as error:
        raise UnreadableCaseTable(table, f"{error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableCaseTable(table, f"byte {error.start} is not UTF-8") from error
    except csv.Error as error:
        raise UnreadableCaseTable(table, f"{error}") from error


def _row(table: Path, line: int, row: dict[str, str | None]) -> tuple[str, str]:
    file, case = ((row[name] or "").strip() for name in _COLUMNS)
    if not file or not case:
        raise UnreadableCaseTable(table, f"line {line} has no {'case' if file else 'file'}")
    return _key(file).removeprefix("./"), printable(case)


def _key(file: str) -> str:
    """One name for a file, whether the table writes it as it is, as it is printed, or as Windows does."""
    return printable(file).replace("\\", "/")


def _some(files: Iterable[str], noun: str) -> str:
    """'2 files (a.png, b.png)', naming a few."""
    names = list(files)
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    return f"{counted(len(names), noun)} ({shown})"
