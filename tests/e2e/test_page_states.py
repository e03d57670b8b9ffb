"""Every state that the page can be in says what is so and what happens next, and no slice is lost in any."""

import json
import shutil
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.support.inputs.slices import jpeg_slice
from tests.support.page.actions import choose, drop_prepared, file, prepare, tile
from tests.support.page.browser import NEEDS_CHROMIUM, VisitOf
from tests.support.page.stand_ins import needs_key, refuses_as_no_chest
from tests.support.serving import RunningService, serving

pytestmark = NEEDS_CHROMIUM


def banner(page: Page) -> str:
    """What the banner says, once there is one."""
    expect(page.locator("#banner")).to_be_visible()
    return page.locator("#banner").inner_text()


def test_without_a_model_slices_wait_for_one(shown_repository: Path, tmp_path: Path, visit: VisitOf) -> None:
    """Nothing is published: slices wait; one is cancelled, the other is answered as soon as a version serves.

    A second version that comes is named, and one that is bad is told as degraded while the good one answers.
    """
    model_dir = tmp_path / "lung-ct"
    model_dir.mkdir()
    original = shown_repository / "lung-ct" / "1"
    with serving(tmp_path, is_ready=False) as empty:
        visited = visit(empty.url)
        visited.expected_statuses = {503}
        page = visited.page
        page.goto(empty.url)
        assert "No model yet" in banner(page)
        choose(page, file("a.jpg", jpeg_slice(1)), file("b.jpg", jpeg_slice(2)))
        expect(tile(page, "a.jpg")).to_contain_text("Waiting")
        page.get_by_role("button", name="Cancel", exact=True).click()
        expect(tile(page, "a.jpg")).to_contain_text("Cancelled")
        shutil.copytree(original, tmp_path / ".new")
        (tmp_path / ".new").rename(model_dir / "1")
        expect(tile(page, "b.jpg")).to_have_attribute("data-state", "answered", timeout=30_000)
        expect(page.locator("#banner")).to_be_hidden()
        page.get_by_role("button", name="Retry", exact=True).click()
        expect(tile(page, "a.jpg")).to_have_attribute("data-state", "answered")

        _publish(original, model_dir / "2")
        expect(page.locator("#announcement")).to_have_text("Model version 2 serves now.", timeout=30_000)
        expect(page.locator("#result-body")).to_contain_text("Version 1 gave this answer")
        (model_dir / "3").mkdir()
        expect(page.locator("#banner")).to_contain_text("not all is as wanted", timeout=30_000)
        assert "manifest.json is missing" in banner(page)
        page.get_by_role("navigation").get_by_role("link", name="Model").click()
        versions = page.locator("#model-body tbody").last
        expect(versions).to_contain_text("cannot be loaded: manifest.json is missing")
        expect(versions.locator(".is-current")).to_contain_text("2")
        visited.leave()


def _publish(original: Path, target: Path) -> None:
    """The same model under another number, renamed into place as the trainer does."""
    aside = target.parent / f".tmp-{target.name}"
    shutil.copytree(original, aside)
    manifest = json.loads((aside / "manifest.json").read_text("utf-8"))
    (aside / "manifest.json").write_text(json.dumps({**manifest, "model_version": int(target.name)}), "utf-8")
    aside.rename(target)


def test_an_overloaded_service_is_left_alone_until_it_said(shown_repository: Path, visit: VisitOf) -> None:
    """Where a place is free for one only, 503 makes the queue wait as long as told, and everything is answered."""
    with serving(shown_repository, max_queue=1) as narrow:
        visited = visit(narrow.url)
        visited.expected_statuses = {503}
        page = visited.page
        told: list[float] = []
        page.on(
            "response",
            lambda answer: told.append(float(answer.headers["retry-after"])) if answer.status == 503 else None,
        )
        page.add_init_script(
            "window.sent = []; const send = XMLHttpRequest.prototype.send;"
            "XMLHttpRequest.prototype.send = function (body) { window.sent.push([performance.now(), 0]);"
            " const mine = window.sent.at(-1); this.addEventListener('load', () => { mine[1] = performance.now();"
            " mine[2] = this.status; mine[3] = Number(this.getResponseHeader('Retry-After')); });"
            " send.call(this, body); };"
        )
        page.goto(narrow.url)
        expect(page.locator("#chip")).to_have_text("Model version 1")
        prepare(page, [jpeg_slice(seed, side=512) for seed in range(12)])
        drop_prepared(page)
        expect(page.locator("#banner")).to_contain_text("The service is busy")
        expect(page.locator("#countdown")).to_contain_text("Again in 1 s")
        expect(page.locator("#queue-text")).to_have_text("12 of 12 slices done", timeout=60_000)
        expect(page.locator('.tile[data-state="answered"]')).to_have_count(12)
        expect(page.locator("#banner")).to_be_hidden()
        assert told
        requests = page.evaluate("window.sent")
        refusals = [(ended, seconds) for _, ended, status, seconds in requests if status == 503]
        for ended, seconds in refusals:
            early = [at for at, *_ in requests if ended + 5 < at < ended + 1000 * seconds - 5]
            assert not early, (ended, seconds, early)
        visited.leave()


