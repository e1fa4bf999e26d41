"""Deals at risk and health as people meet them: live, by keyboard, on a phone, in the dark, on paper."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import quote_plus

import pytest

from tests.browser.conftest import Board
from tests.browser.sample_board import HOSTILE, rep_name
from tests.browser.sample_pages import HOSTILE_DEAL
from tests.browser.test_board import CONTRAST, no_overflow

pytestmark = pytest.mark.browser

PATHS = ("/deals", "/deals?dimension=territory&scope=East", "/health", "rep")
TEXTS = (
    ".sentence, .chip, .words, dt, dd, dd small, h2, h2 small, .note, .under, .flag, .pages a, .scopes a, .risks th, .risks td, "
    ".sources th, .sources td, .refused b, .refused-why, .bytes code, .plain th, .plain td, .eyebrow, .banner"
)


def opened(board: Board, path: str, **options: Any) -> Any:
    """A page without a chart."""
    if path == "rep":
        path = f"/deals?dimension=rep&scope={quote_plus(rep_name(7))}"
    return board.open(path, chart=False, **options)


def watch_glow(page: Any, inside: str) -> None:
    """From now on `window.glowed` collects the keys of what glows."""
    page.evaluate(
        """(inside) => { window.glowed = new Set(); new MutationObserver((changes) => {
          for (const c of changes) if (c.target.matches('.changed')) window.glowed.add(c.target.dataset.key);
        }).observe(document.querySelector(inside), { attributes: true, subtree: true, attributeFilter: ['class'] }); }""",
        inside,
    )


def test_from_the_board_to_the_deals_and_to_a_rep(board: Board) -> None:
    """The navigation leads to the deals at risk, a territory to its own, a name to the rep's page."""
    page = board.open()
    page.click("nav.pages >> text=Deals at risk")
    page.wait_for_url("**/deals")
    assert "26 of 189 open deals need help" in page.inner_text("h1")
    assert page.locator(".risks tbody tr").count() == 26
    page.click(".scopes >> text=East")
    page.wait_for_url("**/deals?dimension=territory&scope=East")
    assert page.locator(".risks tbody tr").count() == 6
    assert page.inner_text(".scopes .above").startswith("All deals at risk")
    name = page.inner_text(".risks td.c-rep_name >> nth=0")
    page.click(".risks td.c-rep_name a >> nth=0")
    page.wait_for_url("**/rep/**")
    assert name in page.inner_text(".crumbs")


def test_what_decides_most_comes_first(board: Board) -> None:
    """Rows are sorted by effect; why a deal is there stands in its row."""
    page = opened(board, "/deals")
    effects = [int(text.strip("+ %\u202f")) for text in page.locator(".risks .c-effect span").all_inner_texts()]
    assert len(effects) == 25
    assert effects == sorted(effects, reverse=True)
    assert page.locator(".risks td.c-flags .flag").count() >= 26


def test_a_change_moves_a_row_in_place(board: Board) -> None:
    """Another amount shows within a second without a reload, only its row glows, and focus and scroll stay."""
    page = opened(board, "/deals")
    page.evaluate("window.marker = 'same page'")
    page.focus(".risks tr:nth-child(9) a")
    focused = page.evaluate("document.activeElement.textContent")
    page.evaluate("window.scrollTo(0, 600)")
    watch_glow(page, ".risks")
    begun = time.monotonic()
    board.source.bump(50_000)
    page.wait_for_function("() => document.querySelector('[data-key=deal-d3] .c-amount').innerText.startsWith('78')")
    assert time.monotonic() - begun < 1.0
    page.wait_for_function("() => window.glowed.size > 0")
    assert page.evaluate("[...window.glowed]") == ["deal-d3"]
    assert page.evaluate("window.marker") == "same page"
    assert page.evaluate("document.activeElement.textContent") == focused
    assert page.evaluate("window.scrollY") == 600


