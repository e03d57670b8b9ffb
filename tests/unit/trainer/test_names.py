"""Names of files and folders that were made to confuse: bytes that are no UTF-8, escape sequences, line breaks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec
from trainer.__main__ import main
from trainer.data.case_table import read_case_table
from trainer.data.dataset import index_folder
from trainer.data.input_pipeline import read_dataset

ROOT = Path(__file__).parents[3]
LATIN = os.fsdecode(b"caf\xe9.png")
HOSTILE = "\x1b]0;owned\x07\nNormal cases: 0.png"
SHOWN = (r"Normal cases/\x1b]0;owned\x07\nNormal cases: 0.png", r"Normal cases/caf\xe9.png")


@pytest.fixture
def folder(phantom_folder: Path, tmp_path: Path) -> Path:
    """Phantoms, one with a hostile name, one with a name that is no UTF-8, and beside them what cannot be read."""
    copy = shutil.copytree(phantom_folder, tmp_path / "slices")
    first, second = sorted((copy / "Normal cases").glob("case*"))[:2]
    first.rename(first.with_name(LATIN))
    second.rename(second.with_name(HOSTILE))
    (copy / "Normal cases" / os.fsdecode(b"\xff\x1b[31m.txt")).write_text("no image")
    (copy / "\x1b[2J").mkdir()
    (copy / "cases.csv").unlink()
    return copy


@pytest.mark.slow
def test_an_audit_names_every_file_and_nothing_is_obeyed(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Summary, JSON and page are written; no escape sequence and no forged line reaches any of them."""
    for more in ([], ["--json"]):
        assert main(["audit", "--data", str(folder), "--out", str(tmp_path / "audit"), *more]) == 0
    output, errors = capfd.readouterr()
    page, found = ((tmp_path / "audit" / f"audit.{kind}").read_text("utf-8") for kind in ("html", "json"))
    for text in (output, errors, page, found):
        assert "\x1b" not in text
        assert "\nNormal cases: 0.png" not in text
    audit = json.loads(found)
    files = [file for case in audit["cases"] for file in case["files"]]
    assert set(SHOWN) <= set(files)
    assert audit["unreadable"][0]["file"] == r"Normal cases/\xff\x1b[31m.txt"
    assert audit["ignored_folders"] == [r"\x1b[2J"]
    assert r"\xff\x1b[31m.txt" in page
    assert r"\xff\x1b[31m.txt: Expected" in output


def test_a_table_of_cases_names_them_as_they_are_shown(folder: Path, tmp_path: Path) -> None:
    """What cannot be written in a UTF-8 table is written as the audit shows it; what can be may stand as it is."""
    files = read_dataset(index_folder(folder, LUNG_CT_CLASSES), PreprocessingSpec(height=32, width=32)).files
    assert set(SHOWN) <= set(files)
    table = tmp_path / "table.csv"
    rows = [f'"{file.replace(SHOWN[0], f"Normal cases/{HOSTILE}")}",p{row}' for row, file in enumerate(files)]
    rows += [r"Normal cases/\xff\x1b[31m.txt,p0"]  # is there, and was skipped
    table.write_text("\n".join(["file,case", *rows]) + "\n", "utf-8")
    assert read_case_table(table, folder, files) == {file: f"p{row}" for row, file in enumerate(files)}


@pytest.mark.slow
def test_a_refusal_shows_names_in_its_one_line(folder: Path) -> None:
    """Errors of a process of its own, about files, folders and arguments, are one line that a terminal cannot obey."""
    for path in (folder / "Benign cases").glob("*"):
        path.rename(path.with_name("\x1b[5m\n" + path.name))
    for path in (folder / "Benign cases").glob("*"):
        path.write_text("no image")
    for data in (folder, folder / "no\x1b[31m\nwhere", folder / os.fsdecode(b"\xfe")):
        done = subprocess.run(
            [sys.executable, "-m", "trainer", "audit", "--data", data, "--out", folder / "out"],
            cwd=ROOT, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        said = [line for line in done.stderr.splitlines() if line.startswith(b"trainer: ")]
        assert (done.returncode, done.stdout, len(said)) == (1, b"", 1), done.stderr
        assert said[0] == done.stderr.splitlines()[-1]
        assert b"\x1b" not in done.stderr
        done.stderr.decode("utf-8")


def test_a_class_name_that_cannot_be_printed_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It would stand in answers and cards."""
    assert main(["run", "--classes", "A\x1b[31m,B", "--target", "B"]) == 2
    assert r"expected characters that can be printed, got A\x1b[31m,B" in capsys.readouterr().err
    assert main(["versions", "--model-repository", os.fsdecode(b"\xff")]) == 2
    assert r"expected a name in UTF-8, as TensorFlow does, got \xff" in capsys.readouterr().err
