"""A real Chromium that sees nothing but one service, and what it complains of."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="browser: neither chromium nor google-chrome is on PATH"),
]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

_ANSWERED_WITH_AN_ERROR = "Failed to load resource: the server responded with a status of "


@dataclass
class Visit:
    """One browser page, and what went wrong on it."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    expected_statuses: set[int] = field(default_factory=set)
    """Chromium writes every answer from 400 on to the console; these are what the test is about."""
    is_offline: bool = False
    """The same for requests that reach nobody; from here on, for the page goes on asking until it is closed."""

    def watch(self) -> None:
        """Let no request leave for another host, and note that, script errors and console errors."""
        self.page.route("**/*", self._allow_own_host)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("console", self._note)

    def leave(self) -> None:
        """Close the page, while its service still runs: what it still loads would else be a complaint."""
        self.page.context.close()

    def _note(self, message: ConsoleMessage) -> None:
        is_expected = (self.is_offline and "net::ERR_" in message.text) or any(
            message.text.startswith(f"{_ANSWERED_WITH_AN_ERROR}{status}") for status in self.expected_statuses
        )
        if message.type == "error" and not is_expected:
            self.complaints.append(f"console: {message.text} ({message.location.get('url')})")

    def _allow_own_host(self, route: Route) -> None:
        if route.request.url.startswith((self.url + "/", "blob:")):
            route.continue_()
        else:
            self.complaints.append(f"asked another host: {route.request.url}")
            route.abort()


VisitOf = Callable[..., Visit]
"""visit(url, width=1440): a fresh page there."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, url: str, **context: Any) -> Iterator[Visit]:
    """A page of its own, with nothing stored; context: of Browser.new_context. Fails where it complained."""
    with browser.new_context(**context) as opened:
        visit = Visit(opened.new_page(), url)
        visit.watch()
        yield visit
    assert not visit.complaints, visit.complaints
