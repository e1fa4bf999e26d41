"""The board's pages of deals at risk and of health: routes, door, events, links; without a browser."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import pytest
from starlette.testclient import TestClient

from boards.address import Address
from boards.app import create_app
from boards.format import coded
from boards.panels import BOARDS
from boards.panels.limits import state_at
from boards.server import serve
from boards.tokens import Tokens
from schemas.board import DealsView, HealthView, RefusalCount, SeriesStore
from schemas.config import Bounds
from tests.browser.sample_board import HOSTILE, SampleSource, rep_name
from tests.browser.sample_pages import HOSTILE_DEAL, silent_source

TOKEN = "a-long-token-that-nobody-guesses"
LOCAL = "http://127.0.0.1:8350"
PAGES = ("/deals", "/health", "/api/deals", "/api/health", "/events?page=deals", "/events?page=health")


@pytest.fixture
def source() -> SampleSource:
    """The invented company."""
    return SampleSource()


@pytest.fixture
def client(source: SampleSource) -> TestClient:
    """A board on this machine, without a token."""
    return TestClient(create_app(source, title="Planwatch", tokens=None), base_url=LOCAL, follow_redirects=False)


def of(dimension: str, scope: str, path: str = "/deals") -> str:
    """The address of a scope's deals."""
    return f"{path}?dimension={dimension}&scope={quote_plus(scope)}"


def text(page: str) -> str:
    """What a page says, without its markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_the_token_guards_these_pages_too(source: SampleSource) -> None:
    """Without it there is the door and no figure; with it they open; a host from elsewhere is refused where there is none."""
    app = create_app(source, title="Planwatch", tokens=Tokens.single(TOKEN))
    locked = TestClient(app, base_url="http://board.example", follow_redirects=False)
    for path in PAGES:
        answer = locked.get(path)
        assert answer.status_code == 401
        assert "need help" not in answer.text
        assert "quarantine" not in answer.text
    assert source.asked == []
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert [locked.get(path, headers=bearer).status_code for path in PAGES[:4]] == [200] * 4
    alone = TestClient(create_app(source, title="Planwatch", tokens=None), base_url="http://evil.example")
    assert {alone.get(path).status_code for path in PAGES} == {421}


def test_labels_are_those_of_the_panels(client: TestClient) -> None:
    """Titles, columns in their order and figures are the ones that Grafana shows, for a rep the rep's own."""
    page = client.get("/deals").text
    deals = BOARDS["deals"].panel("deals_at_risk")
    assert re.findall(r'<th role="columnheader"[^>]*>([^<]*)', page) == [c.title for c in deals.columns if not c.hidden]
    figures = [column.title for column in BOARDS["deals"].panel("deals_in_figures").columns]
    assert re.findall(r"<dt>([^<]*)", page) == figures
    mine = BOARDS["rep"].panel("my_deals_at_risk")
    page = client.get(of("rep", rep_name(0))).text
    assert re.findall(r'<th role="columnheader"[^>]*>([^<]*)', page) == [c.title for c in mine.columns if not c.hidden]
    assert mine.title in page
    page = client.get("/health").text
    sources = re.findall(r'<th role="columnheader"[^>]*>([^<]*)', page)
    assert sources == [column.title for column in BOARDS["health"].panel("trust").columns]


def test_every_page_leads_to_the_others(client: TestClient) -> None:
    """The navigation stands on each page and marks where one is; moment and scope are kept where a page has them."""
    for path, here in (("/", ""), ("/deals", "/deals"), ("/health", "/health"), ("/territory/East", "")):
        page = client.get(path).text
        (nav,) = re.findall(r'<nav aria-label="Pages".*?</nav>', page, re.DOTALL)
        links = dict(re.findall(r'<a href="([^"]*)"( aria-current="page")?', nav))
        assert {link.partition("?")[0] for link in links} == {"/deals", "/health"}
        assert [link.partition("?")[0] for link, current in links.items() if current] == ([here] if here else [])
    page = html.unescape(client.get("/team/Team%20Snelling?as_of=2017-05-01&period=2017-Q2").text)
    assert 'href="/deals?dimension=team&scope=Team+Snelling&as_of=2017-05-01"' in page
    page = html.unescape(client.get("/deals?dimension=team&scope=Team+Snelling&as_of=2017-05-01").text)
    assert 'href="/team/Team%20Snelling?as_of=2017-05-01"' in page
    assert 'href="/deals?dimension=territory&scope=Central&as_of=2017-05-01"' in page
    assert 'href="/rep/Anna%20Snelling?as_of=2017-05-01"' in page


def test_a_scope_has_its_own_deals(source: SampleSource, client: TestClient) -> None:
    """The filter by address: a territory's and a team's deals, the source asked for no more; what is unknown is 404."""
    whole = DealsView.model_validate_json(client.get("/api/deals").content)
    parts = [
        DealsView.model_validate_json(client.get(of("territory", r.scope, "/api/deals")).content) for r in whole.inside
    ]
    assert sum(part.at_risk for part in parts) == whole.at_risk
    assert source.asked[-1] == ("territory", whole.inside[-1].scope, "deals", None)
    assert client.get(of("territory", "Nowhere")).status_code == 404
    assert client.get(of("territory", "Nowhere", "/api/deals")).json() == {
        "error": "There is no territory “Nowhere” in the plan."
    }
    assert client.get(of("planet", "Mars")).status_code == 404
    assert client.get(of("team", "x" * 500)).status_code == 400
    assert client.get(of("x" * 500, "")).status_code == 400
    assert client.get("/deals?as_of=never").status_code == 400


