"""What tokens with a scope let one see: every route, with every kind of token, to the last byte."""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from boards.access import COMPANY, Access
from boards.app import create_app
from boards.server import serve
from boards.tokens import Token, Tokens
from planwatch.board_pages import Pages
from schemas.base import PlanwatchError
from schemas.board import BoardView, DealsView
from tests.unit.scoped_company import REPS, SCOPES, Scoped, name_of, names_of, numbers_in

PAST = "2017-02-01"
VARIANTS = ({}, {"period": "2017-Q1"}, {"as_of": PAST, "period": "2017-Q2"})
#: What the whole company knows and nobody in particular: texts of the plan, the source, deals of nobody.
COMPANYS = {"Zz-milestone", "Zz-revision", "Zz-source", "Zz-south-push", "Deal-lone", "31,337,001", "31337001"}
VIEWERS = [scope for scope in SCOPES if scope[0] != "company"]
KINDS = [("rep", "r-na1"), ("team", "t-na"), ("team", "t-sa"), ("territory", "north")]


def token_of(dimension: str, scope: str) -> str:
    """The secret of a scope's token."""
    return f"secret-of-{dimension}-{scope}"


def all_tokens() -> Tokens:
    """One token for each scope; that of a team by its name, as plans may have it."""
    made = []
    for dimension, scope in SCOPES:
        written = name_of(scope) if dimension == "team" else scope
        secret = token_of(dimension, scope)
        made.append(Token(secret, Access(dimension, written), lambda secret=secret: secret))
    return Tokens(made)


@pytest.fixture(scope="module")
def company() -> Scoped:
    """Read only: tests that change the company make their own."""
    return Scoped()


@pytest.fixture(scope="module")
def app(company: Scoped) -> Starlette:
    return create_app(company.pages, title="Planwatch", tokens=all_tokens())


def client_of(app: Starlette, dimension: str, scope: str) -> TestClient:
    """A program that brings a scope's token."""
    bearer = {"authorization": f"Bearer {token_of(dimension, scope)}"}
    return TestClient(app, base_url="http://board.example", follow_redirects=False, headers=bearer)


def page_of(dimension: str, scope: str) -> str:
    return "/" if dimension == "company" else f"/{dimension}/{quote(scope, safe='')}"


def addresses(app: Starlette) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Every address of the board but its events, with the scope that it names (none: no scope).

    By variant, since each moment of the past is folded anew when another was looked at before.
    """
    odd = (("company", "r-sa1"), ("product", "x"), ("opportunity", "won-r-sa1"), ("team", ""))
    for variant in VARIANTS:
        for route in app.routes:
            assert isinstance(route, Route)
            if "{scope:path}" in route.path:
                for d, s in SCOPES:
                    if d == route.path.split("/")[1]:
                        yield f"{page_of(d, s)}?{urlencode(variant)}", (d, s)
            elif route.path not in ("/events", "/static/{name}", "/healthz"):
                yield f"{route.path}?{urlencode(variant)}", None
                takes = route.path in ("/deals", "/api/deals", "/api/view")
                for d, s in (*SCOPES, *odd) if takes else odd:
                    asked = {"dimension": d, "scope": s, "rep": s, **variant}
                    yield f"{route.path}?{urlencode(asked)}", (d, s) if takes and (d, s) in SCOPES else None


Told = dict[tuple[str, str], set[str]]


@pytest.fixture(scope="module")
def told(app: Starlette) -> Told:
    """The numbers that views tell of each scope, as the company sees them."""
    whole, found = client_of(app, "company", ""), {scope: set() for scope in SCOPES}
    for variant in VARIANTS:
        for (dimension, scope), path in itertools.product(SCOPES, ("/api/view", "/api/deals")):
            asked = urlencode({"dimension": dimension, "scope": scope, **variant})
            found[dimension, scope] |= numbers_in(without_others(whole.get(f"{path}?{asked}").text))
    return found


def forbidden(told: Told, inside: set[tuple[str, str]]) -> tuple[set[str], set[str]]:
    """(names, numbers) of the scopes that are not inside: numbers that no view of one's own has."""
    others = [scope for scope in SCOPES if scope not in inside]
    own = set().union(*(told[scope] for scope in inside))
    names = names_of(others) | COMPANYS
    return names - ({"Zz-south-push"} if ("team", "t-sa") in inside else set()), set().union(
        *map(told.get, others)
    ) - own


