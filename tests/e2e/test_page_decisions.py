"""The page says one thing about a slice: what is decided comes first, and what does not hold for it is not claimed."""

import csv
import io
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.inputs.slices import jpeg_slice, png_slice
from tests.support.page.actions import choose, file, fits, tile, view
from tests.support.page.browser import NEEDS_CHROMIUM, VisitOf
from tests.support.page.stand_ins import (
    FAMILIAR,
    UNFAMILIAR,
    answer_of,
    answers,
    explains,
    informs,
    refuses,
    refuses_as_no_chest,
    renders,
)
from tests.support.serving import RunningService

pytestmark = NEEDS_CHROMIUM

REASON = "Normal cases is the most probable class, and Malignant cases is called all the same."
EVERY_KIND = {
    "negative.jpg": answer_of([0.9, 0.05, 0.05], "negative"),
    "unfamiliar.jpg": answer_of([0.1, 0.1, 0.8], "uncertain", familiarity=UNFAMILIAR),
    "surest.jpg": answer_of([0.02, 0.08, 0.9], "positive", familiarity=FAMILIAR),
    "uncertain.jpg": answer_of([0.6, 0.1, 0.3], "uncertain"),
    "sensitive.jpg": answer_of([0.55, 0.05, 0.4], "positive", reason=REASON),
}


def show(page: Page, url: str, given: dict[str, dict[str, Any]]) -> Locator:
    """Give the page a slice for each of these answers; where their results are shown."""
    explains(page)
    answers(page, *given.values())
    page.goto(url)
    for name in given:  # one after the other, so that each gets its own answer
        choose(page, file(name, jpeg_slice(1)))
        expect(tile(page, name)).to_have_attribute("data-state", "answered")
    return page.locator("#result-body")


@pytest.mark.parametrize("width", [390, 1440])
def test_the_decision_comes_first_everywhere(shown: RunningService, visit: VisitOf, width: int) -> None:
    """Tiles, result and table say the decision in words and the most probable class after it; the table sorts by it."""
    page = visit(shown.url, width).page
    result = show(page, shown.url, EVERY_KIND)
    expected = {
        "surest.jpg": ("Called malignant", "Most probable: Malignant, 90%"),
        "sensitive.jpg": ("Called malignant", "Most probable: Normal, 55%"),
        "unfamiliar.jpg": ("Uncertain: unlike the training slices", "Most probable: Malignant, 80%"),
        "uncertain.jpg": ("Uncertain", "Most probable: Normal, 60%"),
        "negative.jpg": ("Not called malignant", "Most probable: Normal, 90%"),
    }
    for name, (decision, top) in expected.items():
        expect(tile(page, name).locator(".tile-state")).to_have_text(decision)
        expect(tile(page, name).locator(".tile-top")).to_have_text(top)
        tile(page, name).click()
        expect(result.locator(".answer-class")).to_have_text(decision)
        expect(result.locator(".answer-share")).to_have_text(top)
    assert fits(page)
    view(page, "Table")
    names, decisions = page.locator("#table-body th"), page.locator('#table-body [data-column="verdict"]')
    expect(names).to_have_text(list(expected))
    expect(decisions).to_have_text([decision for decision, _ in expected.values()])
    assert fits(page)
    page.get_by_role("button", name="Decision").click()
    expect(names).to_have_text(list(reversed(expected)))
    page.get_by_label("Show").select_option("Uncertain: unlike the training slices")
    expect(names).to_have_text(["unfamiliar.jpg"])
    page.get_by_label("Show").select_option("Malignant")
    expect(names).to_have_text(["unfamiliar.jpg", "surest.jpg"])


def test_what_seems_to_contradict_itself_is_explained(shown: RunningService, visit: VisitOf) -> None:
    """The service's reason stands under the verdict, with the probability that reached the operating point."""
    result = show(visit(shown.url).page, shown.url, {"sensitive.jpg": EVERY_KIND["sensitive.jpg"]})
    expect(result).to_contain_text(REASON)
    expect(result).to_contain_text("The probability of malignant is 40%, at or above the operating point")


