"""The trainer's verbs over real folders, real training, and real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.artifact import read_manifest, verify_files
from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec
from trainer.__main__ import main
from trainer.data.dataset import index_folder
from trainer.data.input_pipeline import read_dataset
from trainer.phantoms.phantom_folder import synthesize
from trainer.trained_model import PHANTOM_WARNING

ROOT = Path(__file__).parents[3]
DEADLINE_S = 300

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """Where the versions appear."""
    return tmp_path / "models" / "lung-ct"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


QUICK = ["--network", "tiny", "--image-side", "64"]


def test_folder_in_version_out_twice_the_same(
    phantom_folder: Path,
    model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A run publishes a valid version with figures; the same run again publishes the next with the same metrics; a bad
    file is skipped aloud; evaluate knows the slices again; the words of warning stand where they must.
    """
    slices = shutil.copytree(phantom_folder, tmp_path / "slices")
    (slices / "Normal cases" / "notes.txt").write_text("no image")
    run = ["run", "--data", str(slices), "--split", "image", *QUICK, "--epochs", "3", "--balance", "class-weight"]
    assert main(run) == 0
    output = capsys.readouterr().out
    assert "Published version 1" in output
    assert "optimistic" in output
    assert "Skipped Normal cases/notes.txt: Expected a JPEG, PNG or DICOM image, got text." in caplog.text
    assert main(run) == 0
    first, second = read_manifest(model_dir / "1"), read_manifest(model_dir / "2")
    verify_files(model_dir / "1", first)
    assert names_in(model_dir / "1" / "figures") == ["confusion_matrix.png", "training_history.png"]
    assert first.metrics == second.metrics
    assert {**first.training, "gate": None} == {**second.training, "gate": None}
    assert first.dataset == second.dataset
    assert first.dataset["skipped"]["n"] == 1
    assert first.split["optimistic"] is True
    assert any("optimistic" in warning for warning in first.warnings)
    assert "notes.txt" not in (model_dir / "1" / "manifest.json").read_text()
    capsys.readouterr()
    assert main(["evaluate", "--data", str(slices), "--version", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["figures"]["n"], found["trained_on"]["n"]) == (1, 24, 24)
    assert main(["evaluate", "--data", str(slices)]) == 0
    title, word, *_ = capsys.readouterr().out.splitlines()
    assert title == "Version 2 of lung-ct (tiny) as it is served"
    assert word == "24 of 24 slices were trained on: these figures are no validation."


@pytest.mark.slow
def test_other_classes_from_folder_to_evaluation(
    phantom_folder: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two classes of one's own travel through training, manifest and evaluation."""
    for theirs, ours in (("Normal cases", "Cat"), ("Malignant cases", "dog")):
        (tmp_path / "pets").mkdir(exist_ok=True)
        (tmp_path / "pets" / ours).symlink_to(phantom_folder / theirs)
    pets = ["--data", str(tmp_path / "pets")]
    assert main(["run", *pets, *QUICK, "--epochs", "1", "--folds", "2", "--classes", "Cat,Dog", "--target", "Dog"]) == 0
    manifest = read_manifest(model_dir / "1")
    assert manifest.classes.names == ("Cat", "Dog")
    assert manifest.classes.target == "Dog"
    capsys.readouterr()
    assert main(["evaluate", *pets, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["figures"]["recall"]) == ["Cat", "Dog"]


@pytest.mark.slow
def test_a_mounted_folder_without_slices_gives_the_demo(
    model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """LUNGCT_DATA naming an empty folder trains the demo model, which says that it has never seen a patient; the same
    folder on the command line is an error.
    """
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("LUNGCT_DATA", str(tmp_path / "data"))
    assert main(["run", "--epochs", "1", "--image-side", "64"]) == 0
    assert "no folder that is named like a class" in caplog.text
    manifest = read_manifest(model_dir / "1")
    assert manifest.dataset["kind"] == "phantoms"
    assert manifest.architecture == "tiny"
    assert manifest.warnings[0] == PHANTOM_WARNING
    assert PHANTOM_WARNING in (model_dir / "1" / "MODEL_CARD.md").read_text()
    assert PHANTOM_WARNING in capsys.readouterr().out
    assert main(["run", "--data", str(tmp_path / "data")]) == 1
    assert "'Normal cases' has no slices" in capsys.readouterr().err


@pytest.mark.slow
def test_synthesized_slices_are_not_taken_for_patients(model_dir: Path, tmp_path: Path) -> None:
    """A run on what `synthesize` drew warns as the demo does."""
    synthesize(tmp_path / "drawn", cases_per_class=3, slices_per_case=2, seed=0)
    assert main(["run", "--data", str(tmp_path / "drawn"), *QUICK, "--folds", "2", "--epochs", "1"]) == 0
    assert read_manifest(model_dir / "1").warnings[0] == PHANTOM_WARNING


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_stopped_run_says_so_and_leaves_nothing_behind(
    phantom_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """SIGTERM or Ctrl-C in the midst of training: one sentence, exit 143 or 130, no unfinished folder, no traceback."""
    arguments = ["run", "--data", str(phantom_folder), *QUICK, "--folds", "2", "--epochs", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "trainer", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("Epoch 2/"):
            process.send_signal(number)
            break
    _, rest = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + number, "".join(said) + rest
    assert rest.splitlines()[-1] == f"trainer: stopped by {number.name}; every published version is whole."
    assert "Traceback" not in rest
    assert not list((tmp_path / "models").rglob("*"))


@pytest.mark.real_data
def test_real_slices_are_all_read(real_slices: Path) -> None:
    """Every file of the public set's folders is a whole slice; each class is found under its own folder's name."""
    started = time.monotonic()
    dataset = read_dataset(index_folder(real_slices, LUNG_CT_CLASSES), PreprocessingSpec())
    assert dataset.skipped == ()
    assert min(dataset.counts().values()) > 0
    assert dataset.kind == "slices"
    assert time.monotonic() - started < 60


@pytest.mark.real_data
def test_real_slices_train_and_publish(real_slices: Path, model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One epoch a fold on real slices publishes a valid version, whose cases were guessed, and which says so."""
    assert main(["run", "--data", str(real_slices), "--network", "tiny", "--epochs", "1"]) == 0
    manifest = read_manifest(model_dir / "1")
    verify_files(model_dir / "1", manifest)
    assert PHANTOM_WARNING not in manifest.warnings
    assert manifest.dataset["kind"] == "slices"
    assert manifest.split["groups"] == "inferred"
    assert "cases were guessed" in capsys.readouterr().out


@pytest.mark.slow
def test_a_person_reads_our_lines_and_no_others(phantom_folder: Path, tmp_path: Path) -> None:
    """Of a whole run in a process of its own, standard error holds what the trainer says, and nothing of TensorFlow,
    Keras, absl or Python.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    run = ["run", "--data", phantom_folder, *QUICK, "--folds", "2", "--epochs", "1", "--log-dir", tmp_path / "logs"]
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *map(str, run)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = ("Reading slices: ", "Read 24 slices ", "Comparing slices: ", "Split case: 12 known cases ", "Epoch 1/1 ",
            "Fold ")  # fmt: skip
    assert [line for line in done.stderr.splitlines() if not line.startswith(ours)] == []
    assert len(list((tmp_path / "logs").rglob("events.out.tfevents.*"))) == 2
