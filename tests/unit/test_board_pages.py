"""Deals at risk and health, made from a pipeline's state."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Sequence
from decimal import Decimal

import pytest

from ingest.door import Refused
from planwatch import board_health
from planwatch.board_health import Series, Standing, health_view, pipeline_standing
from planwatch.board_pages import Pages
from planwatch.board_records import RANKS
from planwatch.pipeline import Pipeline
from planwatch.shown import SHOWN_CHARS, escaped, shown_bytes
from planwatch.view_words import health_sentence, risk_sentence
from schemas.base import PlanwatchError
from schemas.board import SeriesStore, Trust
from schemas.change import Change, Scalar
from schemas.config import CalendarConfig, Config, Stage
from schemas.message import encode_changes
from schemas.plan import Plan, Split, Target
from storage.memory import MemorySeries
from storage.ports import Point
from tests.property.pipelines import Process, World
from tests.unit.alert_samples import status

CONFIG = Config(
    tenant="acme",
    company="Acme",
    time="log",
    calendar=CalendarConfig(time_zone="UTC"),
    stages=(Stage(name="Open", probability=50), Stage(name="Won", kind="won")),
)
PLAN = Plan(
    name="A quarter",
    horizon=("2017-01-01", "2017-06-30"),
    targets=(
        Target(
            kpi="revenue",
            values={"2017-Q1": Decimal(4_000), "2017-Q2": Decimal(4_000)},
            split=Split(dimension="rep", members=("ann", "bob")),
        ),
    ),
)
PEOPLE: tuple[tuple[str, str, dict[str, Scalar]], ...] = (
    ("territory", "north", {"name": "North"}),
    ("territory", "south", {"name": "South"}),
    ("team", "a", {"name": "Team A", "territory": "north"}),
    ("team", "b", {"name": "Team B", "territory": "south"}),
    ("rep", "ann", {"name": "Ann Able", "team": "a"}),
    ("rep", "bob", {"name": "Bob Bold", "team": "a"}),
    ("rep", "eve", {"name": "Eve <Evil>", "team": "b"}),
)


def moment(day: str) -> int:
    """Noon of a day in UTC as microseconds."""
    return int(dt.datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()) * 1_000_000


class Company:
    """A company whose log a test writes; `pages` are its pages."""

    def __init__(self) -> None:
        self._number = 0
        changes = [self.change(entity, record_id, "2017-01-02", **fields) for entity, record_id, fields in PEOPLE]
        self.process = Process(World(CONFIG, PLAN, [encode_changes(changes)]))
        self.process.run(1)
        self.pages = Pages(self.pipeline, pipeline_standing(self.pipeline))

    @property
    def pipeline(self) -> Pipeline:
        """Its pipeline."""
        return self.process.pipeline

    def change(self, entity: str, record_id: str, day: str, **fields: Scalar) -> Change:
        """One change of a record at noon of a day."""
        self._number += 1
        return Change(
            tenant="acme", source="crm", entity=entity, record_id=record_id, op="update", version=self._number,
            occurred_at=moment(day), event_id=f"e{self._number}", fields=fields,
        )  # type: ignore[arg-type]  # fmt: skip

    def deal(self, record_id: str, day: str, **fields: Scalar) -> None:
        """Something of a deal changed."""
        defaults: dict[str, Scalar] = {"stage": "Open"}
        self.tell(self.change("opportunity", record_id, day, **{**defaults, **fields}))

    def tell(self, *changes: Change) -> None:
        """Append to the log and take it in."""
        self.pipeline.store.append(changes)
        self.process.run(1)


@pytest.fixture
def company() -> Company:
    """Five open deals: one past its date and silent, one slipped twice, one fine, one in the south, one of nobody."""
    made = Company()
    made.deal(
        "late", "2017-01-05", name="Late", owner="ann", amount=1_000, close_date="2017-02-01", created_date="2017-01-05"
    )
    made.deal("south", "2017-01-06", name="South deal", owner="eve", amount=700, close_date="2017-05-01")
    made.deal("lone", "2017-01-07", name="Nobody’s", amount=90, close_date="2017-05-01")
    for day, close in (("2017-01-08", "2017-02-10"), ("2017-02-05", "2017-03-20"), ("2017-03-01", "2017-06-20")):
        made.deal("slips", day, name="Slips", owner="bob", amount=2_000, close_date=close)
    made.deal("fine", "2017-03-10", name="Fine", owner="bob", amount=500, close_date="2017-03-30")
    return made  # fmt: skip


def test_deals_that_need_help_and_why(company: Company) -> None:
    """Who is past the date, silent or slipped twice is listed with its reason; who is fine is not. Figures add up."""
    view = company.pages.deals("company", "", None)
    reasons = {deal.record_id: deal.flags for deal in view.deals}
    assert set(reasons) == {"late", "south", "lone", "slips"}
    assert reasons["late"] == ("past its close date", "silent for 64 days")
    assert reasons["slips"] == ("slipped 2 times",)
    assert (view.at_risk, view.past, view.slipped, view.silent) == (4, 1, 1, 3)
    assert (view.open_deals, view.open_amount) == (5, Decimal(4_290))
    assert view.amount == sum(deal.amount for deal in view.deals) == Decimal(3_790)
    assert view.sentence == "Acme: 4 of 5 open deals need help, 3.79 k USD, 88 % of the open pipeline."


def test_what_decides_most_comes_first(company: Company) -> None:
    """By what winning adds to the owner's probability to hit, then by amount."""
    view = company.pages.deals("company", "", None)
    order = [(-(deal.effect or 0), -deal.amount) for deal in view.deals]
    assert order == sorted(order)
    assert any(deal.effect for deal in view.deals)


