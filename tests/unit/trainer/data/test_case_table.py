"""cases.csv: what is read, and what is said of a table that cannot be used."""

from pathlib import Path

import pytest

from trainer.data.case_table import (
    FileListedTwice,
    ListedFileMissing,
    UnlistedSlices,
    UnreadableCaseTable,
    read_case_table,
)

FILES = ("a/1.png", "a/2.png", "b/1.png")
ROWS = "file,case\na/1.png,p1\na/2.png,p1\nb/1.png,p2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in (*FILES, "notes/9.png"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path


def read(folder: Path, content: str | bytes) -> dict[str, str]:
    table = folder / "cases.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_case_table(table, folder, FILES)


def test_each_slice_gets_its_case(folder: Path) -> None:
    """Rows in any order, further columns, a byte order mark, Windows's separators and line ends: all are understood."""
    wanted = {"a/1.png": "p1", "a/2.png": "p1", "b/1.png": "p2"}
    assert read(folder, ROWS) == wanted
    assert read(folder, "\ufeff case,age, file\r\np2,70,b\\1.png\r\np1,61,./a/1.png\r\n p1 ,61,a/2.png\r\n") == wanted


def test_rows_of_other_files_that_are_there_are_passed_over(folder: Path) -> None:
    """A row may be of a slice that was skipped or of a folder that is no class."""
    assert len(read(folder, ROWS + "notes/9.png,p9\n")) == 3


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"file,case\na/1.png,\xff\n", "byte 18 is not UTF-8"),
        ("name,case\na/1.png,p1\n", "the column 'file' is missing, the columns are 'name', 'case'"),
        ("file;case\na/1.png;p1\n", "'file;case'"),
        ("", "the columns are none"),
        ("file,case\na/1.png\n", "line 2 has no case"),
        ("file,case\n,p1\n", "line 2 has no file"),
        ('file,case\n"a/1.png,p1\n', "unexpected end of data"),
    ],
)
def test_a_table_that_cannot_be_read_says_what_is_wrong(folder: Path, content: bytes | str, complaint: str) -> None:
    """Encoding, columns, values: the reason and the expected form are in one sentence."""
    with pytest.raises(UnreadableCaseTable, match=r"with the columns file,case") as error:
        read(folder, content)
    assert complaint in str(error.value)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The path and the system's word on it."""
    with pytest.raises(UnreadableCaseTable, match=r"nowhere\.csv.*No such file"):
        read_case_table(tmp_path / "nowhere.csv", tmp_path, FILES)


def test_a_file_listed_twice_is_refused(folder: Path) -> None:
    """Also with the same case: one of the rows is a slip."""
    with pytest.raises(FileListedTwice, match=r"lists 1 file \(a/1\.png\) more than once"):
        read(folder, ROWS + "a/1.png,p1\n")


def test_slices_without_a_row_are_counted_and_named(folder: Path) -> None:
    """How many of how many, and which."""
    with pytest.raises(UnlistedSlices, match=r"lacks 2 files \(a/2\.png, b/1\.png\) of 3"):
        read(folder, "file,case\na/1.png,p1\n")


def test_rows_without_a_file_are_counted_and_named(folder: Path) -> None:
    """The first few are shown."""
    rows = "".join(f"a/{number}.png,p1\n" for number in range(100, 105))
    with pytest.raises(ListedFileMissing, match=r"lists 5 files \(a/100\.png, a/101\.png, a/102\.png, …\) that"):
        read(folder, ROWS + rows)