def test_the_last_deal_leaves_and_calm_comes(board: Board) -> None:
    """When nothing is at risk any more the open page says so; when something is again, the table is back."""
    page = opened(board, "/deals")
    board.source.calm = True
    board.source.bump()
    page.wait_for_selector(".calm")
    assert page.locator(".risks").count() == 0
    assert "No deal is at risk" in page.inner_text("main")
    board.source.calm = False
    board.source.bump()
    page.wait_for_selector(".risks tbody tr >> nth=25")


def test_a_new_refusal_shows(board: Board) -> None:
    """What was refused just now stands first and glows, its source's count grows, and all still adds up."""
    page = opened(board, "/health")
    watch_glow(page, "main")
    board.source.refusing = True
    board.source.bump()
    page.wait_for_selector("[data-key=refused-new]")
    assert page.get_attribute(".refused > li >> nth=0", "data-key") == "refused-new"
    page.wait_for_function("() => window.glowed.has('refused-new')")
    assert {"source-field-history", "refused-new"} <= set(page.evaluate("[...window.glowed]"))
    assert not any(key.startswith("refused-r") for key in page.evaluate("[...window.glowed]"))
    for row in page.locator(".sources tbody tr, .sources tfoot tr").all():
        received, *parts = (int(text.replace(",", "")) for text in row.locator(".n").all_inner_texts())
        assert received == sum(parts)


def test_the_age_ticks_in_the_figures(board: Board) -> None:
    """How long ago the newest change came grows by itself among the figures of health."""
    page = opened(board, "/health")
    first = page.inner_text("dd b[data-age]")
    page.wait_for_function("(old) => document.querySelector('dd b[data-age]').innerText !== old", arg=first)


def test_names_cannot_bring_markup(board: Board) -> None:
    """Deals, reps, sources and refused bytes that look like markup are shown as they are, before and after an update."""
    for path, shown in (
        ("/deals", [HOSTILE_DEAL, HOSTILE]),
        ("/health", ["<u>salesforce</u>", "<script>alert(1)</script>"]),
    ):
        page = opened(board, path)
        page.on("dialog", lambda dialog: pytest.fail("a name ran as a script"))
        version = page.get_attribute("body", "data-version")
        board.source.bump(1)
        page.wait_for_function("(old) => document.body.dataset.version !== old", arg=version)
        said = page.evaluate("document.querySelector('main').textContent")
        assert [text for text in shown if text not in said] == []
        assert page.locator("main script, main img, main u").count() == 0


def test_a_rep_sees_no_other_rep(board: Board) -> None:
    """From the rep's page one comes to the own deals alone; nobody else's name is anywhere on it, also after an update."""
    page = board.open(board.rep(rep_name(3)))
    page.click("nav.pages >> text=My deals at risk")
    page.wait_for_url("**/deals?dimension=rep&scope=*")
    version = page.get_attribute("body", "data-version")
    board.source.bump(1)
    page.wait_for_function("(old) => document.body.dataset.version !== old", arg=version)
    html = page.content()
    others = {rep_name(n) for n in range(40)} - {rep_name(3)}
    assert [name for name in others if name in html or name.replace("&", "&amp;") in html] == []
    assert page.locator("nav.pages a").count() == 1
    assert page.locator(".scopes").count() == 0
    assert page.locator(".risks .c-rep_name").count() == 0
    assert page.locator(".trust table").count() == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("width", [320, 390, 900])
def test_no_sideways_scrolling(board: Board, path: str, width: int) -> None:
    """At any width everything fits, opened details too."""
    page = opened(board, path, width=width, height=844)
    assert no_overflow(page)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert no_overflow(page)
    assert page.locator(".trust").is_visible()


def test_a_phone_shows_all_of_a_deal(board: Board) -> None:
    """A card has every figure of the table: deal, account, rep, stage, close date, amount, effect, why, age, slips."""
    page = opened(board, "/deals", width=390, height=844)
    card = page.locator(".risks tbody tr").nth(1)
    said = " ".join(card.inner_text().split())
    for part in ("MG Advanced renewal", "32.0 k", "Eve", "Hottechi", "Engaging", "11 June 2017", "past its close date"):
        assert part.replace(" k", "\u202fk") in said or part in said
    assert card.locator(".c-age_days").is_visible()
    assert card.locator(".c-slipped_times").is_visible()
    tops = [
        card.locator(selector).bounding_box()["y"] for selector in (".c-name", ".c-rep_name", ".c-account", ".c-flags")
    ]
    assert tops == sorted(tops)
    assert page.locator(".risks thead").bounding_box()["height"] <= 2
    name, amount = (card.locator(selector).bounding_box() for selector in (".c-name", ".c-amount"))
    assert abs(name["y"] - amount["y"]) < 8


