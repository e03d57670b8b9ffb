"""python -m trainer: verbs, exit statuses, and what is said where."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.versions import read_policy
from trainer.__main__ import main
from trainer.command_line import build_parser
from trainer.data.dataset import PHANTOM_MARKER
from trainer.settings import TrainerSettings

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def repository(tiny_network_repository: Path, tmp_path: Path) -> Path:
    """A repository with version 1, which the environment names."""
    shutil.copytree(tiny_network_repository, tmp_path / "models")
    return tmp_path / "models"


def python_m_trainer(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a person types it, in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "trainer", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "verb", ["run", "crossval", "audit", "evaluate", "versions", "pin", "unpin", "prune", "synthesize"]
)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help exits 0 and shows the verb's options."""
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"python -m trainer {verb}" in capsys.readouterr().out


def test_help_shows_examples_and_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    """The first page has what a newcomer can copy."""
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert "python -m trainer run --data slices" in text
    assert "exit status" in text


@pytest.mark.usefixtures("repository")
def test_verbs_without_a_model_need_no_tensorflow() -> None:
    """--help, versions, pin and prune answer without the seconds that TensorFlow takes to import."""
    program = (
        "import sys; from trainer.__main__ import main; "
        "main(['versions']); main(['pin', '1']); main(['unpin']); main(['prune', '--keep', '1']); "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "required: VERB"),
        (("fly",), "invalid choice"),
        (("run", "--balance", "huge"), "invalid choice: 'huge'"),
        (("run", "--dat", "x"), "unrecognized arguments"),
        (("run", "--loss", "focal"), "--loss was removed in 0.2.0: fine-tuning always makes cross-entropy small"),
        (("crossval", "--label-smoothing=0.1"), "--label-smoothing was removed in 0.2.0"),
        (("pin",), "required: version"),
        (("prune", "--keep", "0"), "at least 1"),
        (("synthesize",), "required: --out"),
        (("evaluate", "--compare", "2"), "expected two versions, as in 2,3, got '2'"),
        (("evaluate", "--compare", "2,2"), "expected two versions, as in 2,3, got '2,2'"),
        (("evaluate", "--compare", "2,x"), "expected a whole number, got 'x'"),
        (("evaluate", "--compare", "1,2", "--version", "1"), "not allowed with argument --compare"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """argparse says what is wrong."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("run", "--batch-size", "0"), "batch_size (LUNGCT_BATCH_SIZE): Input should be greater than or equal to 1"),
        (("run", "--epochs", "many"), "epochs (LUNGCT_EPOCHS): Input should be a valid integer"),
        (("run", "--classes", "A,B"), "classes and target go together"),
        (("run", "--classes", "A,B", "--target", "C"), "target class 'C' is not one of ['A', 'B']"),
        (("run", "--model-name", "../elsewhere"), "model_name (LUNGCT_MODEL_NAME)"),
        (("evaluate",), "--data DIR or LUNGCT_DATA"),
        (("audit",), "--data DIR or LUNGCT_DATA"),
        (("crossval",), "--data DIR or LUNGCT_DATA"),
        (("run", "--folds", "1"), "folds (LUNGCT_FOLDS): Input should be greater than or equal to 2"),
        (("audit", "--data", "x", "--case-counts", "5,6"), "case_counts needs a number for each of 3 classes"),
        (("audit", "--data", "x", "--case-counts", "5,0,6"), "case_counts (LUNGCT_CASE_COUNTS)"),
    ],
)
def test_impossible_settings_exit_2(
    arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting is named as it is called on the command line and in the environment, and nothing is trained."""
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("run", "--data", "/nowhere/at/all"), "/nowhere/at/all is no folder"),
        (("run", "--classes", "A,B", "--target", "A"), "need data"),
        (("evaluate", "--data", "/nowhere"), "holds no valid version"),
        (("pin", "3"), "Version 3 is not in the repository, which holds no version"),
    ],
)
def test_work_that_cannot_be_done_exits_1_with_one_line(
    arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence on standard error, no traceback."""
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that is given is in the result, one that is not is absent, so that the environment decides."""
    monkeypatch.setenv("LUNGCT_SEED", "5")
    monkeypatch.setenv("LUNGCT_EPOCHS", "7")
    given = vars(build_parser().parse_args(["run", "--seed", "9"]))
    settings = TrainerSettings(**{name: value for name, value in given.items() if name in TrainerSettings.model_fields})
    assert (settings.seed, settings.epochs) == (9, 7)


def test_cases_are_held_apart_unless_asked_otherwise() -> None:
    """By default whole cases are held out and a head is fitted on frozen features; a network of its own brings what
    suits it.
    """
    settings = TrainerSettings()
    assert (settings.split, settings.network, settings.is_frozen) == ("case", "chest_resnet", True)
    assert (settings.balance_of_network, settings.stops_early) == ("none", False)
    cnn = TrainerSettings(network="cnn")
    assert (cnn.is_frozen, cnn.balance_of_network, cnn.stops_early) == (False, "undersample", True)
    tuned = TrainerSettings(learning="fine-tuning")
    assert (tuned.is_frozen, tuned.balance_of_network, tuned.stops_early) == (False, "batches", True)
    assert TrainerSettings(balance="class-weight").balance_of_network == "class-weight"


def test_versions_pin_unpin_prune(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The verbs reach the repository that the environment names."""
    assert main(["versions", "--json"]) == 0
    (version,) = json.loads(capsys.readouterr().out)
    assert version["version"] == 1
    assert version["pinned"] is False
    assert version["problem"] is None
    assert main(["pin", "1"]) == 0
    assert read_policy(repository / "lung-ct").pin == 1
    assert main(["versions"]) == 0
    assert "pinned, valid" in capsys.readouterr().out
    assert main(["unpin"]) == 0
    assert read_policy(repository / "lung-ct").pin is None
    assert main(["prune", "--keep", "1"]) == 0
    assert "none" in capsys.readouterr().out


def test_run_if_empty_leaves_a_repository_with_a_version_alone(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is trained where something valid can be served."""
    started = time.monotonic()
    assert main(["run", "--if-empty"]) == 0
    assert "already holds version 1" in capsys.readouterr().out
    assert time.monotonic() - started < 5
    assert [path.name for path in (repository / "lung-ct").iterdir()] == ["1"]


def test_synthesize_draws_the_same_slices_for_the_same_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Class folders with the slices asked for, marked as drawn; a folder in use is refused."""
    for name in ("one", "two"):
        arguments = ["--out", tmp_path / name, "--cases", 1, "--slices-per-case", 2, "--seed", 3]
        assert main(["synthesize", *map(str, arguments)]) == 0
    output, errors = capsys.readouterr()
    assert "Drew 6 slices" in output
    assert errors.startswith("Drawing slices: 6 to do")
    one, two = (sorted((tmp_path / name).rglob("*.png")) for name in ("one", "two"))
    assert len(one) == 6
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert (tmp_path / "one" / PHANTOM_MARKER).is_file()
    assert main(["synthesize", "--out", str(tmp_path / "one")]) == 1
    assert "not empty" in capsys.readouterr().err


@pytest.mark.usefixtures("repository")
def test_the_command_in_its_own_process() -> None:
    """`python -m trainer versions` works from a shell: table on standard output, nothing on standard error."""
    done = python_m_trainer("versions")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("version  created")
