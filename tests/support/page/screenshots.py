"""The pictures of the page in docs/images, of a demo model and its phantoms: `make screenshots`."""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.support.page.browser import chromium, visiting
from tests.support.serving import serving

_IMAGES = Path(__file__).parents[3] / "docs" / "images"


def main(repository: Path) -> None:
    """Needs a repository whose model was trained on phantoms, as `make run` makes one."""
    _IMAGES.mkdir(exist_ok=True)
    with serving(repository) as service, chromium() as browser:
        _visit(browser, service.url, "1440-dark", (1440, 900), "dark", views=("slices", "table", "model"))
        _visit(browser, service.url, "820-light", (820, 1180), "light", views=("slices",))
        _visit(browser, service.url, "390-light", (390, 844), "light", views=("slices", "model"))


def _visit(
    browser: Browser, url: str, name: str, size: tuple[int, int], scheme: str, *, views: tuple[str, ...]
) -> None:
    viewport = {"width": size[0], "height": size[1]}
    with visiting(browser, url, viewport=viewport, color_scheme=scheme, reduced_motion="reduce") as visit:
        page = visit.page
        page.goto(url)
        phantoms = page.locator("#phantom-list button")
        expect(phantoms).to_have_count(6)
        page.wait_for_load_state("networkidle")
        _keep(page, f"page-empty-{name}")
        for at in (4, 5, 2, 3, 0, 1):
            phantoms.nth(at).dispatch_event("click")
            expect(page.locator(".tile")).to_have_count([4, 5, 2, 3, 0, 1].index(at) + 1)
        expect(page.locator('.tile[data-state="answered"]')).to_have_count(6)
        for view in views:
            page.get_by_role("navigation").get_by_role("link", name=view.capitalize()).click()
            page.wait_for_load_state("networkidle")
            asking = page.get_by_text("Asking where the model looked")
            if asking.count():
                asking.first.wait_for(state="hidden", timeout=120_000)
            page.wait_for_timeout(500)  # the drawing of what has arrived
            _keep(page, f"page-{view}-{name}")


def _keep(page: Page, name: str) -> None:
    """As PNG of 256 colours: a quarter of the bytes, and nobody sees it."""
    taken = Image.open(io.BytesIO(page.screenshot()))
    taken.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(_IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "models"))