def test_tables_stay_tables_on_a_phone(board: Board) -> None:
    """A screen reader still finds rows, headers and cells when rows are drawn as cards."""
    for path in ("/deals", "/health"):
        page = opened(board, path, width=390, height=844)
        table = page.get_by_role("table").first
        heads = table.get_by_role("columnheader").count()
        assert heads == (10 if path == "/deals" else 7)
        row = table.get_by_role("row").nth(1)
        assert row.get_by_role("rowheader").count() == 1
        # What a card leaves out (a slip count that the reasons say already) is hidden from everybody.
        assert heads - 1 <= row.get_by_role("cell").count() + 1 <= heads


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/deals", "/health"])
def test_contrast(board: Board, scheme: str, path: str) -> None:
    """Every text has a contrast of at least 4.5 to its ground (WCAG AA)."""
    board.source.stale = True
    page = opened(board, path, color_scheme=scheme)
    measured = page.evaluate(CONTRAST, TEXTS)
    assert len(measured) > 40
    assert [item for item in measured if item[1] < 4.5] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 60) == (scheme == "dark")


def test_keyboard_goes_through_the_deals(board: Board) -> None:
    """Tab comes to the navigation, the territories and the reps in this order; Enter follows; focus can be seen."""
    page = opened(board, "/deals")
    stops: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        stops.append(
            page.evaluate(
                "['.skip', '.pages a', '.scopes a', '.risks a'].find((s) => document.activeElement.matches(s)) || ''"
            )
        )
        if stops[-1] == ".risks a":
            break
    found = [stop for stop in dict.fromkeys(stops) if stop]
    assert found == [".skip", ".pages a", ".scopes a", ".risks a"]
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/rep/**")


@pytest.mark.parametrize("path", PATHS)
def test_prints_on_one_page(board: Board, path: str) -> None:
    """Each page fits one sheet of A4."""
    page = opened(board, path)
    assert re.findall(rb"/Count (\d+)", page.pdf(prefer_css_page_size=True)) == [b"1"]


@pytest.mark.parametrize("path", ["/deals", "/health"])
def test_emptiness_is_designed(board: Board, path: str) -> None:
    """Without data the page says what to do, and fills by itself when data come."""
    board.source.empty = True
    page = opened(board, path)
    assert "planwatch ingest" in page.inner_text(".empty")
    assert page.locator("main table").count() == 0
    board.source.empty = False
    board.source.bump()
    page.wait_for_selector(".risks" if path == "/deals" else ".sources")
    assert page.locator(".empty").count() == 0


def test_trouble_is_told_while_one_looks(board: Board) -> None:
    """When the log can no longer be read the open page of health says so with the reason, and takes it back."""
    page = opened(board, "/health")
    assert "Keeps up" in page.inner_text(".verdict")
    board.source.health_fields = {
        "failing": "broker:9092 does not answer",
        "verdict": "The log cannot be read",
        "state": "missed",
    }
    board.source.bump()
    page.wait_for_selector(".verdict .s-missed")
    assert "broker:9092 does not answer" in page.inner_text(".verdict")
    assert page.title().startswith("The log cannot be read")
    board.source.health_fields = {}
    board.source.bump()
    page.wait_for_selector(".verdict .s-on_track")


def test_without_scripts_the_pages_are_whole(board: Board) -> None:
    """With JavaScript off all rows and links are there."""
    page = opened(board, "/deals", java_script_enabled=False)
    assert page.locator(".risks tbody tr:visible").count() == 26
    page.click(".scopes >> text=East")
    assert page.locator(".risks tbody tr:visible").count() == 6
    page = opened(board, "/health", java_script_enabled=False)
    assert page.locator(".refused > li").count() == 3
