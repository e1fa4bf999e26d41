"""The web board as people meet it: live, by keyboard, on a phone, in the dark, on paper."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.browser.conftest import Board
from tests.browser.sample_board import HOSTILE, rep_name

pytestmark = pytest.mark.browser

CONTRAST = """(selector) => {
  const channel = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  return [...document.querySelectorAll(selector)].filter((e) => e.offsetParent !== null).map((element) => {
    let at = element, ground = [0, 0, 0, 0];
    while (at) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) { ground = colour; break; }
      at = at.parentElement;
    }
    const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(ground)].sort((x, y) => y - x);
    return [element.textContent.trim().slice(0, 30), (a + 0.05) / (b + 0.05)];
  });
}"""
TEXTS = ".sentence, .chip, .words, dt, dd, dd small, h2, h2 small, .where th, .where td, .note, .under, .flag, .severity, .alert-why, figcaption, .trust summary span, .legend span, .banner, .fall-name"


def no_overflow(page: Any) -> bool:
    """Nothing reaches beyond the width of the window."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_answers_without_a_click(board: Board) -> None:
    """The front page says the sentence, draws bar, burn-up and territories, and shows how fresh it is."""
    page = board.open()
    assert "Revenue 2017-Q2: 1.86 M of 2.90 M USD" in page.inner_text("h1")
    assert page.locator(".s-headline .bullet").get_attribute("aria-label").startswith("1.9")
    assert page.locator(".where .level-0").count() == 4
    assert page.locator(".canvas svg path").count() > 4
    assert page.locator(".trust").is_visible()
    assert re.search(r"Newest change \d+\s?s ago", page.inner_text(".trust"))
    headings = [h.lower() for h in page.locator("main h2").all_inner_texts()]
    order = [
        next(n for n, h in enumerate(headings) if h.startswith(w))
        for w in ("burn-up", "where", "what changed", "alerts")
    ]
    assert order == sorted(order)


def test_a_change_shows_in_place(board: Board) -> None:
    """A won deal moves the number without a reload, the row glows, and focus, scroll and open rows stay."""
    page = board.open()
    page.evaluate("window.marker = 'same page'")
    page.click(".level-0:has-text('Central') .opener")
    page.focus(".level-1 a >> nth=0")
    focused = page.evaluate("document.activeElement.textContent")
    page.evaluate("window.scrollTo(0, 700)")
    page.evaluate(
        """() => { window.glowed = new Promise((done) => new MutationObserver((changes) => {
          if (changes.some((c) => c.target.matches('tr.changed'))) done(true);
        }).observe(document.querySelector('.where'), { attributes: true, subtree: true, attributeFilter: ['class'] })); }"""
    )
    before = page.inner_text("[data-key=actual] dd")
    board.source.bump(500_000)
    page.wait_for_function("(old) => document.querySelector('[data-key=actual] dd').innerText !== old", arg=before)
    assert "2.4" in page.inner_text("[data-key=actual] dd")
    assert page.evaluate("window.marker") == "same page"
    assert page.evaluate("document.activeElement.textContent") == focused
    assert page.evaluate("window.scrollY") == 700
    assert page.locator(".level-1:visible").count() == 2
    assert page.evaluate("window.glowed") is True


def test_the_chart_follows_without_being_drawn_anew(board: Board) -> None:
    """New data move the lines of the same drawing: the label at the line's end says the new value."""
    page = board.open()
    page.evaluate("window.drawing = document.querySelector('.canvas svg')")
    board.source.bump(500_000)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.canvas svg text')].some((t) => t.textContent.startsWith('Actual 2.4'))"
    )
    assert page.evaluate("window.drawing.isConnected")


def test_what_the_reader_opened_stays_open(board: Board) -> None:
    """A chosen tab and an opened bar of the waterfall survive a change."""
    page = board.open()
    page.click("label[for=m-2]")
    page.click(".panel-2 details.fall summary >> nth=0")
    version = page.get_attribute("body", "data-version")
    board.source.bump(1000)
    page.wait_for_function("(old) => document.body.dataset.version !== old", arg=version)
    assert page.locator(".panel-2 .deals-in").first.is_visible()
    assert "GTX Plus for Kinity" in page.inner_text(".panel-2 .deals-in >> nth=0")


def test_the_waterfall_adds_up(board: Board) -> None:
    """Opening plus all signed bars gives closing, read from the full figures of the tooltips."""
    page = board.open()
    titles = page.eval_on_selector_all(".panel-1 .fall-amount", "(all) => all.map((e) => e.title)")
    numbers = [float(re.sub(r"[^\d.\-]", "", title.replace("−", "-"))) for title in titles]
    assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=0.01)


@pytest.mark.parametrize("path", ["/", "/territory/East", "rep"])
def test_a_phone_needs_no_sideways_scrolling(board: Board, path: str) -> None:
    """At 390 px rows are cards, everything open fits, and the trust bar is in sight."""
    page = board.open(board.rep(HOSTILE) if path == "rep" else path, width=390, height=844)
    assert no_overflow(page)
    for opener in page.locator(".opener:visible").all()[:2]:
        opener.click()
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert no_overflow(page)
    assert page.locator(".trust").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(board: Board, scheme: str) -> None:
    """Every text, status words included, has a contrast of at least 4.5 to its ground (WCAG AA)."""
    board.source.stale = True
    page = board.open(color_scheme=scheme)
    measured = page.evaluate(CONTRAST, TEXTS)
    assert len(measured) > 80
    assert [item for item in measured if item[1] < 4.5] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 60) == (scheme == "dark")


