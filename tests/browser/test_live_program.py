"""The whole program in a real browser: a file taken in by one process changes the open page of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.integration.test_program import home, running, won

__all__ = ["home"]  # the fixture: a home with one agent and one won deal of 1,000


def test_a_won_deal_moves_the_number_in_place(home: Path, chromium: Any) -> None:
    """The sentence's figure changes without a reload once another process has taken in a deal."""
    with running(home) as url:
        page = chromium.new_page()
        page.goto(f"{url}/?period=2017-Q1")
        sentence = page.locator("#sentence")
        expect(sentence).to_contain_text("1.00 k", timeout=20_000)
        page.evaluate("window.mark = 'still the same page'")
        won(home, 2, 250_000)
        expect(sentence).to_contain_text("251.00 k", timeout=20_000)
        assert page.evaluate("window.mark") == "still the same page"
        page.close()
