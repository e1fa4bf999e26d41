"""A board that listens, a source that a test changes, and a Chromium that looks at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from boards.app import create_app
from boards.server import BoardServer, serve
from tests.browser.sample_board import SampleSource

CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _unavailable(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"browser tests must run in CI: {reason}")
    pytest.skip(f"browser tests need Chromium: {reason}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for the tests of a file. Its driver keeps an event loop in this thread, so it ends with them."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        _unavailable(str(error))
    path = CHROMIUM if os.access(CHROMIUM, os.X_OK) else shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        except Error as error:
            _unavailable(str(error).splitlines()[0])
        yield browser
        browser.close()


@dataclass
class Board:
    """A board under test: change `source`, look at `server`; `troubles` is what the browser complained about."""

    source: SampleSource
    server: BoardServer
    open: Callable[..., Any]
    troubles: list[str] = field(default_factory=list)

    def rep(self, name: str) -> str:
        return "/rep/" + quote(name, safe="")


@pytest.fixture(scope="session")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The Vega bundle is made once for all tests."""
    return tmp_path_factory.mktemp("bundle")


@pytest.fixture
def board(chromium: Any, bundle_dir: Any) -> Iterator[Board]:
    """A fresh board; at its end no page may have complained (content security policy, script errors)."""
    source = SampleSource()
    app = create_app(source, title="Planwatch", tokens=None, time_zone="America/New_York", cache_dir=bundle_dir)
    contexts: list[Any] = []
    troubles: list[str] = []
    with serve(app, "127.0.0.1", 0) as server:

        def open_page(
            path: str = "/", *, width: int = 1280, height: int = 900, chart: bool = True, **options: Any
        ) -> Any:
            context = chromium.new_context(viewport={"width": width, "height": height}, **options)
            contexts.append(context)
            page = context.new_page()
            page.set_default_timeout(10_000)
            page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda e: troubles.append(str(e)))
            page.goto(server.url + path)
            if chart:
                page.wait_for_selector(".canvas.drawn svg")
            return page

        yield Board(source, server, open_page, troubles)
        for context in contexts:
            context.close()
    assert troubles == []
