"""What a person does on the page."""

import base64
from typing import Any

from playwright.sync_api import Locator, Page


def file(name: str, content: bytes, kind: str = "image/jpeg") -> Any:
    """A file as a person would choose it."""
    return {"name": name, "mimeType": kind, "buffer": content}


def choose(page: Page, *files: Any) -> None:
    """Give the page files through its file dialog."""
    with page.expect_file_chooser() as chooser:
        page.locator(".choose:visible").first.click()
    chooser.value.set_files(list(files))


def tile(page: Page, name: str) -> Locator:
    """A slice in the list."""
    return page.locator(".tile").filter(has_text=name)


def view(page: Page, name: str) -> None:
    """Go to a view by its link."""
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def fits(page: Page) -> bool:
    """Whether nothing is wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def prepare(page: Page, contents: list[bytes]) -> None:
    """Make files in the browser, to be dropped."""
    page.evaluate(
        """(contents) => {
          window.prepared = new DataTransfer();
          contents.forEach((content, at) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            window.prepared.items.add(new File([bytes], `slice-${at + 1}.jpg`, { type: "image/jpeg" }));
          });
        }""",
        [base64.b64encode(content).decode() for content in contents],
    )


def drop_prepared(page: Page) -> None:
    """Drop them onto the page, all at once."""
    page.evaluate(
        """() => {
          const said = { dataTransfer: window.prepared, bubbles: true, cancelable: true };
          for (const type of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(type, said));
        }"""
    )