def test_a_service_that_is_gone_is_waited_for(shown_repository: Path, visit: VisitOf) -> None:
    """Nothing is lost while nobody answers: when the service is back, on the same port, the slices are answered."""
    with serving(shown_repository) as first:
        visited = visit(first.url)
        page = visited.page
        page.goto(first.url)
        expect(page.locator("#chip")).to_have_text("Model version 1")
        port = first.port
    choose(page, file("a.jpg", jpeg_slice(1)))
    assert "cannot be reached" in banner(page)
    expect(tile(page, "a.jpg")).to_contain_text("Waiting")
    with serving(shown_repository, port=port):
        expect(tile(page, "a.jpg")).to_have_attribute("data-state", "answered", timeout=30_000)
        expect(page.locator("#banner")).to_be_hidden()
    assert all("ERR_CONNECTION_REFUSED" in one or "ERR_EMPTY_RESPONSE" in one for one in visited.complaints)
    visited.complaints.clear()


def test_a_key_is_asked_for_and_kept_in_the_tab(shown: RunningService, visit: VisitOf) -> None:
    """401 brings a field for the key; a wrong one is told, the right one is sent along and forgotten on demand."""
    visited = visit(shown.url)
    visited.expected_statuses = {401}
    page = visited.page
    needs_key(page, "right-key")
    page.goto(shown.url)
    assert "needs an API key" in banner(page)
    page.get_by_label("API key").fill("wrong-key")
    page.get_by_role("button", name="Use key").click()
    expect(page.locator("#banner")).to_contain_text("not accepted")
    page.get_by_label("API key").fill("right-key")
    page.keyboard.press("Enter")
    expect(page.locator("#banner")).to_be_hidden()
    choose(page, file("a.jpg", jpeg_slice(1)))
    expect(tile(page, "a.jpg")).to_have_attribute("data-state", "answered")
    assert page.evaluate("[localStorage.length, {...sessionStorage}]") == [0, {"lungct-key": "right-key"}]
    page.get_by_role("button", name="Forget the API key").click()
    assert "needs an API key" in banner(page)


def test_what_is_no_chest_slice_is_refused_with_reasons(shown: RunningService, visit: VisitOf) -> None:
    """422 not-a-chest-ct shows the title, the detail and each reason, and offers to try again."""
    visited = visit(shown.url)
    visited.expected_statuses = {422}
    page = visited.page
    refuses_as_no_chest(page)
    page.goto(shown.url)
    choose(page, file("cat.jpg", jpeg_slice(1)))
    result = page.locator("#result-body")
    expect(result).to_contain_text("Not a chest CT slice")
    expect(result.locator(".warnings li")).to_have_count(2)
    expect(tile(page, "cat.jpg")).to_contain_text("Refused")
    page.unroute("**/predict*")
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator(".bar")).to_have_count(3)


def test_the_page_allows_nothing_but_itself(shown: RunningService) -> None:
    """The policy names no other host and no inline script, on the page and on Swagger UI."""
    for path in ("/", "/docs", "/static/js/page.js"):
        policy = httpx.get(shown.url + path).headers["content-security-policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["connect-src"] == "'self'"
        assert "http" not in policy
        assert "unsafe" not in policy.replace("style-src 'self' 'unsafe-inline'", "" if path == "/docs" else "unsafe")