def test_keyboard_reaches_and_opens_the_rows(board: Board) -> None:
    """Tab comes first to the skip link; Tab and Enter open a territory and lead on to a team's page."""
    page = board.open()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.opener')"):
            break
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/team/**")
    assert "Team" in page.inner_text(".crumbs")


def test_stale_data_are_called_stale(board: Board) -> None:
    """When the source falls silent the open page says so in words, and takes it back when data come."""
    page = board.open()
    assert page.locator("#stale").count() == 0
    board.source.stale = True
    board.source.bump()
    page.wait_for_selector("#stale")
    assert "These figures are stale. The newest change came in 3\u202fh ago" in page.inner_text("#stale")
    board.source.stale = False
    board.source.bump()
    page.wait_for_selector("#stale", state="detached")


def test_a_lost_connection_is_told(board: Board) -> None:
    """When the server goes away the open page says that it no longer moves."""
    page = board.open()
    board.server.stop()
    page.wait_for_selector("#lost:not([hidden])")
    assert "Connection lost" in page.inner_text("#lost")
    board.troubles[:] = [t for t in board.troubles if "ERR_CONNECTION_REFUSED" not in t and "ERR_INCOMPLETE" not in t]


def test_the_age_ticks(board: Board) -> None:
    """The age of the newest change grows by itself, without any event."""
    page = board.open()
    first = page.inner_text("b[data-age]")
    page.wait_for_function("(old) => document.querySelector('b[data-age]').innerText !== old", arg=first)


def test_a_rep_sees_no_other_rep(board: Board) -> None:
    """A rep's page holds the own number, what to do and what slipped, and no other rep's name anywhere."""
    page = board.open(board.rep(rep_name(3)))
    html = page.content()
    assert page.inner_text(".hero b").startswith("48.0")
    assert "Two more deals like your median" in page.inner_text(".verdict")
    for words in ("My deals that matter most", "What to do next", "What slipped", "Alerts"):
        assert words in page.inner_text("main")
    others = {rep_name(n) for n in range(40)} - {rep_name(3)}
    assert [name for name in others if name in html or name.replace("'", "&#39;") in html] == []


def test_names_cannot_bring_markup(board: Board) -> None:
    """A name with a script, quotes and a slash is shown as it is, on the rows, its own page and after an update."""
    page = board.open()
    page.on("dialog", lambda dialog: pytest.fail("a name ran as a script"))
    version = page.get_attribute("body", "data-version")
    board.source.bump(1)
    page.wait_for_function("(old) => document.body.dataset.version !== old", arg=version)
    link = page.locator(".where a", has_text="Eve <script>")
    assert link.text_content() == HOSTILE
    page.goto(board.server.url + link.get_attribute("href"))
    assert HOSTILE in page.inner_text(".crumbs")
    assert page.locator("main script").count() == 0


def test_the_address_says_what_is_seen(board: Board) -> None:
    """Period and moment are chosen in a plain form, stand in the address, and links keep them; the past is called so."""
    page = board.open()
    page.select_option("#period", "2017-Q1")
    page.click("details.when summary")
    page.fill("#as_of", "2017-07-01")
    page.click("form:has(#period) button")
    page.wait_for_url("**/?period=2017-Q1&as_of=2017-07-01")
    assert ("company", "", "2017-Q1", 1_498_881_600_000_000) in board.source.asked
    assert "A look at the past. As of 1 July 2017, 00:00 (America/New_York)" in page.inner_text(".banner.past")
    assert page.get_attribute(".where a >> nth=0", "href").endswith("?period=2017-Q1&as_of=2017-07-01")
    page.click("text=Back to the present")
    page.wait_for_url("**/?period=2017-Q1")


def test_without_scripts_the_page_is_whole(board: Board) -> None:
    """With JavaScript off the figures, all rows and the curve's table are there."""
    page = board.open(java_script_enabled=False, chart=False)
    assert "Landing" in page.inner_text("h1")
    assert page.locator(".where tbody tr:visible").count() == 52
    page.click("text=As a table")
    assert page.locator(".as-table tbody tr:visible").count() > 10


def test_no_flicker_for_who_wants_none(board: Board) -> None:
    """With reduced motion nothing is animated."""
    page = board.open(reduced_motion="reduce")
    assert page.evaluate(
        """() => { const row = document.querySelector('.where tbody tr'); row.classList.add('changed');
        return getComputedStyle(row).animationName; }"""
    ) == "none"  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/territory/East", "rep"])
def test_prints_on_one_page(board: Board, path: str) -> None:
    """Each page fits one sheet of A4."""
    page = board.open(board.rep(rep_name(3)) if path == "rep" else path)
    assert re.findall(rb"/Count (\d+)", page.pdf(prefer_css_page_size=True)) == [b"1"]


def test_emptiness_is_designed(board: Board) -> None:
    """Without data the page says what to do, and fills by itself when data come."""
    board.source.empty = True
    page = board.open(chart=False)
    assert "planwatch ingest" in page.inner_text(".empty")
    board.source.empty = False
    board.source.bump()
    page.wait_for_selector(".canvas.drawn svg")
    assert page.locator(".where .level-0").count() == 4


def test_tooltip_of_the_chart(board: Board) -> None:
    """Pointing at the burn-up tells the day's figures as text."""
    page = board.open()
    page.locator(".canvas").scroll_into_view_if_needed()
    box = page.locator(".canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
    page.mouse.move(box["x"] + box["width"] * 0.32, box["y"] + box["height"] * 0.52)
    page.wait_for_selector(".tip:not([hidden])")
    assert re.match(r"\d+ \w+ 2017\nActual [\d,]+ USD\nPlan ", page.inner_text(".tip"))