def test_no_other_rep_on_a_reps_deals(client: TestClient) -> None:
    """A rep's page of deals names no other rep, leads to no filter and not to the operators' page."""
    for n in (0, 7):
        page = html.unescape(client.get(of("rep", rep_name(n))).text)
        others = {rep_name(m) for m in range(40)} - {rep_name(n)}
        assert [other for other in others if other in page] == []
        assert "Team " not in page
        assert 'class="scopes"' not in page
        assert 'href="/health"' not in page
        assert "My deals at risk" in page


def test_hostile_names_are_text(client: TestClient) -> None:
    """Names of deals and reps, sources, reasons and refused bytes bring no markup; links to such reps work."""
    page = client.get("/deals").text
    assert "<img" not in page
    assert "<script>alert" not in page
    assert HOSTILE_DEAL in html.unescape(page)
    (link,) = set(re.findall(r'href="(/rep/Eve[^"]*)"', page))
    assert client.get(html.unescape(link)).status_code == 200
    assert HOSTILE in html.unescape(client.get(of("rep", HOSTILE)).text)
    page = client.get("/health").text
    for markup in ("<u>salesforce", "<i>Quote", "<script>alert"):
        assert markup not in page
        assert markup in html.unescape(page)
    assert "style=" not in page


def test_where_a_refused_input_stood(source: SampleSource, client: TestClient) -> None:
    """File and line, or topic and offset, or the whole file; with the reason, the bytes and how many there are."""
    said = text(client.get("/health").text)
    assert "OpportunityFieldHistory.csv, line 4,417" in said
    assert "crm.salesforce.opportunity[3], offset 90,412" in said
    assert "crm.salesforce.opportunity[0], offset 0" in said
    assert "the record is not JSON" in said
    refused = source.health().refused
    whole = refused[0].model_copy(update={"origin": "-", "position": 0, "size": 1})
    source.health_fields = {"refused": (whole,)}
    source.bump()
    assert "standard input, the whole file" in text(client.get("/health").text)
    assert "1 byte " in text(client.get("/health").text)
    request = whole.model_copy(
        update={"id": "0a1b2c3d4e5f", "origin": "hooks/crm", "position": 3, "state": "dropped", "at": 0}
    )
    source.health_fields = {"refused": (request,)}
    source.bump()
    said = text(client.get("/health").text)
    assert "hooks/crm, event 3, 31 December 1969, 19:00, dropped" in said
    assert "planwatch quarantine show 0a1b2c3d4e5f" in said


def test_what_became_of_refusals(source: SampleSource, client: TestClient) -> None:
    """How many are open, dropped and replayed stands under these words, in their order."""
    counts = RefusalCount(source="crm", code="bad_date", count=1_003, open=1_000, dropped=3, replayed=12)
    source.health_fields = {"refusals": (counts,)}
    source.bump()
    said = text(client.get("/health").text)
    assert "Source, why Open Dropped Replayed crm bad_date 1,000 3 12" in said


def test_health_says_what_is_not_known(source: SampleSource, client: TestClient) -> None:
    """A log that cannot be read, series that cannot, deliveries of other processes and sources never heard, in words."""
    series = SeriesStore(
        kind="InfluxDB", where="http://127.0.0.1:8086", readable=False, problem="it is away; `planwatch doctor` looks"
    )
    trust = source.health().trust
    trust = trust.model_copy(update={"sources": (*trust.sources, silent_source("hubspot", 4))})
    source.health_fields = {"failing": "", "verdict": "The series cannot be read", "state": "missed", "behind": None,
                            "waiting": None, "series": series, "trust": trust}  # fmt: skip
    page = client.get("/health").text
    said = text(page)
    assert "The series cannot be read it is away; planwatch doctor looks" in said
    assert "<code>planwatch doctor</code>" in page
    assert "Waiting messages —" in said
    assert "Notifications that wait — the workers know" in said
    assert "Time series Not readable InfluxDB" in said
    assert "hubspot never 4 0 0 0 4" in said
    assert "All sources" in said
    source.health_fields["failing"] = "no broker answers"
    source.bump()
    assert "no broker answers" in client.get("/health").text