def test_scopes_and_what_they_are_made_of(company: Company) -> None:
    """A territory and a team show their own deals, lead up and down, and the parts of the company sum to it."""
    whole = company.pages.deals("company", "", None)
    assert {(r.scope, r.deals) for r in whole.inside} == {("north", 2), ("south", 1), ("", 1)}
    assert sum(r.amount for r in whole.inside) == whole.amount
    north = company.pages.deals("territory", "north", None)
    assert {deal.record_id for deal in north.deals} == {"late", "slips"}
    assert [(r.dimension, r.scope, r.name, r.deals) for r in north.inside] == [("team", "a", "Team A", 2)]
    team = company.pages.deals("team", "a", None)
    assert [(r.dimension, r.scope, r.deals) for r in team.above] == [("company", "", 4), ("territory", "north", 2)]
    assert {r.scope for r in team.inside} == {"ann", "bob"}


def test_a_rep_sees_only_the_own_deals(company: Company) -> None:
    """A rep's page has the own deals, and of nobody else a name, an id, a deal or a figure."""
    view = company.pages.deals("rep", "ann", None)
    assert [deal.record_id for deal in view.deals] == ["late"]
    assert (view.open_deals, view.open_amount, view.amount) == (1, Decimal(1_000), Decimal(1_000))
    assert (view.above, view.inside, view.trust.sources) == ((), (), ())
    told = view.model_dump_json()
    for foreign in (
        "Bob",
        "bob",
        "Eve",
        "eve",
        "slips",
        "South",
        "Slips",
        "3790.00",
        "4290.00",
        "2000.00",
        "Team A",
        "North",
    ):
        assert foreign not in told


@pytest.mark.parametrize(
    ("dimension", "scope"), [("rep", "nobody"), ("team", ""), ("account", "x"), ("nonsense", "north")]
)
def test_no_such_scope(company: Company, dimension: str, scope: str) -> None:
    """What does not exist is told in words."""
    with pytest.raises(LookupError, match=dimension):
        company.pages.deals(dimension, scope, None)


def test_a_change_shows_and_the_past_stays(company: Company) -> None:
    """A deal that is heard of again leaves the list, the version grows, and a look at the past is as it was."""
    version = company.pages.version()
    assert "south" in {deal.record_id for deal in company.pages.deals("company", "", None).deals}
    company.deal("south", "2017-03-10", amount=750)
    assert company.pages.version() > version
    live = company.pages.deals("company", "", None)
    assert "south" not in {deal.record_id for deal in live.deals}
    before = company.pages.deals("company", "", moment("2017-03-09"))
    assert (before.live, live.live) == (False, True)
    assert "south" in {deal.record_id for deal in before.deals}