def leaks(body: str, names: set[str], numbers: set[str]) -> list[str]:
    """What of it is in a text."""
    written = set(re.findall(r"\d[\d.,]*\d", body))
    written |= {number.rstrip("0").rstrip(".") for number in written if "." in number}
    return [name for name in names if name in body] + sorted(written & numbers)


def without_others(text: str) -> str:
    """A view as the company sees it, down to the figures of its own scope and what is inside it."""
    view = json.loads(text)
    for name in ("above", "trust", "reps", "as_of"):
        view.pop(name, None)
    return json.dumps(view)


@pytest.mark.parametrize(("dimension", "scope"), KINDS)
def test_no_route_tells_of_other_scopes(
    dimension: str, scope: str, company: Scoped, app: Starlette, told: Told
) -> None:
    """In no byte of any answer is a name or a number of a scope outside, or of the company; what is inside is there."""
    inside = company.inside(dimension, scope)
    names, numbers = forbidden(told, inside)
    assert len(numbers) > 50
    client = client_of(app, dimension, scope)
    shown = 0
    for address, about in addresses(app):
        if address.startswith("/go?"):
            continue  # it leads to any address that is asked for, there or not
        answer = client.get(address)
        body = html.unescape(answer.text) + str(answer.headers.get("location", ""))
        for asked in re.findall(r"scope=([^&]*)", address) + ([about[1]] if about else []):
            body = body.replace(f"«{asked}»", "")  # what was asked for is said again
        if about is not None:
            assert answer.status_code == (200 if about in inside else 404), address
            if about in inside:
                assert about[1] in body
                shown += 1
        assert leaks(body, names, numbers) == [], address
    assert shown >= len(VARIANTS) * 4


def test_the_company_s_token_sees_everything(app: Starlette) -> None:
    """The same walk with the company's token finds every page: the walk itself is not blind."""
    client = client_of(app, "company", "")
    for address, about in addresses(app):
        if about is not None:
            answer = client.get(address)
            assert answer.status_code == 200, address
            assert about[1] in answer.text
    assert "Zz-milestone" in client.get("/?period=2017-Q1").text
    assert "Deal-lone" in client.get("/deals").text
    assert "Zz-source" in client.get("/health").text


@pytest.mark.parametrize(("dimension", "scope"), [("rep", "r-na1"), ("team", "t-na"), ("territory", "north")])
def test_not_yours_is_not_there(dimension: str, scope: str, app: Starlette) -> None:
    """What lies outside and what does not exist get the same answer, but for the name that was asked for."""
    client = client_of(app, dimension, scope)
    for path in ("/rep/{}", "/deals?dimension=rep&scope={}", "/api/view?dimension=rep&scope={}&as_of=" + PAST):
        real, none = client.get(path.format("r-sa1")), client.get(path.format("r-xx1"))
        assert (real.status_code, none.status_code) == (404, 404)
        assert real.text.replace("r-sa1", "r-xx1") == none.text
        assert sorted(real.headers) == sorted(none.headers)
    for period in ("Zz-south-push", "Zz-nowhere"):
        answer = client.get(f"/api/view?dimension={dimension}&scope={scope}&period={period}")
        assert answer.json() == {"error": f"«{period}» is no period of this board."}


def test_health_is_the_company_s(app: Starlette) -> None:
    """Sources and refused inputs are for who may see everything; others find no link to them either."""
    for dimension, scope in VIEWERS:
        client = client_of(app, dimension, scope)
        assert client.get("/health").status_code == 404
        assert client.get("/api/health").json() == {"error": "There is no such page."}
        page = client.get(page_of(dimension, scope)).text
        assert "/health" not in page
        assert "in quarantine" not in page


