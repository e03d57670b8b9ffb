"""The page at / as a person uses it: a real service, a real Chromium, and no way out to the internet."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.inputs.slices import jpeg_slice, png_slice
from tests.support.page.actions import choose, drop_prepared, file, fits, prepare, tile, view
from tests.support.page.browser import NEEDS_CHROMIUM, VisitOf
from tests.support.page.stand_ins import explains, renders
from tests.support.serving import RunningService, serving

pytestmark = NEEDS_CHROMIUM

WIDTHS = (390, 820, 1440)
IN_WORDS = {"positive": "Called malignant", "negative": "Not called malignant", "uncertain": "Uncertain"}


def until(page: Page, holds: Callable[[], bool], what: str) -> None:
    """Return when it holds; the browser goes on meanwhile."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, f"not within 10 s: {what}"
        page.wait_for_timeout(20)


def painted(page: Page) -> None:
    """Return when the browser has painted what it knows."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_visit_from_the_first_slice_to_the_export(
    shown: RunningService, visit: VisitOf, width: int, tmp_path: Path
) -> None:
    """Phantom, own files, refusal, viewer, table, export and the model's view, at every width of a screen."""
    visited = visit(shown.url, width)
    visited.expected_statuses = {415}
    page = visited.page
    explains(page)
    page.goto(shown.url)
    expect(page.locator("#chip")).to_have_text("Model version 1")
    expect(page.get_by_text("not for diagnosis")).to_be_in_viewport()
    page.get_by_role("button", name="A phantom drawn as malignant").first.click()
    expect(page.locator(".answer-class")).to_be_visible()

    own = jpeg_slice(3, side=300)
    expected = httpx.post(f"{shown.url}/predict", content=own).json()
    choose(page, file("own.jpg", own), file("=cmd.png", png_slice(4)), file("notes.txt", b"no image", "text/plain"))
    expect(tile(page, "notes.txt")).to_contain_text("Refused")
    tile(page, "notes.txt").click()
    expect(page.locator("#result-body")).to_contain_text("got text")
    tile(page, "own.jpg").click()
    result = page.locator("#result-body")
    expect(result.locator(".answer-class")).to_have_text(IN_WORDS[expected["decision"]["verdict"]])
    expect(result.locator(".answer-share")).to_contain_text(expected["prediction"].removesuffix(" cases"))
    expect(result.locator(".bar")).to_have_count(3)
    expect(result).to_contain_text("Operating point: 20%")
    for warning in expected["warnings"]:
        expect(result).to_contain_text(warning)
    expect(page.locator("#canvas-attention" if width < 1200 else "#canvas-slice")).to_be_visible()
    assert fits(page)

    view(page, "Table")
    rows = page.locator("#table-body tr")
    expect(rows).to_have_count(4)
    page.get_by_role("button", name="File").click()
    expect(rows.locator("th").first).to_have_text("=cmd.png")
    assert fits(page)
    _export(page, tmp_path, expected)
    page.get_by_label("Show").select_option("unanswered")
    expect(rows).to_have_count(1)

    view(page, "Model")
    _read_about_the_model(page)