def test_only_the_first_are_shown_and_all_are_counted() -> None:
    """Of more deals than a list holds the figures are of all; who joins the list is what decides most."""
    company = Company()
    deals = [
        company.change("opportunity", f"d{n}", "2017-01-05", stage="Open", owner="eve", amount=n + 1, close_date="2017-05-01")
        for n in range(RANKS + 10)
    ]  # fmt: skip
    company.tell(*deals)
    company.deal("fine", "2017-03-10", owner="ann", amount=5, close_date="2017-03-30")
    view = company.pages.deals("company", "", None)
    assert (view.at_risk, len(view.deals)) == (RANKS + 10, RANKS)
    assert view.deals[0].amount == RANKS + 10
    assert view.amount == sum(range(1, RANKS + 11))


def test_every_input_is_accounted_for(company: Company) -> None:
    """Received is the sum of its parts for each source, also for one of which everything was refused."""
    company.pipeline.store.quarantine.add(refusals(3))
    view = company.pages.health()
    for source in view.trust.sources:
        assert source.received == source.applied + source.duplicate + source.stale + source.quarantined
    assert {(s.source, s.received > 0, s.last_seen_at > 0) for s in view.trust.sources} == {
        ("crm", True, True),
        ("sf", True, False),
    }
    assert (view.position, view.behind, view.failing, view.waiting) == (company.pipeline.state.position, 0, "", 0)
    assert view.sentence == f"Of {view.trust.sources[0].received + 3} inputs from 2 sources {view.trust.sources[0].received} were taken in, 3 are in quarantine."  # fmt: skip


def test_messages_that_wait_are_counted(company: Company) -> None:
    """What stands in the log and is not folded yet waits."""
    company.pipeline.store.append([company.change("opportunity", "new", "2017-03-10", stage="Open", amount=1)])
    assert company.pages.health().behind == 1


def refusals(count: int) -> list[Refused]:
    """Refusals of one source, two codes."""
    return [
        Refused("sf", f"in/file{n}.csv", n + 1, b"\x00\xffx" * n, "bad_date" if n % 2 else "gap", f"reason {n}")
        for n in range(count)
    ]


def test_the_newest_refusals_come_first(company: Company) -> None:
    """The last twenty, the newest first, with where they stood; and how many of each code."""
    company.pipeline.store.quarantine.add(refusals(25))
    view = company.pages.health()
    assert [item.position for item in view.refused] == list(range(25, 5, -1))
    assert [(r.source, r.code, r.count) for r in view.refusals] == [("sf", "gap", 13), ("sf", "bad_date", 12)]
    assert view.refused[0].origin == "in/file24.csv"
    assert view.refused[0].size == 72


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"a,b\r\n", r"a,b\r\n"),
        (b"\x00\xff\x1b[31m", r"\x00\xff\x1b[31m"),
        ("\u202egnp.exe\u2028é".encode(), r"\u202egnp.exe\u2028é"),
        (b"", ""),
    ],
)
def test_bytes_are_escaped(payload: bytes, shown: str) -> None:
    """Controls, bytes that are no UTF-8 and marks that turn the direction of text are written out; the rest is as it was."""
    assert shown_bytes(payload) == shown


@pytest.mark.parametrize("payload", [b"x" * 100_000, b"\x00" * 100_000, "é".encode() * 10_000])
def test_bytes_are_shortened(payload: bytes) -> None:
    """However much there is, what is shown is short, printable and says that there is more."""
    shown = shown_bytes(payload)
    assert len(shown) <= SHOWN_CHARS + 1
    assert shown.endswith("…")
    assert shown.isprintable()
    assert escaped("a\nb", 10) == r"a\nb"


TRUST = Trust(as_of=2, newest_change_at=1, age_s=1, stale=False, sources=(), quarantined=0, incomplete=0)
GOOD = SeriesStore(kind="SQLite", where="x", readable=True)


