"""What is refused before anything heavy begins, and how it is said."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.signing_keys import make_key_pair

ROOT = Path(__file__).parents[3]

# verb and arguments, exit status, what is said; {name} is a path of the fixture
REFUSED: list[tuple[list[str], int, str]] = [
    (["run", "--data", "{nowhere}"], 1, "is no folder"),
    (["run", "--data", "{file}"], 1, "is no folder"),
    (["run", "--data", "{empty}"], 1, "which holds no folder at all"),
    (["run", "--classes", "A,B", "--target", "A"], 1, "Other classes than the lung set need data"),
    (["run", "--cases", "{empty}"], 2, "cases (LUNGCT_CASES): {empty} cannot be used: it is a folder; expected a CSV"),
    (["run", "--cases", "{binary}"], 2, "byte 0 is not UTF-8; expected a CSV file in UTF-8"),
    (["run", "--cases", "{nowhere}"], 2, "No such file or directory; expected a CSV file"),
    (["run", "--cases", "/dev/zero"], 2, "it is no regular file; expected a CSV file"),
    (["audit", "--data", "{data}", "--cases", "{empty}"], 2, "it is a folder"),
    (["audit", "--data", "{data}", "--out", "{file}"], 2, "out: {file} is no folder"),
    (["audit", "--data", "{nowhere}"], 1, "is no folder"),
    (["crossval", "--data", "{nowhere}"], 1, "is no folder"),
    (["crossval", "--data", "{data}", "--cases", "{binary}"], 2, "is not UTF-8"),
    (["crossval", "--data", "{data}", "--network", "keras:ResNet51"], 2, "no network keras:ResNet51; expected one of"),
    (["crossval", "--data", "{data}", "--weights", "{empty}"], 2, "is no file; expected imagenet, none, or a weights"),
    (["crossval", "--data", "{data}", "--log-dir", "{nowhere}"], 2, "log_dir (LUNGCT_LOG_DIR): heads on frozen"),
    (["run", "--log-dir", "{file}"], 2, "log_dir (LUNGCT_LOG_DIR): {file} is no folder"),
    (["run", "--model-repository", "{file}"], 2, "model_repository (LUNGCT_MODEL_REPOSITORY): {file} is no folder"),
    (["run", "--signing-key", "{empty}"], 2, "signing_key (LUNGCT_SIGNING_KEY): {empty} is a folder; expected a PEM"),
    (["run", "--signing-key", "{binary}"], 2, "expected a PEM file of an elliptic curve's private key"),
    (["run", "--signing-key", "{public}"], 2, "expected a PEM file of an elliptic curve's private key"),
    (["sign", "1", "--signing-key", "{empty}"], 2, "is a folder; expected a PEM"),
    (["sign", "1", "--signing-key", "{nowhere}"], 2, "No such file or directory; expected a PEM"),
    (["evaluate", "--data", "{data}"], 1, "holds no valid version"),
    (["synthesize", "--out", "{file}"], 2, "out: {file} is no folder"),
    (["run", "--classes", "A,B", "--target", "C"], 2, "trainer: error: target class 'C' is not one of"),
    (["run", "--variants", "int8"], 2, "variants (LUNGCT_VARIANTS): int8 is made of heads on frozen features"),
    (["run", "--data", "{data}", "--variants", "int8", "--split", "image"], 2, "expected it with a pretrained network"),
    (["run", "--network", "resnet"], 2, "network (LUNGCT_NETWORK): expected one of cnn"),
]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One of each kind of thing that may be named by mistake."""
    there = tmp_path_factory.mktemp("paths")
    named = {name: there / name for name in ("nowhere", "file", "empty", "binary", "data")}
    named["file"].write_text("text")
    named["empty"].mkdir()
    named["binary"].write_bytes(b"\xff\xfe\x00")
    for name in ("normal", "benign", "malignant"):
        (named["data"] / name).mkdir(parents=True)
    named["public"] = make_key_pair(there / "keys").public
    return {name: str(path) for name, path in named.items()}


def test_what_cannot_be_meant_is_refused_before_anything_heavy(paths: dict[str, str], tmp_path: Path) -> None:
    """One line says what came and what was expected, the exit status is 2 for usage; TensorFlow is never imported."""
    cases = [([part.format(**paths) for part in arguments], status, said) for arguments, status, said in REFUSED]
    program = f"""
import contextlib, io, sys
from trainer.__main__ import main
for arguments, _, _ in {cases!r}:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = main(arguments)
    print([status, said.getvalue(), "tensorflow" in sys.modules or "keras" in sys.modules])
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LUNGCT_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**environment, "LUNGCT_MODEL_REPOSITORY": str(tmp_path / "models")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [ast.literal_eval(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(cases), done.stderr
    for (arguments, expected, complaint), (status, said, is_heavy) in zip(cases, lines, strict=True):
        assert (status, said.count("\n"), is_heavy) == (expected, 1, False), (arguments, said)
        assert complaint.format(**paths) in said
        assert "Value error" not in said
        assert "Errno" not in said
    assert not (tmp_path / "models").exists()


def test_the_reader_of_the_output_may_leave(tmp_path: Path) -> None:
    """Where nobody reads standard output any more, nothing is said about it."""
    with subprocess.Popen(
        [sys.executable, "-m", "trainer", "versions", "--model-repository", str(tmp_path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
