"""Signing in and out in a real Chromium, and its judgement of every page's content security policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from boards.access import COMPANY, Access
from boards.app import create_app
from boards.server import serve
from boards.tokens import Token, Tokens
from tests.unit.scoped_company import Scoped

pytestmark = pytest.mark.browser

WHOLE, LEAD = "the-token-of-the-company", "the-token-of-a-team-lead"
VIOLATIONS = """window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => window.violations.push(e.violatedDirective + " " + e.blockedURI));"""

Open = Callable[[str], Any]


@pytest.fixture
def opened(chromium: Any, bundle_dir: Any) -> Iterator[Open]:
    """Opens addresses of a board with tokens, all in one browser; at the end no page may have broken its policy."""
    tokens = Tokens([Token("all", COMPANY, lambda: WHOLE), Token("lead", Access("team", "Name-t-na"), lambda: LEAD)])
    app = create_app(Scoped().pages, title="Planwatch", tokens=tokens, cache_dir=bundle_dir, poll_s=0.02)
    context = chromium.new_context()
    context.add_init_script(VIOLATIONS)
    errors: list[str] = []
    with serve(app, "127.0.0.1", 0) as server:

        def open_page(path: str) -> Any:
            page = context.new_page()
            page.set_default_timeout(10_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(server.url + path)
            return page

        yield open_page
        found = [page.evaluate("window.violations") for page in context.pages]
        context.close()
    assert errors == []
    assert [violations for violations in found if violations] == []


def sign_in(page: Any, token: str) -> None:
    """Write the token into the door's form."""
    page.fill("#token", token)
    page.click("button")


def test_a_form_leads_in_and_a_button_out(opened: Open) -> None:
    """The door takes the token and shows the page that was asked for; signing out closes the other window too."""
    page = opened("/deals?as_of=2017-03-01")
    expect(page.locator("h1")).to_have_text("This board asks for a token")
    sign_in(page, "not the token")
    expect(page.locator("#wrong")).to_contain_text("not the right one")
    sign_in(page, WHOLE)
    page.wait_for_url(re.compile(r"/deals\?as_of=2017-03-01$"))
    other = opened("/")
    expect(other.locator("#sentence")).to_be_visible()
    page.click("text=Sign out")
    expect(page.locator("h1")).to_have_text("This board asks for a token")
    expect(other.locator("h1")).to_have_text("This board asks for a token")


def test_the_session_is_out_of_reach_of_scripts(opened: Open) -> None:
    """A script sees no cookie, and neither address nor storage holds the token."""
    page = opened(f"/?token={WHOLE}")
    expect(page.locator("#sentence")).to_be_visible()
    assert WHOLE not in page.url
    assert page.evaluate("document.cookie") == ""
    assert WHOLE not in page.evaluate("JSON.stringify([localStorage, sessionStorage, history.state])")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")


def test_a_team_lead_comes_home_from_everywhere(opened: Open) -> None:
    """The front page is the team's, every link on the way leads to pages that open, and the stream is live."""
    page = opened(f"/?token={LEAD}")
    page.wait_for_url("**/team/t-na")
    expect(page.locator(".crumbs")).to_contain_text("Name-t-na")
    links = page.eval_on_selector_all("a[href^='/']", "all => all.map((a) => a.href)")
    assert len(links) >= 4
    for link in links:
        assert page.request.get(link).status == 200
    page.click(".where a >> text=Name-r-na1")
    page.wait_for_url("**/rep/r-na1*")
    page.click("text=My board")
    page.wait_for_url("**/team/t-na*")
    assert "r-sa1" not in page.content()


@pytest.mark.parametrize("path", ["/", "/territory/north", "/rep/r-na1", "/deals", "/health", "/rep/nobody"])
def test_every_page_keeps_to_its_policy(path: str, opened: Open) -> None:
    """Chromium finds nothing to refuse in any page, chart drawn and stream open; a script put in by a name it refuses."""
    page = opened(f"/?token={WHOLE}")
    page = opened(path)
    page.wait_for_load_state("load")
    if path == "/":
        page.wait_for_selector(".canvas.drawn svg")
    assert page.evaluate("window.violations") == []
    page.evaluate(
        """() => { const script = document.createElement("script"); script.textContent = "window.injected = true";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.injected = true'>"); }"""
    )
    page.wait_for_function("window.violations.length >= 2")
    assert page.evaluate("window.injected") is None
    page.evaluate("window.violations = []")