@pytest.mark.parametrize(
    ("standing", "series", "trust", "verdict", "state"),
    [
        (Standing(0, False), GOOD, TRUST, "Keeps up", "on_track"),
        (Standing(3, False), GOOD, TRUST, "Keeps up", "on_track"),
        (Standing(90, True), GOOD, TRUST, "Catching up", "at_risk"),
        (Standing(None, True), GOOD, TRUST, "Catching up", "at_risk"),
        (Standing(0, False), GOOD.model_copy(update={"readable": None}), TRUST, "Keeps up", "on_track"),
        (Standing(0, False), GOOD.model_copy(update={"readable": False}), TRUST, "The series cannot be read", "missed"),
        (Standing(0, True, "no broker"), GOOD, TRUST, "The log cannot be read", "missed"),
        (Standing(0, False), GOOD, TRUST.model_copy(update={"stale": True}), "Keeps up, but nothing new comes in", "at_risk"),
        (Standing(0, False), GOOD, TRUST.model_copy(update={"newest_change_at": None, "stale": True}), "Waiting for the first change", "no_data"),
    ],
)  # fmt: skip
def test_the_worst_that_is_known_is_said(
    standing: Standing, series: SeriesStore, trust: Trust, verdict: str, state: str
) -> None:
    """What stops everything comes before what delays it, and that before what is merely quiet."""
    view = health_view(CONFIG, standing, trust, series, 7)
    assert (view.verdict, view.state) == (verdict, state)


class Reluctant(MemorySeries):
    """A series that answers when it is let, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.error: Exception | None = None
        self.questions = 0

    def read(self, grain: str, kpi: str, dimension: str, scope: str, period: str, field: str) -> Sequence[Point]:
        self.questions += 1
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return super().read(grain, kpi, dimension, scope, period, field)


@pytest.fixture
def reluctant(company: Company) -> Reluctant:
    """The company's series, from now on."""
    made = Reluctant()
    company.pipeline.store.series = made
    return made


def test_a_page_does_not_wait_for_a_server(
    company: Company, reluctant: Reluctant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the series do not answer the page says that it does not know; it asks no second time meanwhile; then it knows."""
    monkeypatch.setattr(board_health, "WAIT_S", 0.01)
    monkeypatch.setattr(board_health, "LOOK_S", 0.0)
    series, one = Series(company.pipeline.store), status()
    point = Point(one.kpi, one.dimension, one.scope, one.period, 77, "actual", 1.0)
    reluctant.write("day", [point])
    assert series.look(one).readable is None
    assert series.look(one).readable is None
    assert reluctant.questions == 1
    reluctant.go.set()
    until = time.monotonic() + 10
    while not (found := series.look(one)).readable:
        assert time.monotonic() < until
    assert (found.readable, found.newest_at, found.kind) == (True, 77, "SQLite")


@pytest.mark.parametrize("error", [PlanwatchError("http://x: InfluxDB does not answer."), RuntimeError("odd")])
def test_series_that_cannot_be_read_are_told(company: Company, reluctant: Reluctant, error: Exception) -> None:
    """Whatever goes wrong is on the page in words, and gone when it is over."""
    reluctant.go.set()
    reluctant.error = error
    view = company.pages.health()
    assert (view.series.readable, view.state) == (False, "missed")
    assert str(error) in view.series.problem


def test_series_are_looked_at_seldom(company: Company, reluctant: Reluctant) -> None:
    """Many pages cost one question."""
    reluctant.go.set()
    for _ in range(5):
        assert company.pages.health().series.readable
    assert reluctant.questions == 1


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((0, 0, 0, 0), "Ann: no deal is open."),
        ((0, 0, 1, 50), "Ann: the open deal does not need help."),
        ((0, 0, 12, 50), "Ann: none of the 12 open deals needs help."),
        ((1, 50, 1, 50), "Ann: the one open deal needs help, 50 USD, 100 % of the open pipeline."),
        ((1, 0, 2, 0), "Ann: 1 of 2 open deals needs help, 0 USD."),
    ],
)
def test_the_sentence_of_deals(numbers: tuple[int, int, int, int], sentence: str) -> None:
    """It reads well for none, one and many."""
    at_risk, amount, count, total = numbers
    assert risk_sentence("Ann", at_risk, Decimal(amount), count, Decimal(total), "USD") == sentence


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((0, 0, 0), "No source has said anything yet."),
        ((1, 1, 0), "The one input from one source was taken in."),
        ((1, 1, 1), "The one input from one source was refused."),
        ((1_200, 2, 0), "All 1,200 inputs from 2 sources were taken in."),
        ((2, 1, 1), "Of 2 inputs from one source 1 was taken in, 1 is in quarantine."),
    ],
)
def test_the_sentence_of_health(numbers: tuple[int, int, int], sentence: str) -> None:
    """It reads well for none, one and many."""
    assert health_sentence(*numbers) == sentence