@pytest.mark.parametrize(
    ("verdict", "expected"), [("positive", "Called covid-19"), ("negative", "Not called covid-19")]
)
def test_a_target_of_any_name_is_called_by_it(
    shown: RunningService, visit: VisitOf, verdict: str, expected: str
) -> None:
    """The words for a decision are made of the target's name, which no list of names has to know."""
    names = ("Healthy", "COVID-19")
    answer = answer_of([0.5, 0.5], verdict, names=names, target="COVID-19")
    result = show(visit(shown.url).page, shown.url, {"a.jpg": answer})
    expect(result.locator(".answer-class")).to_have_text(expected)


def test_without_decision_rules_the_most_probable_class_is_shown(shown: RunningService, visit: VisitOf) -> None:
    """No verdict is made up: tile, result and table say the class, and the result says that nothing is decided."""
    page = visit(shown.url).page
    result = show(page, shown.url, {"a.jpg": answer_of([0.1, 0.7, 0.2], None)})
    expect(tile(page, "a.jpg")).to_contain_text("Benign, 70%")
    expect(result.locator(".answer")).to_have_text("Benign70% probability")
    expect(result).to_contain_text("there is no decision, only probabilities")
    view(page, "Table")
    expect(page.locator('#table-body [data-column="verdict"]')).to_have_text("Benign")


def test_a_familiar_slice_is_said_to_be_one_quietly(shown: RunningService, visit: VisitOf) -> None:
    """One line says how familiar it is; a version that does not know says nothing."""
    page = visit(shown.url).page
    result = show(page, shown.url, {name: EVERY_KIND[name] for name in ("surest.jpg", "negative.jpg")})
    expect(result).to_contain_text("At least as familiar as 61% of the training slices.")
    expect(result.locator(".notice")).to_have_count(0)
    tile(page, "negative.jpg").click()
    expect(result).not_to_contain_text("training slices")


@pytest.mark.parametrize("verdict", ["uncertain", "positive"])
def test_an_unfamiliar_slice_is_no_ordinary_answer(shown: RunningService, visit: VisitOf, verdict: str) -> None:
    """All reasons are told, and nothing that the model promises is claimed, whether or not the verdict was kept."""
    page = visit(shown.url, 390).page
    result = show(page, shown.url, {"a.jpg": answer_of([0.1, 0.1, 0.8], verdict, familiarity=UNFAMILIAR)})
    decision = {"uncertain": "Uncertain", "positive": "Called malignant"}[verdict]
    expect(result.locator(".answer-class")).to_have_text(f"{decision}: unlike the training slices")
    notice = result.locator(".notice")
    expect(notice).to_contain_text("does not hold for this slice")
    expect(notice.locator("li")).to_have_text(UNFAMILIAR["reasons"])
    expect(notice).to_contain_text("as familiar as 0.2% of the training slices; below 1%")
    expect(result).not_to_contain_text("lies between what is ruled out")
    expect(result).not_to_contain_text("A set of classes that holds the right one")
    expect(result).to_contain_text("Normal, Benign, and Malignant.")
    assert fits(page)


def test_what_is_refused_as_unfamiliar_looks_like_a_refusal(shown: RunningService, visit: VisitOf) -> None:
    """422 unfamiliar-slice, where the operator chose that: title and reasons, and the slice can be seen."""
    visited = visit(shown.url, 390)
    visited.expected_statuses = {422}
    page = visited.page
    refuses(page, "unfamiliar-slice", "Unlike the training slices", UNFAMILIAR["reasons"])
    page.goto(shown.url)
    choose(page, file("a.jpg", jpeg_slice(1)))
    result = page.locator("#result-body")
    expect(result).to_contain_text("Not classified")
    expect(result).to_contain_text("Unlike the training slices")
    expect(result.locator(".warnings li")).to_have_text(UNFAMILIAR["reasons"])
    expect(tile(page, "a.jpg")).to_contain_text("Refused: Unlike the training slices")
    _is_seen(page)


def _is_seen(page: Page) -> None:
    """The button leads to the slice, which is drawn."""
    page.get_by_role("button", name="Look at it all the same").click()
    canvas = page.locator("#canvas-slice")
    expect(canvas).to_be_focused()
    expect(canvas).to_be_in_viewport()
    expect(page.locator("#stage-note")).to_be_hidden()
    page.wait_for_function(
        "() => { const canvas = document.getElementById('canvas-slice');"
        " const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        " return data.some((value, at) => at % 4 === 0 && value > 100); }"
    )


