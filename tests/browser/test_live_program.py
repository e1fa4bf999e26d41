"""The whole program in a real browser: a file taken in by one process changes the open page of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.integration.test_program import HEADER, home, planwatch, running, won

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


def test_deals_and_refusals_of_another_process_show(home: Path, chromium: Any) -> None:
    """A silent deal and a bad line that another process takes in come onto the open pages; the rep's has the deal."""
    with running(home) as url:
        deals, health = chromium.new_page(), chromium.new_page()
        deals.goto(f"{url}/deals")
        health.goto(f"{url}/health")
        expect(health.locator("#sentence")).to_contain_text("were taken in", timeout=20_000)
        file = home / "in" / "sales_pipeline.csv"
        lines = [
            "S1,Moses Frase,GTX Pro,,Engaging,2017-01-02,,",
            "BAD,Moses Frase,GTX Pro,,Won,2017-13-45,2017-02-01,1",
        ]
        file.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
        planwatch(home, "ingest", "csv", str(file))
        expect(deals.locator(".risks tbody tr")).to_have_count(1, timeout=20_000)
        expect(deals.locator(".risks td.c-flags")).to_contain_text("silent for")
        expect(health.locator(".refused li")).to_have_count(1, timeout=20_000)
        expect(health.locator(".refused li")).to_contain_text("sales_pipeline.csv, line 3")
        expect(health.locator(".refused .bytes code")).to_contain_text("2017-13-45")
        deals.click(".risks .c-rep_name a")
        deals.click("text=My deals at risk")
        expect(deals.locator(".risks tbody tr")).to_have_count(1)
        deals.close()
        health.close()