def _export(page: Page, folder: Path, expected: dict[str, Any]) -> None:
    """Both files hold every slice; a name that a spreadsheet would run is quoted."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    download.value.save_as(folder / "results.csv")
    text = (folder / "results.csv").read_text("utf-8-sig")
    records = {row["file"]: row for row in csv.DictReader(io.StringIO(text))}
    assert set(records) == {"malignant-005.jpg", "own.jpg", "'=cmd.png", "notes.txt"}
    assert float(records["own.jpg"]["Malignant cases"]) == pytest.approx(expected["all_predictions"]["Malignant cases"])
    assert records["notes.txt"]["problem"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Export JSON").click()
    download.value.save_as(folder / "results.json")
    answers = {one["file"]: one for one in json.loads((folder / "results.json").read_text())}
    assert answers["own.jpg"]["result"]["prediction"] == expected["prediction"]


def _read_about_the_model(page: Page) -> None:
    """Figures, confusion matrix, history, drawings and the card are there."""
    expect(page.get_by_role("heading", name="lung-ct, version 1")).to_be_visible()
    expect(page.get_by_text("too good to be true")).to_be_visible()
    expect(page.locator(".confusion tbody tr")).to_have_count(3)
    expect(page.get_by_role("img", name="Loss: training 0.400")).to_be_visible()
    page.locator(".drawing img").first.scroll_into_view_if_needed()
    expect(page.locator(".drawing img").first).to_have_js_property("complete", value=True)
    assert fits(page)
    page.get_by_role("button", name="Read the model card").click()
    expect(page.get_by_role("dialog").get_by_role("heading", name="Warnings")).to_be_visible()


def test_attention_lies_over_the_slice_and_zooms_with_it(shown: RunningService, visit: VisitOf) -> None:
    """The map colours the right canvas only, follows the opacity slider, and zoom and pan move both canvases."""
    page = visit(shown.url).page
    explains(page)
    page.goto(shown.url)
    choose(page, file("own.png", png_slice(1, side=512), "image/png"))
    expect(page.locator("#attention-note")).to_contain_text("Class activation map")

    def colourful(canvas: str) -> int:
        return int(
            page.evaluate(
                """id => { const canvas = document.getElementById(id);
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                let count = 0;
                for (let at = 0; at < data.length; at += 4) if (Math.abs(data[at] - data[at + 2]) > 20) count++;
                return count; }""",
                canvas,
            )
        )

    until(page, lambda: colourful("canvas-attention") > 1000, "the map is drawn")
    assert colourful("canvas-slice") == 0
    page.locator("#opacity").fill("0")
    until(page, lambda: colourful("canvas-attention") == 0, "the map is gone")

    def picture(canvas: str) -> str:
        return str(page.evaluate("id => document.getElementById(id).toDataURL()", canvas))

    before = picture("canvas-slice")
    page.locator("#canvas-slice").focus()
    page.keyboard.press("+")
    until(page, lambda: picture("canvas-slice") != before, "it is zoomed")
    zoomed = picture("canvas-slice")
    page.keyboard.press("ArrowLeft")
    until(page, lambda: picture("canvas-slice") not in (before, zoomed), "it is moved")
    until(page, lambda: picture("canvas-slice") == picture("canvas-attention"), "both are moved")
    page.keyboard.press("0")
    until(page, lambda: picture("canvas-slice") == before, "it is as before")


def test_it_is_used_by_keyboard_alone(shown: RunningService, visit: VisitOf) -> None:
    """Tab and Enter reach the phantoms, the tiles, the table and the model card, and the focus never gets lost."""
    page = visit(shown.url).page
    page.goto(shown.url)
    expect(page.locator("#phantom-list button")).to_have_count(6)

    def tab_to(selector: str, most: int = 40) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"Tab does not reach {selector}")

    tab_to(".skip", 1)
    tab_to(".choose")
    tab_to("#phantom-list button")
    page.keyboard.press("Enter")
    expect(page.locator(".answer-class")).to_be_visible()
    choose(page, file("a.jpg", jpeg_slice(1)), file("b.jpg", jpeg_slice(2)))
    expect(tile(page, "b.jpg")).to_have_attribute("data-state", "answered")
    page.locator("body").press("Control+Home")
    page.evaluate("document.activeElement.blur()")
    tab_to(".tile")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    expect(tile(page, "b.jpg")).to_be_focused()
    expect(tile(page, "b.jpg")).to_have_attribute("aria-current", "true")
    tab_to("#canvas-slice")
    tab_to("#result-body button")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # removes it
    expect(page.locator(".tile")).to_have_count(2)
    page.evaluate("document.activeElement.blur()")
    tab_to("[data-view=model]")
    page.keyboard.press("Enter")
    tab_to(".model-head button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator(".model-head button")).to_be_focused()


def test_two_hundred_slices_at_once(shown: RunningService, visit: VisitOf, browser: Browser) -> None:
    """Every one is answered, and the page never stands still: no task of its main thread takes 200 ms.

    Counted is the thread's own time: waiting for a core that others hold is not the page's doing.
    """
    page = visit(shown.url).page
    page.goto(shown.url)
    expect(page.locator("#chip")).to_have_text("Model version 1")
    contents = [jpeg_slice(seed, side=512) for seed in range(10)]
    prepare(page, [contents[number % 10] for number in range(200)])
    browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline", "__metadata"])
    drop_prepared(page)
    expect(page.locator("#queue-text")).to_have_text("200 of 200 slices done", timeout=150_000)
    expect(page.locator('.tile[data-state="answered"]')).to_have_count(200)
    view(page, "Table (200)")
    expect(page.locator("#table-body tr")).to_have_count(200)
    own_ms, wall_ms = longest_task_ms(browser.stop_tracing())
    print(f"longest task {own_ms:.0f} ms of the thread's time, {wall_ms:.0f} ms by the clock")  # noqa: T201
    assert 1 < own_ms < 200


def longest_task_ms(trace: bytes) -> tuple[float, float]:
    """Of the tasks of pages' main threads, the longest thread time and the longest time by the clock."""
    events = json.loads(trace)["traceEvents"]
    main = {(one["pid"], one["tid"]) for one in events if one.get("args", {}).get("name") == "CrRendererMain"}
    tasks = [one for one in events if one["name"] == "RunTask" and (one["pid"], one["tid"]) in main]
    return max(one.get("tdur", 0) for one in tasks) / 1000, max(one.get("dur", 0) for one in tasks) / 1000


