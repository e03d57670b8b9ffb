"""`trainer evaluate` from the command line: a published version as it is served, its reports, and two compared."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.chest_ct import ChestGate
from shared.imaging import PreprocessingSpec
from tests.support.decision_rules import rules
from tests.support.published import publish_untrained
from trainer.__main__ import main

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_environment")]

SMALL = PreprocessingSpec(height=64, width=64)
GATE = ChestGate(image_limits=None, figures={"refused_by_image_limits": 0.5})


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2 with rules, 3 as versions from before there were any. Read it."""
    folder = tmp_path_factory.mktemp("models")
    for seed in (1, 2):
        publish_untrained(folder, seed, preprocessing=SMALL, thresholds=rules(), chest_gate=GATE)
    publish_untrained(folder, 3, preprocessing=SMALL)
    return folder


@pytest.fixture
def slices(phantom_folder: Path, tmp_path: Path) -> Path:
    """24 phantoms of 12 cases, one of them a JPEG."""
    copy = shutil.copytree(phantom_folder, tmp_path / "slices")
    first = min((copy / "Normal cases").iterdir())
    cv2.imwrite(str(first.with_suffix(".jpg")), np.asarray(cv2.imread(str(first))))
    first.unlink()
    table = copy / "cases.csv"
    table.write_text(table.read_text().replace(first.name, f"{first.stem}.jpg"))
    return copy


def evaluated(slices: Path, repository: Path, *arguments: object) -> int:
    """The verb's exit status."""
    return main(
        ["evaluate", "--data", str(slices), "--model-repository", str(repository), *map(str, arguments)]
    )  # fmt: skip


def test_one_version_in_four_forms(
    slices: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terminal, JSON, Markdown and page say the same, by slice and by case and by kind of file; none names a file."""
    files = {kind: tmp_path / "reports" / f"validation.{kind}" for kind in ("json", "md", "html")}
    status = evaluated(
        slices, repository, "--version", 1, "--json", files["json"], "--markdown", files["md"], "--html", files["html"]
    )
    assert status == 0
    output, errors = capsys.readouterr()
    assert output.startswith("Version 1 of lung-ct (tiny) as it is served\nWhether the version was trained on")
    assert "24 slices of 12 cases, known from the table of cases. 1 jpeg, 23 png." in output
    assert f"Written: {files['html']}" in output
    assert "Asking version 1: 24/24 done" in errors
    assert max(map(len, output.splitlines())) <= 120
    found = json.loads(files["json"].read_text())
    figures = found["figures"]
    assert (found["version"], found["operating_point"], found["trained_on"]["n"]) == (1, "high_sensitivity", None)
    assert (figures["n"], figures["n_cases"], figures["refused"]["by_case"]["value"]) == (24, 12, 0)
    for name in ("sensitivity", "specificity", "uncertain", "accuracy", "balanced_accuracy", "auc", "ece", "set_size"):
        figure = figures[name]
        for level in ("by_slice", "by_case"):
            lower, upper = figure[level]["interval"]
            assert lower <= figure[level]["value"] <= upper
        shown = f"{figure['by_case']['value']:.3f} ("
        assert all(shown in text for text in (output, files["md"].read_text(), files["html"].read_text()))
    assert set(found["by_kind"]) == {"jpeg", "png"}
    assert found["by_kind"]["jpeg"]["n"] == 1
    page = files["html"].read_text()
    assert page.count("data:image/png;base64,") == 3
    assert re.findall(r"(?:src|href)=\"(?!data:)", page) == []
    for text in (output, *(path.read_text() for path in files.values())):
        assert "case-0" not in text


def test_a_version_from_before_says_what_it_has_not(
    slices: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No rules, no gate, no list of training slices: said, and the figures that remain are given, as JSON alone too."""
    assert evaluated(slices, repository, "--version", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figures"]["sensitivity"] is None
    assert found["figures"]["n"] == 24
    assert found["missing"][0].startswith("The version has no decision rules")
    assert found["missing"][1].startswith("The version has no limits of its own for the chest gate")
    assert found["trained_on"]["n"] is None
    assert evaluated(slices, repository, "--version", 3) == 0
    assert "sensitivity" not in capsys.readouterr().out.split("How it counts")[0]


def test_two_versions_paired(
    slices: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The difference of their figures with its interval; a version against one without rules has fewer."""
    assert evaluated(slices, repository, "--compare", "1,2", "--json", tmp_path / "compared.json") == 0
    output = capsys.readouterr().out
    assert "Version 1 minus version 2" in output
    assert "difference by case" in output
    found = json.loads((tmp_path / "compared.json").read_text())
    one, other = (found[name]["figures"]["accuracy"]["by_slice"]["value"] for name in ("first", "second"))
    difference = found["difference"]["accuracy"]["by_slice"]
    assert difference["value"] == pytest.approx(one - other)
    assert difference["interval"][0] <= difference["value"] <= difference["interval"][1]
    assert evaluated(slices, repository, "--compare", "1,3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["difference"]["sensitivity"] is None


def test_what_cannot_be_done_is_said_in_a_line(
    slices: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version that is not there, a table that is none, a folder in place of a file."""
    assert evaluated(slices, repository, "--compare", "1,9") == 1
    assert "Version 9 is not in the repository" in capsys.readouterr().err
    assert evaluated(slices, repository, "--cases", tmp_path / "none.csv") == 2
    assert "cases (LUNGCT_CASES)" in capsys.readouterr().err
    assert evaluated(slices, repository, "--html", tmp_path) == 2
    assert f"html: {tmp_path} is a folder" in capsys.readouterr().err
