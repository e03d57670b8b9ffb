"""The pages as a person sees them: a real service, a real Chromium, and no way out to the internet."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import httpx
import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

from shared.classes import LUNG_CT_CLASSES
from tests.serving import serving
from trainer.phantom import draw_phantom

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(_CHROMIUM is None, reason="browser: neither chromium nor google-chrome is on PATH"),
]

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass
class Visit:
    """One browser page, and what went wrong on it."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Let no request leave for another host, and note that, script errors and console errors."""
        self.page.route("**/*", self._allow_own_host)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on(
            "console",
            lambda message: self.complaints.append(f"console: {message.text}") if message.type == "error" else None,
        )

    def _allow_own_host(self, route: Route) -> None:
        if route.request.url.startswith(self.url + "/"):
            route.continue_()
        else:
            self.complaints.append(f"asked another host: {route.request.url}")
            route.abort()


@pytest.fixture(scope="module")
def service_url(tiny_network_repository: Path) -> Iterator[str]:
    """A service process that is ready to answer."""
    with serving(tiny_network_repository) as service:
        yield service.url


@pytest.fixture
def visit(service_url: str) -> Iterator[Visit]:
    """A fresh page; what it complained of fails the test at the end."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=list(_FLAGS))
        visit = Visit(browser.new_page(), service_url)
        visit.watch()
        yield visit
        browser.close()
    assert not visit.complaints


@pytest.fixture
def slice_file(tmp_path: Path) -> Path:
    """A drawn slice on disk, as a person would pick it."""
    path = tmp_path / "slice.png"
    cv2.imwrite(str(path), draw_phantom(2, case_seed=5, slice_index=4))
    return path


def test_swagger_ui_lists_every_operation(visit: Visit) -> None:
    """/docs renders with no internet and shows each operation of the OpenAPI document."""
    document = httpx.get(f"{visit.url}/openapi.json").json()
    operations = [path for path, methods in document["paths"].items() for _ in methods]
    visit.page.goto(f"{visit.url}/docs")
    expect(visit.page.locator(".opblock")).to_have_count(len(operations))
    shown = visit.page.locator(".opblock-summary-path").evaluate_all("all => all.map(one => one.dataset.path)")
    assert sorted(shown) == sorted(operations)


def test_swagger_ui_sends_a_slice(visit: Visit, slice_file: Path) -> None:
    """ "Try it out" on POST /predict takes a file and shows the service's 200."""
    visit.page.goto(f"{visit.url}/docs")
    predict = visit.page.locator(".opblock-post").filter(has=visit.page.locator('[data-path="/predict"]'))
    predict.locator(".opblock-summary-control").click()
    predict.locator(".try-out__btn").click()
    predict.locator("input[type=file]").set_input_files(slice_file)
    predict.locator("button.execute").click()
    expect(predict.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    expect(predict.locator(".live-responses-table")).to_contain_text('"all_predictions"')


def test_the_page_answers_an_uploaded_slice(visit: Visit, slice_file: Path) -> None:
    """The page at / takes a slice and shows the class that the service predicts for it."""
    predicted = httpx.post(f"{visit.url}/predict", files={"file": slice_file.read_bytes()}).json()["prediction"]
    assert predicted in LUNG_CT_CLASSES.names
    visit.page.goto(f"{visit.url}/")
    visit.page.locator("input[type=file]").set_input_files(slice_file)
    visit.page.get_by_role("button", name="Classify").click()
    expect(visit.page.locator("#answer")).to_contain_text(predicted)