@pytest.mark.parametrize("width", [390, 1440])
def test_what_the_service_refuses_as_no_chest_slice_can_be_seen(
    shown: RunningService, visit: VisitOf, width: int
) -> None:
    """The service itself refuses these and draws them: a picture in 8 bits, and one in 16, which only it can draw."""
    visited = visit(shown.url, width)
    visited.expected_statuses = {422}
    page = visited.page
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    deep = np.random.default_rng(1).integers(0, 65536, (300, 400), np.uint16)
    page.goto(shown.url)
    for name, picture in (("photo.png", noise), ("deep.png", deep)):
        content = cv2.imencode(".png", picture)[1].tobytes()
        choose(page, file(name, content, "image/png"))
        expect(tile(page, name)).to_have_attribute("data-state", "refused")
        tile(page, name).click()
        _is_seen(page)
    expect(page.locator("#window-controls")).to_be_visible()


def test_a_refused_dicom_file_can_be_seen(shown: RunningService, visit: VisitOf) -> None:
    """/render draws it as any other, with window and frame to choose."""
    visited = visit(shown.url)
    visited.expected_statuses = {422}
    page = visited.page
    refuses_as_no_chest(page)
    queries = renders(page, png_slice(1))
    page.goto(shown.url)
    choose(page, file("head.dcm", bytes(128) + b"DICM" + bytes(100), "application/dicom"))
    expect(tile(page, "head.dcm")).to_have_attribute("data-state", "refused")
    _is_seen(page)
    expect(page.locator("#window-controls")).to_be_visible()
    assert queries


def test_the_export_says_what_was_decided_and_why(shown: RunningService, visit: VisitOf, tmp_path: Path) -> None:
    """The columns that are new come last; what a version does not know is empty."""
    page = visit(shown.url).page
    show(page, shown.url, EVERY_KIND)
    view(page, "Table")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    download.value.save_as(tmp_path / "results.csv")
    table = list(csv.reader(io.StringIO((tmp_path / "results.csv").read_text("utf-8-sig"))))
    new = ["decision_reason", "familiarity_score", "is_familiar", "familiarity_reasons"]
    assert table[0][-5:] == ["problem", *new]
    rows = {row[0]: row[-4:] for row in table[1:]}
    assert rows == {
        "negative.jpg": ["", "", "", ""],
        "unfamiliar.jpg": ["", "0.002", "false", " ".join(UNFAMILIAR["reasons"])],
        "surest.jpg": ["", "0.61", "true", ""],
        "uncertain.jpg": ["", "", "", ""],
        "sensitive.jpg": [REASON, "", "", ""],
    }


def test_the_model_says_what_its_sets_and_its_familiarity_are_worth(shown: RunningService, visit: VisitOf) -> None:
    """Measured coverage and mean size of the sets; the limit, and each figure that is a number, whatever its name."""
    page = visit(shown.url, 390).page
    info = httpx.get(f"{shown.url}/model-info").json()
    figures = {"unfamiliar_held_out": 0.0132, "training_slices": 1234, "note": "no number", "nothing": None}
    info["manifest"]["familiarity"] = {"limit": 0.01, "figures": figures}
    informs(page, info)
    page.goto(f"{shown.url}/#model")
    body = page.locator("#model-body")
    expect(body).to_contain_text("On held-out slices a set has 1.50 classes on average.")
    expect(body).to_contain_text("Normal 90%, Benign 90%, and Malignant 90%")
    panel = body.locator(".panel").filter(has_text="Does it know what it sees?")
    expect(panel).to_contain_text("Below 1% a slice is unfamiliar")
    expect(panel.locator("tbody tr")).to_have_text(["Unfamiliar held out0.013", "Training slices1,234"])
    assert fits(page)


def test_a_model_without_familiarity_says_nothing_of_it(shown: RunningService, visit: VisitOf) -> None:
    """What is not in the manifest has no place on the page; what is there without figures has no table."""
    page = visit(shown.url).page
    info = httpx.get(f"{shown.url}/model-info").json()
    assert not info["manifest"].get("familiarity")
    page.goto(f"{shown.url}/#model")
    expect(page.locator(".model-head")).to_be_visible()
    expect(page.locator("#model-body")).not_to_contain_text("Does it know what it sees?")
    info["manifest"]["familiarity"] = {}
    informs(page, info)
    page.reload()
    panel = page.locator("#model-body .panel").filter(has_text="Does it know what it sees?")
    expect(panel).to_contain_text("compared with those")
    expect(panel.locator("table")).to_have_count(0)
