"""The model's view: what a version scored stands beside what it could have learnt instead."""

import httpx
from playwright.sync_api import expect

from tests.support.page.actions import fits
from tests.support.page.browser import NEEDS_CHROMIUM, VisitOf
from tests.support.page.stand_ins import informs
from tests.support.serving import RunningService

pytestmark = NEEDS_CHROMIUM


def test_figures_stand_by_slice_and_by_case(shown: RunningService, visit: VisitOf) -> None:
    """Accuracy, recalls and AUC have both levels with their intervals; they fit a phone."""
    page = visit(shown.url, 390).page
    page.goto(f"{shown.url}/#model")
    held_out = httpx.get(f"{shown.url}/model-info").json()["manifest"]["metrics"]["stress"]["as_it_is"]
    accuracy = page.locator(".metrics > div").filter(has_text="Accuracy").first
    for level, before in (("by_slice", ""), ("by_case", f"by case {held_out['accuracy']['by_case']['value']:.3f} (")):
        lower, upper = held_out["accuracy"][level]["interval"]
        expect(accuracy).to_contain_text(f"{before}{lower:.3f} to {upper:.3f}")
    expect(page.locator(".metrics small")).to_have_count(7)
    assert fits(page)


def test_what_it_could_have_learnt_instead_is_shown(shown: RunningService, visit: VisitOf) -> None:
    """Clues above the model's own figure; slices as they are beside their view; refusals; the licence of weights."""
    page = visit(shown.url).page
    page.goto(f"{shown.url}/#model")
    metrics = httpx.get(f"{shown.url}/model-info").json()["manifest"]["metrics"]
    panel = page.locator("#model-body .panel").filter(has_text="What it could have learnt instead")
    clue = panel.locator("table").first.locator("tbody tr")
    expect(clue.first).to_have_text("noise0.620 0.530 to 0.690")
    expect(clue.last).to_contain_text(f"this model{metrics['balanced_accuracy']:.3f}")
    flips = metrics["stress"]["views"]["acquired"]["flips"]["by_slice"]["value"]
    row = panel.locator("table").last.locator("tbody tr").last
    expect(row).to_contain_text(f"Answers that flip-{flips:.3f}")
    body = page.locator("#model-body")
    expect(body.locator(".panel").filter(has_text="What does it refuse?")).to_contain_text(
        "Refused of view “shown”0.011"
    )
    expect(body).to_contain_text("Licence of the pretrained weights: Apache-2.0.")


def test_a_version_that_measured_none_of_it_says_nothing(shown: RunningService, visit: VisitOf) -> None:
    """What older versions lack has no place on the page."""
    page = visit(shown.url).page
    info = httpx.get(f"{shown.url}/model-info").json()
    del info["manifest"]["metrics"]["shortcuts"], info["manifest"]["metrics"]["stress"]
    info["manifest"]["chest_gate"] = None
    informs(page, info)
    page.goto(f"{shown.url}/#model")
    expect(page.locator(".model-head")).to_be_visible()
    expect(page.locator(".metrics small")).to_have_count(0)
    for title in ("What it could have learnt instead", "What does it refuse?"):
        expect(page.locator("#model-body")).not_to_contain_text(title)


def test_a_variant_that_serves_shows_its_own_figures(shown: RunningService, visit: VisitOf) -> None:
    """Its name stands beside the engine, and its figures in place of those of float32."""
    page = visit(shown.url).page
    info = httpx.get(f"{shown.url}/model-info").json()
    published = info["manifest"]
    own = {name: published[name] for name in ("metrics", "thresholds", "chest_gate", "familiarity", "warnings")}
    own["metrics"] = {name: value for name, value in own["metrics"].items() if name != "stress"} | {"accuracy": 0.777}
    informs(page, info | {"variant": "int8", "manifest": published | {"variants": {"int8": own}}})
    page.goto(f"{shown.url}/#model")
    expect(page.locator(".model-head")).to_contain_text("as its variant int8, whose figures these are")
    expect(page.locator(".metrics > div").filter(has_text="Accuracy").first).to_contain_text("0.777")