def test_the_front_page_is_one_s_own(app: Starlette) -> None:
    """Who may not see the company is led to the page of their own, the question kept; an API without a scope is about it."""
    client = client_of(app, "team", "t-na")
    answer = client.get("/?period=2017-Q1&as_of=2017-02-01")
    assert (answer.status_code, answer.headers["location"]) == (303, "/team/t-na?period=2017-Q1&as_of=2017-02-01")
    assert BoardView.model_validate_json(client.get("/api/view").content).scope == "t-na"
    assert DealsView.model_validate_json(client.get("/api/deals").content).scope == "t-na"
    page = client.get("/rep/r-na1").text
    assert '<a href="/">My board</a>' in page
    assert client_of(app, "company", "").get("/").status_code == 200


def test_a_team_lead_sees_the_members_and_a_territory_its_teams(app: Starlette) -> None:
    """Rows, menus and tables have exactly what is inside."""
    team = BoardView.model_validate_json(client_of(app, "team", "t-na").get("/api/view").content)
    assert {row.status.scope for row in team.rows} == {"r-na1", "r-na2"}
    assert [rep for rep, _ in team.reps] == ["r-na1", "r-na2"]
    north = BoardView.model_validate_json(client_of(app, "territory", "north").get("/api/view").content)
    assert {row.status.scope for row in north.rows} == {"t-na", "t-nb"}
    assert {c.status.scope for row in north.rows for c in row.children} == {"r-na1", "r-na2", "r-nb1"}
    deals = DealsView.model_validate_json(client_of(app, "team", "t-na").get("/api/deals").content)
    assert deals.above == ()
    assert {r.scope for r in deals.inside} == {"r-na1", "r-na2"}
    assert deals.deals


@pytest.fixture(scope="module")
def live(app: Starlette) -> Iterator[str]:
    with serve(app, "127.0.0.1", 0) as server:
        yield server.url


def first_event(url: str, dimension: str, scope: str) -> str:
    """The name and the data of a stream's first event."""
    bearer = {"authorization": f"Bearer {token_of(dimension, scope)}"}
    with httpx.stream("GET", url, headers=bearer, timeout=10) as response:
        lines = response.iter_lines()
        return next(line for line in lines if line.startswith("event: ")) + "\n" + next(lines)


@pytest.mark.parametrize("page", ["board", "deals", "health"])
@pytest.mark.parametrize(("dimension", "scope"), [("rep", "r-na1"), ("team", "t-na")])
def test_events_tell_no_more_than_pages(
    dimension: str, scope: str, page: str, company: Scoped, told: Told, live: str
) -> None:
    """The stream of a page outside is a problem in the words of what is not there; one's own has nothing of others."""
    inside = company.inside(dimension, scope)
    names, numbers = forbidden(told, inside)
    for variant in ({}, {"as_of": PAST}):
        for d, s in SCOPES:
            asked = urlencode({"page": page, "dimension": d, "scope": s, **variant})
            event = first_event(f"{live}/events?{asked}", dimension, scope)
            allowed = (d, s) in inside and page != "health"
            assert event.startswith("event: view" if allowed else "event: problem"), asked
            body = html.unescape(event).replace(f"«{s}»", "")
            assert leaks(body, names, numbers) == [], asked


def test_a_reassigned_rep_belongs_to_the_new_team_at_once() -> None:
    """Today's hierarchy decides, also about the past: the old team loses the rep's pages and name, the new one gains."""
    company = Scoped()
    app = create_app(company.pages, title="Planwatch", tokens=all_tokens())
    old, new = client_of(app, "team", "t-na"), client_of(app, "team", "t-nb")
    assert (old.get("/rep/r-na1").status_code, new.get("/rep/r-na1").status_code) == (200, 404)
    company.tell(company.change("rep", "r-na1", "2017-03-08", team="t-nb"))
    for suffix in ("", f"?as_of={PAST}"):
        assert (old.get(f"/rep/r-na1{suffix}").status_code, new.get(f"/rep/r-na1{suffix}").status_code) == (404, 200)
        for path in ("/team/t-na", "/deals"):
            body = old.get(f"{path}{suffix}").text
            assert "Name-r-na2" in body
            assert "r-na1" not in body
    for path in (f"/api/view?as_of={PAST}", "/api/view", f"/api/deals?as_of={PAST}"):
        assert "r-na1" not in old.get(path).text
    assert "Name-r-na1" in new.get("/team/t-nb").text


