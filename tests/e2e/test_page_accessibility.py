"""axe-core finds nothing on the page: every state, dark and light, on a phone, a tablet and a wide screen."""

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.inputs.slices import jpeg_slice
from tests.support.page.actions import choose, file, tile, view
from tests.support.page.browser import NEEDS_CHROMIUM, VisitOf
from tests.support.page.stand_ins import (
    UNFAMILIAR,
    answer_of,
    answers,
    explains,
    informs,
    needs_key,
    refuses_as_no_chest,
)
from tests.support.serving import RunningService

pytestmark = NEEDS_CHROMIUM


def check(page: Page, state: str) -> None:
    """Look at the page as it is, at three widths and in both themes."""
    page.emulate_media(reduced_motion="reduce")
    for width in (390, 820, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            violations = Axe().run(page).response["violations"]
            found = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in violations]
            assert not found, (state, width, scheme, found)


def test_axe_finds_nothing_in_a_visit(shown: RunningService, visit: VisitOf) -> None:
    """Empty, answered with attention, table, the model's view and its card."""
    page = visit(shown.url).page
    explains(page)
    page.goto(shown.url)
    expect(page.locator("#phantom-list button")).to_have_count(6)
    check(page, "empty")
    choose(page, file("a.jpg", jpeg_slice(1)), file("b.jpg", jpeg_slice(2)))
    expect(tile(page, "b.jpg")).to_have_attribute("data-state", "answered")
    expect(page.locator("#attention-note")).to_contain_text("Where the model looked")
    check(page, "answered")
    view(page, "Table")
    expect(page.locator("#table-body tr")).to_have_count(2)
    check(page, "table")
    view(page, "Model")
    expect(page.locator(".model-head")).to_be_visible()
    check(page, "model")
    page.get_by_role("button", name="Read the model card").click()
    expect(page.get_by_role("dialog").get_by_role("heading", name="Warnings")).to_be_visible()
    check(page, "card")


def test_axe_finds_nothing_where_a_slice_is_unfamiliar(shown: RunningService, visit: VisitOf) -> None:
    """The notice beside one that was called, the table of both, and what the model says of familiarity."""
    page = visit(shown.url).page
    explains(page)
    info = httpx.get(f"{shown.url}/model-info").json()
    info["manifest"]["familiarity"] = {"limit": 0.01, "figures": {"unfamiliar_held_out": 0.013}}
    informs(page, info)
    answers(
        page,
        answer_of([0.1, 0.2, 0.7], "uncertain", familiarity=UNFAMILIAR),
        answer_of([0.6, 0.1, 0.3], "positive", reason="It is called all the same."),
    )
    page.goto(shown.url)
    choose(page, file("a.jpg", jpeg_slice(1)))
    expect(page.locator(".notice li")).to_have_count(2)
    choose(page, file("b.jpg", jpeg_slice(2)))
    expect(tile(page, "b.jpg")).to_have_attribute("data-state", "answered")
    expect(page.locator("#attention-note")).to_contain_text("Where the model looked")
    check(page, "unfamiliar")
    tile(page, "b.jpg").click()
    check(page, "called")
    view(page, "Table")
    expect(page.locator("#table-body tr")).to_have_count(2)
    check(page, "table")
    view(page, "Model")
    expect(page.get_by_text("Unfamiliar held out")).to_be_visible()
    check(page, "model")


def test_axe_finds_nothing_where_something_is_wrong(shown: RunningService, visit: VisitOf) -> None:
    """A refused image, an overloaded service, a service that is gone, and one that wants a key."""
    visited = visit(shown.url)
    visited.expected_statuses = {401, 422, 503}
    page = visited.page
    refuses_as_no_chest(page)
    page.goto(shown.url)
    choose(page, file("cat.jpg", jpeg_slice(1)))
    expect(page.locator("#result-body")).to_contain_text("Not a chest CT slice")
    check(page, "refused")
    page.unroute("**/predict*")
    page.route("**/predict*", lambda route: route.fulfill(status=503, headers={"Retry-After": "600"}, body="{}"))
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("#countdown")).to_contain_text("Again in")
    check(page, "overloaded")
    page.goto("about:blank")
    needs_key(page, "key")
    page.goto(shown.url)
    expect(page.get_by_label("API key")).to_be_visible()
    check(page, "key")
    visited.is_offline = True
    page.route("**/model-info", lambda route: route.abort())
    page.reload()
    expect(page.locator("#banner")).to_contain_text("cannot be reached")
    check(page, "offline")
