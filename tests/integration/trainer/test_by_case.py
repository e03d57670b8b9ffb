"""`trainer run` with whole cases held out: what is published, the gate, and a run that is killed and resumed."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shared.artifact import digest_files, read_manifest, verify_files
from trainer.__main__ import main
from trainer.evaluation.metrics import Metrics
from trainer.evaluation.out_of_fold import OUT_OF_FOLD_FILE, read_out_of_fold
from trainer.evaluation.shortcuts import CLUES, Shortcut, shortcut_warnings
from trainer.evaluation.stress import Stress
from trainer.export.saved_model import load_and_predict
from trainer.phantoms.phantom_folder import synthesize
from trainer.publishing.quality_gate import Verdict

ROOT = Path(__file__).parents[3]
QUICK = ["--network", "tiny", "--image-side", "64", "--folds", "2", "--epochs", "2"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_environment")]


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cases a class, two slices each, with their table of cases."""
    folder = tmp_path_factory.mktemp("cases") / "slices"
    synthesize(folder, cases_per_class=6, slices_per_case=2, seed=1)
    return folder


@pytest.fixture(scope="module")
def first_version(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of version 1, trained on the slices: copy it, never change it."""
    models = tmp_path_factory.mktemp("first")
    assert main(["run", "--data", str(slices), *QUICK, "--model-repository", str(models)]) == 0
    return models / "lung-ct" / "1"


@pytest.fixture
def model_dir(first_version: Path, tmp_path: Path) -> Path:
    """A repository of this test alone, with version 1."""
    shutil.copytree(first_version.parent, tmp_path / "models" / "lung-ct")
    return tmp_path / "models" / "lung-ct"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_version_says_what_was_done(first_version: Path) -> None:
    """Cases known, figures out of fold by case, calibration, thresholds, out-of-fold probabilities; nothing is left."""
    manifest = read_manifest(first_version)
    verify_files(first_version, manifest)
    assert manifest.split["protocol"] == "case"
    assert (manifest.split["groups"], manifest.split["folds"], manifest.split["optimistic"]) == ("known", 2, False)
    assert len(str(manifest.split["digest"])) == 64
    assert (manifest.metrics["n"], manifest.metrics["n_cases"]) == (36, 18)
    calibration = manifest.metrics["calibration"]
    assert calibration["ece_after"] == pytest.approx(manifest.metrics["ece"])
    assert calibration["ece_before"] == pytest.approx(manifest.metrics["before_calibration"]["ece"])
    assert manifest.thresholds.target_class == "Malignant cases"
    assert "high_sensitivity" in manifest.thresholds.operating_points
    assert manifest.training["members"] == 2
    assert manifest.training["gate"]["reason"] == "There is no version yet to compare with."
    kept = read_out_of_fold(first_version)
    assert OUT_OF_FOLD_FILE in manifest.files
    assert (len(kept.sha256), len(set(kept.cases))) == (36, 18)
    right = np.argmax(kept.probabilities, axis=1) == np.array(kept.labels)
    assert right.mean() == pytest.approx(manifest.metrics["accuracy"])
    assert "case-0" not in (first_version / "manifest.json").read_text() + kept.model_dump_json()
    assert names_in(first_version / "figures") == ["confusion_matrix.png", "reliability.png"]
    assert names_in(first_version.parent) == ["1"]
    assert "Protocol `case`" in (first_version / "MODEL_CARD.md").read_text()


def test_the_version_says_what_it_could_have_learnt_instead(first_version: Path) -> None:
    """Every clue and a view have their figures, also of phantoms; the warnings are those that the figures ask for."""
    manifest = read_manifest(first_version)
    shortcuts = [Shortcut.model_validate(one) for one in manifest.metrics["shortcuts"]]
    assert [one.clue for one in shortcuts] == list(CLUES)
    stressed = Stress.model_validate(manifest.metrics["stress"])
    assert stressed.operating_point == manifest.thresholds.operating_point
    assert stressed.as_it_is.accuracy.by_slice.value == pytest.approx(manifest.metrics["accuracy"])
    point = manifest.thresholds.operating_points[stressed.operating_point]
    assert stressed.as_it_is.sensitivity.by_case.value == pytest.approx(point.sensitivity_by_case)
    assert set(stressed.views) == {"acquired"}
    reached = Metrics.model_validate(manifest.metrics).balanced_accuracy
    said = (*shortcut_warnings(shortcuts, reached), *stressed.warnings())
    assert manifest.warnings[1:] == said
    assert "## What it could have learnt instead" in (first_version / "MODEL_CARD.md").read_text()


def test_one_model_of_all_members(first_version: Path) -> None:
    """Its answers are probabilities; the golden slices were replayed when it was published."""
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1), np.uint8)
    answers = load_and_predict(first_version, images)
    assert answers.shape == (3, 3)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def make_perfect(version_dir: Path) -> None:
    """A published version that had been right about every slice, as far as its files say."""
    path = version_dir / OUT_OF_FOLD_FILE
    kept = json.loads(path.read_text())
    kept["probabilities"] = np.eye(3)[kept["labels"]].tolist()
    path.write_text(json.dumps(kept))
    manifest = json.loads((version_dir / "manifest.json").read_text())
    manifest["files"] = {name: digest.model_dump() for name, digest in digest_files(version_dir).items()}
    (version_dir / "manifest.json").write_text(json.dumps(manifest))


def test_a_worse_version_is_not_published(
    model_dir: Path, slices: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Exit 1, one line with the figures, the repository as it was; --force with --resume publishes it without training,
    also after a prune, and the manifest says that it was forced.
    """
    make_perfect(model_dir / "1")
    caplog.set_level("INFO")
    worse = ["run", "--data", str(slices), *QUICK, "--seed", "5"]
    assert main(worse) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("trainer: Not published: Worse than version 1 beyond chance: balanced accuracy -0.")
    assert "--force" in error
    assert [name for name in names_in(model_dir) if not name.startswith(".")] == ["1"]
    assert len(names_in(model_dir)) == 2
    assert main(["prune", "--keep", "1"]) == 0
    assert "offered for --force --resume (--all-work removes those): .work-" in capsys.readouterr().out
    caplog.clear()
    assert main([*worse, "--force", "--resume"]) == 0
    assert "Taken from the run that was cut off: fold-1.npz" in caplog.text
    assert "Epoch" not in caplog.text
    assert names_in(model_dir) == ["1", "2"]
    verdict = Verdict.model_validate(read_manifest(model_dir / "2").training["gate"])
    assert (verdict.is_worse, verdict.is_forced, verdict.version) == (True, True, 1)
    assert verdict.reason in capsys.readouterr().out


def test_a_killed_run_goes_on_where_it_was(
    first_version: Path, slices: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGKILL after the first fold; --resume takes that fold up and ends at the figures of a run that nobody killed."""
    run = ["run", "--data", str(slices), *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "trainer", *run],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("Fold 1 of 2"):
            process.send_signal(signal.SIGKILL)
            break
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    model_dir = tmp_path / "models" / "lung-ct"
    (work,) = names_in(model_dir)
    assert work.startswith(".work-")
    caplog.set_level("INFO")
    assert main([*run, "--resume"]) == 0
    assert "Taken from the run that was cut off: fold-0.npz" in caplog.text
    assert "Fold 2 of 2" in caplog.text
    assert names_in(model_dir) == ["1"]
    resumed, whole = read_manifest(model_dir / "1"), read_manifest(first_version)
    assert resumed.metrics == whole.metrics
    assert resumed.thresholds == whole.thresholds
    assert read_out_of_fold(model_dir / "1") == read_out_of_fold(first_version)


def test_prune_removes_unfinished_work(model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a killed run left goes when asked for; versions stay."""
    (model_dir / ".work-0123456789abcdef").mkdir()
    assert main(["prune", "--keep", "1"]) == 0
    assert "Removed unfinished work: .work-0123456789abcdef." in capsys.readouterr().out
    assert names_in(model_dir) == ["1"]


def test_crossval_measures_and_publishes_nothing(
    slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two seeds of the folds, one report, no repository."""
    assert main(["crossval", "--data", str(slices), *QUICK, "--epochs", "1", "--seeds", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n"], report["n_cases"], report["seeds"], report["gain"]) == (36, 18, [0, 1], None)
    assert len(report["measured"]["figures"]["balanced_accuracy"]["of_seeds"]) == 2
    assert report["measured"]["configuration"]["network"] == "tiny"
    assert not (tmp_path / "models").exists()


def test_too_few_cases_are_an_error_that_leaves_nothing(
    slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More folds than cases of a class: one line that counts them, exit 1, no folder."""
    assert main(["run", "--data", str(slices), *QUICK[:-4], "--folds", "7"]) == 1
    assert "7 folds need 7 cases of each" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