def test_limits_have_their_sign(source: SampleSource, client: TestClient) -> None:
    """What lies beyond a limit of the panels has its status' shape beside it; what does not has none."""
    page = client.get("/health").text
    (figure,) = re.findall(r'<div data-key="figure-quarantined".*?</div>', page)
    assert 'class="s-at_risk"' in figure
    assert '<svg class="shape' in figure
    (figure,) = re.findall(r'<div data-key="figure-lag".*?</div>', page)
    assert "<svg" not in figure
    source.health_fields = {"behind": 1_000}
    source.bump()
    (figure,) = re.findall(r'<div data-key="figure-lag".*?</div>', client.get("/health").text)
    assert 'class="s-at_risk"' in figure


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("age", 86_399, "on_track"),
        ("age", 86_400, "at_risk"),
        ("refused", 0, "on_track"),
        ("refused", 1, "at_risk"),
        ("slow", 60, "missed"),
        ("likely", 0.55, "at_risk"),
        ("likely", 0.95, "ahead"),
    ],
)
def test_limits(name: str, value: float, state: str) -> None:
    """From its value on, not before; the probability's are the configured ones."""
    assert state_at(name, value, Bounds(ahead="0.9", on_track="0.6")) == state  # type: ignore[arg-type]


def test_nothing_at_risk_nothing_refused(source: SampleSource, client: TestClient) -> None:
    """A calm page says so, and has no empty table."""
    source.calm = True
    page = client.get("/deals").text
    assert "none of the 189 open deals needs help" in text(page)
    assert "No deal is at risk" in page
    assert "<table class=" not in page
    page = client.get("/health").text
    assert "Nothing was refused" in page
    assert 'class="refused"' not in page


def test_before_the_first_data(source: SampleSource, client: TestClient) -> None:
    """An empty company is told how to bring in data, on both pages, and nothing is called calm."""
    source.empty = True
    for path in ("/deals", "/health"):
        page = client.get(path).text
        assert "planwatch ingest csv" in page
        assert "No deal is at risk" not in page
        assert "Nothing was refused" not in page


def test_the_views_as_json(source: SampleSource, client: TestClient) -> None:
    """As the models write them; health is about now, whatever the address says."""
    view = DealsView.model_validate_json(client.get("/api/deals?as_of=2017-05-01").content)
    assert not view.live
    health = HealthView.model_validate_json(client.get("/api/health?as_of=2017-05-01&dimension=team&scope=x").content)
    assert health == source.health()


def test_the_past_of_deals(source: SampleSource, client: TestClient) -> None:
    """A moment in the address is asked for, called past, and leads back to the present of the same scope."""
    page = html.unescape(client.get(of("territory", "East") + "&as_of=2017-05-01").text)
    assert source.asked[-1] == ("territory", "East", "deals", 1_493_596_800_000_000)
    assert "A look at the past" in page
    assert 'href="/deals?dimension=territory&scope=East"' in page


@pytest.fixture
def live(source: SampleSource, tmp_path: Path) -> Iterator[str]:
    """A board that listens."""
    app = create_app(source, title="Planwatch", tokens=None, poll_s=0.01, cache_dir=tmp_path)
    with serve(app, "127.0.0.1", 0) as server:
        yield server.url


def events(response: httpx.Response) -> Iterator[dict[str, object]]:
    """The data of a stream's events."""
    return (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {"))


def test_deals_are_live(source: SampleSource, live: str) -> None:
    """The first event has every section, the next only what changed; the tab's title says how many there are."""
    with httpx.stream("GET", live + "/events?page=deals&dimension=company", timeout=5) as response:
        stream = events(response)
        first = next(stream)
        assert set(first["sections"]) == {"banner", "risk_headline", "risk_scopes", "risk_deals", "trust"}  # type: ignore[call-overload]
        assert first["title"] == "26 at risk · Northwind Instruments"
        source.bump(10_000)
        changed = set(next(stream)["sections"])  # type: ignore[call-overload]
        assert "risk_deals" in changed
        assert "trust" not in changed


def test_health_is_live(source: SampleSource, live: str) -> None:
    """A new refusal reaches the open page."""
    with httpx.stream("GET", live + "/events?page=health", timeout=5) as response:
        stream = events(response)
        assert next(stream)["title"] == "Keeps up · Pipeline health"
        source.refusing = True
        source.bump()
        sections = next(stream)["sections"]
        assert "late.csv, line 7" in sections["health_refused"]  # type: ignore[index]


def test_no_such_page_of_events(live: str) -> None:
    """An unknown page is told in words."""
    answer = httpx.get(live + "/events?page=nonsense")
    assert (answer.status_code, answer.json()) == (400, {"error": "There is no such page."})


def test_addresses() -> None:
    """Each page keeps of a scope, a period and a moment what it has; names are encoded once."""
    odd = Address("rep", "a/b &c", "2017-Q2", "2017-05-01")
    assert odd.href() == "/rep/a%2Fb%20%26c?period=2017-Q2&as_of=2017-05-01"
    assert odd.href(page="deals") == "/deals?dimension=rep&scope=a%2Fb+%26c&as_of=2017-05-01"
    assert odd.href(page="health") == "/health"
    assert odd.href("company", "", page="deals", live=True) == "/deals"
    assert Address("company", "", page="health").events() == "/events?page=health&dimension=company"


def test_commands_in_messages() -> None:
    """Between backticks stands a command; the text around and inside it is escaped."""
    assert coded("a <b> `x & <i>` c`") == "a &lt;b&gt; <code>x &amp; &lt;i&gt;</code> c`"
