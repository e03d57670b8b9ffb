"""Swagger UI as a person sees it: a real service, a real Chromium, and no way out to the internet."""

import httpx
from playwright.sync_api import expect

from tests.support.inputs.slices import jpeg_slice
from tests.support.page.browser import NEEDS_CHROMIUM, VisitOf
from tests.support.serving import RunningService

pytestmark = NEEDS_CHROMIUM


def test_swagger_ui_lists_every_operation(shown: RunningService, visit: VisitOf) -> None:
    """/docs renders with no internet and no inline script, shows each operation, and leads back to the page."""
    document = httpx.get(f"{shown.url}/openapi.json").json()
    operations = [path for path, methods in document["paths"].items() for _ in methods]
    page = visit(shown.url).page
    page.goto(f"{shown.url}/docs")
    expect(page.locator(".opblock")).to_have_count(len(operations))
    listed = page.locator(".opblock-summary-path").evaluate_all("all => all.map(one => one.dataset.path)")
    assert sorted(listed) == sorted(operations)
    page.locator("header a").click()
    expect(page.get_by_role("heading", name="Drop lung CT slices here")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="API").click()
    expect(page.locator(".opblock")).to_have_count(len(operations))


def test_swagger_ui_sends_a_slice(shown: RunningService, visit: VisitOf) -> None:
    """ "Try it out" on POST /predict takes a file and shows the service's 200."""
    page = visit(shown.url).page
    page.goto(f"{shown.url}/docs")
    predict = page.locator(".opblock-post").filter(has=page.locator('[data-path="/predict"]'))
    predict.locator(".opblock-summary-control").click()
    predict.locator(".try-out__btn").click()
    slice_ = {"name": "slice.jpg", "mimeType": "image/jpeg", "buffer": jpeg_slice()}
    predict.locator("input[type=file]").set_input_files(slice_)  # type: ignore[arg-type]
    predict.locator("button.execute").click()
    expect(predict.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    expect(predict.locator(".live-responses-table")).to_contain_text('"all_predictions"')