def test_the_first_paint_costs_little(shown: RunningService, visit: VisitOf) -> None:
    """Less than 100 KB have crossed the wire when everything is drawn, thumbnails of phantoms left out."""
    page = visit(shown.url).page
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[tuple[str, float]] = []
    addresses: dict[str, str] = {}
    session.on(
        "Network.requestWillBeSent", lambda event: addresses.update({event["requestId"]: event["request"]["url"]})
    )
    session.on(
        "Network.loadingFinished",
        lambda event: received.append((addresses[event["requestId"]], event["encodedDataLength"])),
    )
    page.goto(shown.url)
    expect(page.locator("#chip")).to_have_text("Model version 1")
    page.wait_for_load_state("networkidle")
    total = sum(size for address, size in received if "/phantoms/" not in address)
    print(f"{total / 1000:.0f} kB in {len(received)} answers")  # noqa: T201
    assert 5_000 < total < 100_000


def test_it_works_behind_a_prefix(shown_repository: Path, visit: VisitOf) -> None:
    """Under a path prefix every address that the page asks lies below the prefix, and a slice is answered."""
    with serving(shown_repository, root_path="/ct/v1") as prefixed:
        visited = visit(f"{prefixed.url}/ct/v1")
        page = visited.page
        page.goto(f"{prefixed.url}/ct/v1/")
        page.get_by_role("button", name="A phantom drawn as normal").first.click()
        expect(page.locator(".answer-class")).to_be_visible()
        view(page, "Model")
        expect(page.get_by_role("heading", name="lung-ct, version 1")).to_be_visible()
        view(page, "API")
        expect(page.locator(".opblock").first).to_be_visible()
        visited.leave()


def test_nothing_but_the_theme_is_stored(shown: RunningService, visit: VisitOf) -> None:
    """After a visit the browser holds the chosen theme and nothing else."""
    page = visit(shown.url).page
    page.goto(shown.url)
    choose(page, file("smith_john.jpg", jpeg_slice(1)))
    expect(page.locator(".answer-class")).to_be_visible()
    page.get_by_role("button", name="Theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    stored = page.evaluate(
        "async () => [{...localStorage}, {...sessionStorage}, document.cookie, await caches.keys(),"
        " (await indexedDB.databases()).length]"
    )
    assert stored == [{"lungct-theme": "dark"}, {}, "", [], 0]
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("width", [720, 320])
def test_it_can_be_zoomed(shown: RunningService, visit: VisitOf, width: int) -> None:
    """At 200 % on a laptop (720 pixels) and at 400 % (320) nothing is cut off, in any view."""
    page = visit(shown.url, width, 450, device_scale_factor=2).page
    page.goto(shown.url)
    assert fits(page)
    page.get_by_role("button", name="A phantom drawn as benign").first.click()
    expect(page.locator(".answer-class")).to_be_visible()
    for name in ("Slices", "Table", "Model"):
        view(page, name)
        painted(page)
        assert fits(page), name


def test_window_and_frame_are_chosen_by_hand(shown: RunningService, visit: VisitOf) -> None:
    """A DICOM file is drawn by /render; its window and frame are asked for as set, and a frame can be classified."""
    visited = visit(shown.url)
    visited.expected_statuses = {415, 422}
    page = visited.page
    queries = renders(page, png_slice(1))
    page.goto(shown.url)
    choose(page, file("series.dcm", bytes(128) + b"DICM" + bytes(100), "application/dicom"))
    expect(page.locator("#window-controls")).to_be_visible()
    expect(page.locator("#level-value")).to_have_text("-600")
    expect(page.locator("#frame-value")).to_have_text("1 / 4")
    page.get_by_role("button", name="Mediastinum").click()
    page.locator("#frame").fill("3")
    expect(page.locator("#width-value")).to_have_text("400")
    page.wait_for_function("() => !document.getElementById('frame-classify').disabled")
    with page.expect_request(lambda request: request.url.endswith("/predict?frame=3")):
        page.get_by_role("button", name="Classify frame 3").click()
    wanted = {"level": "40", "width": "400", "frame": "3"}
    until(page, lambda: wanted in queries, "it is drawn so, once the hand rests")


def test_the_page_says_what_is_kept(
    shown: RunningService, shown_repository: Path, tmp_path: Path, visit: VisitOf
) -> None:
    """No image is, anywhere; where the service has a ledger, the page says that each answer gets a line there."""
    page = visit(shown.url).page
    page.goto(shown.url)
    expect(page.locator("#chip")).to_have_text("Model version 1")
    kept = page.locator("#kept")
    expect(kept).to_contain_text("Images go to this service and nowhere else. No image is stored, here or there.")
    expect(kept).not_to_contain_text("keeps", use_inner_text=True)
    with serving(shown_repository, ledger_dir=tmp_path) as service:
        visited = visit(service.url)
        visited.page.goto(service.url)
        expect(visited.page.locator("#kept")).to_contain_text(
            "The service keeps a line about every answer", use_inner_text=True
        )
        visited.leave()
