"""The audit: what it finds, and the files it leaves."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.familiarity import Acquisition
from trainer.__main__ import main
from trainer.audit.audit import Audit, Audited, audit_folder, summary
from trainer.audit.page import page, write_audit
from trainer.data.image_measures import MEASURES, measure
from trainer.phantoms.phantom import write_phantoms
from trainer.settings import TrainerSettings

UNKNOWN = Acquisition(120.0, 40.0, math.nan, math.nan, math.nan, math.nan)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms with every trouble that an audit looks for, one of each."""
    folder = tmp_path_factory.mktemp("troubled")
    write_phantoms(folder, cases_per_class=3, slices_per_case=3, seed=5)
    (folder / "cases.csv").unlink()
    normal, benign, malignant = (folder / f"{name} cases" for name in ("Normal", "Benign", "Malignant"))
    (normal / "empty.png").touch()
    (normal / "<b>copy.png").write_bytes(sorted(normal.glob("case*"))[0].read_bytes())
    (benign / "conflict.png").write_bytes(sorted(malignant.glob("case*"))[0].read_bytes())
    alike = np.asarray(cv2.imread(str(sorted(normal.glob("case*"))[-1]), cv2.IMREAD_GRAYSCALE))
    cv2.imwrite(str(malignant / "alike.png"), alike // 2 + 60)
    (folder / "notes").mkdir()
    return folder


@pytest.fixture(scope="module")
def audited(troubled: Path) -> Audited:
    return audit_folder(troubled, TrainerSettings(data=troubled))


def test_every_trouble_is_found(audited: Audited) -> None:
    """Unreadable, copied, in conflict, alike across classes: each is named; folders that are no class, too."""
    audit = audited.audit
    assert audit.counts == {"Normal cases": 10, "Benign cases": 10, "Malignant cases": 10}
    assert audit.ignored_folders == ("notes",)
    assert [(one.file, one.reason) for one in audit.unreadable] == [("Normal cases/empty.png", "The file is empty.")]
    assert len(audit.copies) == 2
    ((one, other),) = audit.conflicts
    assert one == "Benign cases/conflict.png"
    assert other.startswith("Malignant cases/case-007")
    pairs = {pair.files for pair in audit.alike_across_classes}
    assert any(files[1] == "Malignant cases/alike.png" and files[0].startswith("Normal") for files in pairs)
    assert audit.n_alike_across_classes == len(audit.alike_across_classes) >= 2
    text = summary(audit)
    assert "LABEL CONFLICT Benign cases/conflict.png = Malignant cases/case-007" in text
    assert "empty.png: The file is empty." in text


def test_every_slice_is_in_one_case(audited: Audited) -> None:
    """The groups partition the slices, and each is of one class."""
    files = [file for group in audited.audit.cases for file in group.files]
    assert sorted(files) == sorted(audited.slices.files)
    for group in audited.audit.cases:
        assert {file.split("/")[0] for file in group.files} == {group.class_name}
    assert audited.audit.case_origin == "inferred"


def test_the_page_needs_nothing_but_itself(audited: Audited) -> None:
    """No address of any kind is in it, pictures are inline, a hostile file name stays text, each case has a sheet."""
    html = page(audited)
    assert "http" not in html
    assert set(re.findall(r'src="(.{22})', html)) == {"data:image/png;base64,"}
    assert "<b>copy" not in html
    assert "&lt;b&gt;copy.png" in html
    assert html.count("<h3>") == len(audited.audit.cases)


def test_the_json_is_the_audit(audited: Audited, tmp_path: Path) -> None:
    """audit.json gives the same findings back; the page lies beside it; a missing folder is made."""
    path = write_audit(audited, tmp_path / "a" / "b")
    assert path.name == "audit.html"
    assert Audit.model_validate_json((path.parent / "audit.json").read_text("utf-8")) == audited.audit


@pytest.mark.slow
def test_a_shortcut_is_caught(tmp_path: Path) -> None:
    """Where one class alone has wider images, their size tells the class of new cases; the noise does not."""
    random = np.random.default_rng(0)
    for label, name in enumerate(("normal", "benign", "malignant")):
        (tmp_path / name).mkdir()
        for case in range(12):
            frame = random.integers(0, 256, (64, 64), np.uint8)
            for number in range(2):
                picture = cv2.resize(frame, (200, 160), interpolation=cv2.INTER_NEAREST)
                picture = picture[:, : 200 if label == 2 else 160]
                cv2.imwrite(str(tmp_path / name / f"{2 * case + number}.png"), picture + np.uint8(number))
    shortcuts = {one.clue: one for one in audit_folder(tmp_path, TrainerSettings(data=tmp_path)).audit.shortcuts}
    size = shortcuts["size of the image"]
    assert size.recall["Malignant cases"] == 1
    assert size.is_telling
    assert not shortcuts["noise"].is_telling


def test_measures_are_what_they_are_called() -> None:
    """A bright body on black, noise of 8 grey values: box, mean and noise come out as drawn."""
    picture = np.zeros((200, 300), np.float64)
    picture[40:180, 60:260] = 150
    picture += np.random.default_rng(0).normal(0, 8, picture.shape) * (picture > 0)
    values = dict(zip(MEASURES, measure(np.clip(picture, 0, 255).astype(np.uint8), UNKNOWN), strict=True))
    assert (values["image width"], values["image height"]) == (300, 200)
    for name, expected in (("body left", 60), ("body top", 40), ("body width", 200), ("body height", 140)):
        assert values[name] == pytest.approx(expected, abs=4)
    assert values["mean grey"] == pytest.approx(150 * 200 * 140 / 60_000, rel=0.02)
    assert values["darkest grey"] == 0
    assert values["soft tissue noise"] == 0
    flat = np.clip(128 + np.random.default_rng(1).normal(0, 8, (200, 200)), 0, 255).astype(np.uint8)
    values = dict(zip(MEASURES, measure(flat, replace(UNKNOWN, grain=23.0)), strict=True))
    assert values["noise"] == pytest.approx(8, rel=0.05)
    assert values["soft tissue noise"] == 23


@pytest.mark.slow
def test_the_verb(phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Summary or JSON on standard output, progress on standard error, two files in the folder; the slices stay."""
    before = sorted(path.name for path in phantom_folder.rglob("*"))
    assert main(["audit", "--data", str(phantom_folder), "--out", str(tmp_path)]) == 0
    output, errors = capsys.readouterr()
    assert output.startswith("24 slices of 12 cases (known)")
    assert "Reading slices" in errors
    assert main(["audit", "--data", str(phantom_folder), "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 24
    assert {path.name for path in tmp_path.iterdir()} == {"audit.json", "audit.html"}
    assert sorted(path.name for path in phantom_folder.rglob("*")) == before


def test_an_audit_that_cannot_be_made_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder is wrong usage; an unreadable table is one line on standard error."""
    monkeypatch.delenv("LUNGCT_DATA", raising=False)
    assert main(["audit"]) == 2
    write_phantoms(tmp_path / "data", cases_per_class=1, slices_per_case=1, seed=0)
    (tmp_path / "data" / "cases.csv").write_text("file;case\n")
    capsys.readouterr()
    assert main(["audit", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 1
    assert "cases.csv cannot be used: the column 'file' is missing" in capsys.readouterr().err