def test_a_deal_that_changed_hands_is_named_to_its_owner_only() -> None:
    """A team's movement keeps its sums; the deal that went elsewhere, renamed there, and its new owner are not named."""
    company = Scoped()
    company.tell(company.change("opportunity", "fine-r-na1", "2017-03-08", owner="r-sa1", name="Deal-taken-south"))
    app = create_app(company.pages, title="Planwatch", tokens=all_tokens())
    view = client_of(app, "team", "t-na").get("/api/view?period=2017-Q1")
    assert "Deal-taken-south" not in view.text
    assert "r-sa1" not in view.text
    bars = BoardView.model_validate_json(view.content).movements[-1].bars
    assert next(bar for bar in bars if bar.name == "moved_out").amount == 29 * 1_013
    assert "Deal-taken-south" in client_of(app, "team", "t-sa").get("/api/view?period=2017-Q1").text


def test_who_is_gone_or_ambiguous_sees_nothing() -> None:
    """A scope whose record was deleted, or a name that two records have, opens no page: not even an old one."""
    company = Scoped()
    tokens = Tokens(
        [
            Token("rep", Access("rep", "r-na1"), lambda: "one"),
            Token("twice", Access("rep", "Name-r-na2"), lambda: "two"),
            Token("nobody", Access("team", "no such team"), lambda: "three"),
        ]
    )
    app = create_app(company.pages, title="Planwatch", tokens=tokens)

    def code(secret: str, path: str) -> int:
        bearer = {"authorization": f"Bearer {secret}"}
        return (
            TestClient(app, base_url="http://b.example", follow_redirects=False).get(path, headers=bearer).status_code
        )

    assert [code("one", "/rep/r-na1"), code("two", "/rep/r-na2"), code("three", "/")] == [200, 200, 404]
    gone = company.change("rep", "r-na1", "2017-03-08").model_copy(update={"op": "delete"})
    company.tell(gone, company.change("rep", "r-sa1", "2017-03-08", name="Name-r-na2"))
    for secret, path in (
        ("one", "/"),
        ("one", "/rep/r-na1"),
        ("one", f"/rep/r-na1?as_of={PAST}"),
        ("two", "/rep/r-na2"),
    ):
        assert code(secret, path) == 404


def test_who_may_see_the_same_shares_a_page(company: Scoped) -> None:
    """Pages are kept by what may be seen and not by token; another scope's copy is never served."""
    asked = []

    class Counted(Pages):
        def view(self, dimension: str, scope: str, period: str | None, as_of: int | None, access: Access = COMPANY) -> BoardView:  # fmt: skip
            asked.append(access)
            return super().view(dimension, scope, period, as_of, access)

    pages = Counted(company.process.pipeline, company.pages._standing)
    team = Access("team", "t-na")
    tokens = Tokens([Token("a", team, lambda: "a"), Token("b", team, lambda: "b"), Token("c", COMPANY, lambda: "c")])
    client = TestClient(create_app(pages, title="Planwatch", tokens=tokens), base_url="http://b.example")
    bodies = [client.get("/team/t-na", headers={"authorization": f"Bearer {s}"}).text for s in "cabac"]
    assert asked == [COMPANY, team]
    assert ["Zz-" in body or "My board" not in body for body in bodies] == [True, False, False, False, True]


@pytest.mark.parametrize("text", ["", "team", "team:", "team: ", "segment:SMB", "company:x", "Rep:Ann", "north"])
def test_scopes_that_are_none(text: str) -> None:
    """A scope is written in one way; a mistake never means the company."""
    with pytest.raises(PlanwatchError, match="is no scope"):
        Access.parse(text)


def test_scopes_as_they_are_written() -> None:
    """A name may hold anything, a colon too."""
    assert Access.parse("company").whole
    assert Access.parse("rep:Anna: Snelling") == Access("rep", "Anna: Snelling")
    assert set(REPS) == {s for d, s in SCOPES if d == "rep"}
