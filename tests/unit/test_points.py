"""Points are what queries say, under identities that hold whatever names people give."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from planwatch.points import NO_VALUE, STATUS_CODES, WHOLE, ValuePoints, minute_of, status_points
from processors.query import catalogue, query
from processors.state import State
from processors.totals import Key, Totals
from schemas.change import Change
from schemas.config import CalendarConfig, Config, ExchangeRate, Stage
from schemas.measures import Kpi, MeasureFile
from schemas.message import decode_changes, encode_changes
from storage.ports import Point
from tests.unit.alert_samples import status

JANUARY = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DAY_US = 86_400_000_000
CONFIG = Config(
    tenant="acme",
    currency="USD",
    stages=(Stage(name="Open", probability=37), Stage(name="Won", kind="won"), Stage(name="Lost", kind="lost")),
    rates=(ExchangeRate(currency="EUR", date="2025-01-01", rate=Decimal("1.07")),),
)
FOUND = catalogue()


class Company:
    """A tenant that is told things and gives the points that follow."""

    def __init__(self, config: Config = CONFIG, own: MeasureFile | None = None) -> None:
        self.found = catalogue(own)
        self.state = State(config)
        self.totals = Totals(self.state, self.found)
        self.values = ValuePoints(self.totals)
        self.told = 0

    def tell(self, *records: tuple[str, str, dict[str, Any]], op: str = "update") -> list[Point]:
        """Records as (entity, id, fields); the points at the bucket 60."""
        return self.values.of(self.moved(*records, op=op), 60)

    def moved(self, *records: tuple[str, str, dict[str, Any]], op: str = "update") -> set[Key]:
        """Records as (entity, id, fields); the totals that moved."""
        changes = []
        for entity, record_id, fields in records:
            self.told += 1
            changes.append(
                Change(
                    tenant="acme",
                    source="crm",
                    entity=entity,  # type: ignore[arg-type]
                    record_id=record_id,
                    op=op,  # type: ignore[arg-type]
                    version=self.told,
                    occurred_at=JANUARY + self.told,
                    event_id=f"e{self.told}",
                    fields=fields,
                )
            )
        return self.totals.apply(decode_changes(encode_changes(changes)))[1]

    def asked(self, point: Point) -> float | None:
        """What a query gives for the identity of a point."""
        period = None if point.period == WHOLE else self.state.calendar.parse_period(point.period)
        by = [] if point.dimension == "company" else [point.dimension]
        rows = query(self.state, self.found, point.kpi, by=by, periods=[period])
        (row,) = [row for row in rows if (row.scope.get(point.dimension) or "") == point.scope]
        return None if row.value is None else float(row.value)


def deal(record_id: str, stage: str, amount: int | str, close: str | None = "2026-02-03", **more: Any) -> Any:
    """A deal of the rep r1."""
    fields = {"stage": stage, "amount": amount, "owner": "r1", "created_date": "2025-12-05", **more}
    return "opportunity", record_id, {**fields, **({"close_date": close} if close else {})}


STORY = (
    ("rep", "r1", {"team": "T1"}),
    ("team", "T1", {"territory": "north"}),
    ("account", "a1", {"segment": "retail"}),
    deal("d1", "Open", "100.005", account="a1", product="p1", currency="EUR"),
    deal("d2", "Open", 70, close=None),
    deal("d3", "Won", "33.33", "2026-02-20", product="p1"),
    deal("d4", "Won", 10, "2026-03-31"),
    deal("d5", "Lost", "8.5", "2026-02-01", account="a1"),
    ("lead", "l1", {"created_date": "2026-02-02", "owner": "r1", "converted": True}),
    ("lead", "l2", {"created_date": "2026-02-02", "owner": "r1"}),
    ("spend", "s1", {"date": "2026-02-14", "amount": "12.34", "kind": "cost", "rep": "r1"}),
    ("spend", "s2", {"date": "2026-02-14", "amount": 5, "kind": "marketing", "territory": "north"}),
    ("traffic", "t1", {"date": "2026-02-14", "visits": 77}),
)
CALENDARS = [
    (CalendarConfig(), {"2025-12", "2025-Q4", "2025", "2026-02", "2026-03", "2026-Q1", "2026"}),
    (
        CalendarConfig(fiscal_year_start="02-01"),
        {"2025-12", "2026-Q4", "2026", "2026-02", "2026-03", "2027-Q1", "2027"},
    ),
    (
        CalendarConfig(pattern="4-4-5"),
        {"2025-P12", "2025-Q4", "2025", "2026-P02", "2026-P04", "2026-Q1", "2026-Q2", "2026"},
    ),
]


class TestValues:
    """Each moved total gives its month, quarter and year."""

    @pytest.mark.parametrize(("calendar", "labels"), CALENDARS)
    def test_every_period_of_every_kind(self, calendar: CalendarConfig, labels: set[str]) -> None:
        """Months, quarters, years and «all», in any calendar: sums and ratios are those of the query, as floats."""
        company = Company(CONFIG.model_copy(update={"calendar": calendar}))
        points = [point for point in company.tell(*STORY) if point.field == "value"]
        assert {point.period for point in points} == {*labels, WHOLE}
        for point in points:
            assert company.asked(point) == point.value, point

    def test_every_kpi_that_can_be_kept(self) -> None:
        """All but those that need the way of a deal or a cohort have points, for each dimension that they have."""
        points = Company().tell(*STORY)
        missing = FOUND.kpis.keys() - {point.kpi for point in points if point.dimension == "company"}
        computed = {"slipped", "slippage_rate", "stage_conversion", "new_customers", "cac"}
        assert missing == {*computed, "logo_retention", "gross_revenue_retention", "net_revenue_retention"}
        scopes = {(p.dimension, p.scope) for p in points if (p.kpi, p.period) == ("pipeline", "2026-02")}
        assert scopes == {
            ("company", ""),
            ("territory", "north"),
            ("team", "T1"),
            ("rep", "r1"),
            ("segment", "retail"),
            ("product", "p1"),
        }

    def test_figures_by_hand(self) -> None:
        """Euros at their rate, each deal rounded once, half to even; a probability of 37 %."""
        points = Company().tell(*STORY)
        at = {(p.kpi, p.period): p.value for p in points if p.dimension == "company" and p.field == "value"}
        assert at["pipeline", "2026-02"] == 107.01
        assert at["pipeline", WHOLE] == 177.01
        assert at["weighted_pipeline", WHOLE] == 65.49
        assert at["open_deals", WHOLE] == 2.0
        assert at["revenue", "2026-Q1"] == 43.33
        assert at["win_rate", "2026-Q1"] == 0.666667
        assert at["win_rate", "2026-03"] == 1.0
        assert ("win_rate", WHOLE) not in at, "only what is open counts whenever it may close"
        assert at["average_deal_size", "2026"] == 21.66
        assert at["gross_margin", "2026-02"] == round(float(Fraction(3333 - 1234, 3333)), 6)
        assert at["social_traffic", "2026"] == 77.0

    @pytest.mark.parametrize(("currency", "amount", "value"), [("JPY", 1234, 1234.0), ("KWD", "1.2345", 1.234)])
    def test_minor_units_of_every_size(self, currency: str, amount: int | str, value: float) -> None:
        """Yen have no minor unit, dinars have thousandths."""
        company = Company(CONFIG.model_copy(update={"currency": currency, "rates": ()}))
        points = company.tell(deal("d1", "Won", amount))
        assert {p.value for p in points if p.kpi == "revenue"} == {value}

    @pytest.mark.parametrize("cents", [1, 10, 29, 57, 58, 1_005, 10**11 + 1, 2**53 - 1])
    def test_floats_are_the_nearest(self, cents: int) -> None:
        """A sum of cents as a float is the one that its decimal text reads as."""
        points = Company().tell(deal("d1", "Won", f"{cents // 100}.{cents % 100:02d}"))
        assert {p.value for p in points if p.kpi == "revenue"} == {float(f"{cents // 100}.{cents % 100:02d}")}

    def test_nothing_moved_nothing_written(self) -> None:
        """A repeat and a change of no account give no point."""
        company = Company()
        company.tell(*STORY)
        assert company.tell(("opportunity", "d1", {"name": "Another name"})) == []
        assert company.values.of(set(), 60) == []

    def test_only_what_moved(self) -> None:
        """A deal that is won moves pipeline and revenue of its month and not that of others."""
        company = Company()
        company.tell(*STORY)
        points = company.tell(("opportunity", "d1", {"stage": "Won"}))
        assert {p.period for p in points} == {"2026-02", "2026-Q1", "2026", WHOLE}
        assert {p.period for p in points if p.kpi == "revenue"} == {"2026-02", "2026-Q1", "2026"}
        assert "leads" not in {p.kpi for p in points}

    def test_an_amount_goes_back_to_zero(self) -> None:
        """What is no more is 0, and not what it was."""
        company = Company()
        company.tell(*STORY)
        points = company.tell(("opportunity", "d1", {}), op="delete")
        at = {(p.kpi, p.dimension, p.period): p.value for p in points if p.field == "value"}
        assert at["pipeline", "company", "2026-02"] == at["open_deals", "rep", "2026-02"] == 0.0
        assert at["pipeline", "company", WHOLE] == 70.0

    def test_a_ratio_without_a_value_says_so(self) -> None:
        """No number stands for it; the point beside says that there is none, until there is one again."""
        company = Company()
        company.tell(deal("d1", "Won", 5))
        for stage, expected in (("Open", {NO_VALUE: 1.0}), ("Lost", {NO_VALUE: 0.0, "value": 0.0})):
            points = company.tell(("opportunity", "d1", {"stage": stage}))
            rates = {p.field: p.value for p in points if (p.kpi, p.dimension, p.period) == ("win_rate", "rep", "2026")}
            assert rates == expected

    def test_records_that_have_no_scope(self) -> None:
        """What belongs to no team is a scope without a name."""
        points = Company().tell(deal("d1", "Won", 5))
        assert {(p.scope, p.value) for p in points if (p.kpi, p.dimension) == ("revenue", "team")} == {("", 5.0)}

    @pytest.mark.parametrize(
        "name", ["a,b", "x=y", 'q"', "'", "\\", "a b", "\n", "é", "日本", "-", "all", "company", "0"]
    )
    def test_names_are_data(self, name: str) -> None:
        """Scopes pass through as they are, however hostile."""
        points = Company().tell(
            ("rep", name, {"team": name}),
            ("team", name, {"territory": name}),
            deal("d1", "Won", 5, owner=name, product=name),
        )
        for dim in ("rep", "team", "territory", "product"):
            assert {p.scope for p in points if p.dimension == dim} == {name}

    def test_kpis_of_the_user(self) -> None:
        """A KPI over measures of both kinds, with constants, is kept like ours."""
        own = MeasureFile(
            kpis={
                "double": Kpi(title="Double", unit="money", expression="won_amount * 2"),
                "net": Kpi(title="Net", unit="money", expression="won_amount - cost", additive=True),
                "share": Kpi(title="Share", unit="days", expression="(won_count + 1) / 3"),
                "mixed": Kpi(title="Mixed", unit="money", expression="cost / new_customers"),
            }
        )
        company = Company(own=own)
        points = [point for point in company.tell(*STORY) if point.kpi in own.kpis and point.field == "value"]
        assert {point.kpi for point in points} == {"double", "net", "share"}
        for point in points:
            assert company.asked(point) == point.value, point
        assert {p.value for p in points if (p.kpi, p.dimension, p.period) == ("share", "company", "2026-Q1")} == {1.0}

    def test_an_amount_beyond_floats_is_near(self) -> None:
        """The largest sums lose their cents and nothing else."""
        points = Company().tell(*(deal(f"d{i}", "Won", 9_000_000_000_000) for i in range(9)))
        assert {p.value for p in points if p.kpi == "revenue"} == {81_000_000_000_000.0}


class TestStatuses:
    """Every known figure of a target is a field."""

    def test_all_figures(self) -> None:
        """Under the target's identity, at the bucket."""
        points = status_points([status("0.25")], 120)
        assert {point[:5] for point in points} == {("revenue", "rep", "r1", "2017-Q2", 120)}
        assert {point.field: point.value for point in points if point.value} == {
            "target": 550_000.0,
            "actual": 210_000.0,
            "expected": 300_000.0,
            "attainment": 0.38,
            "coverage": 1.2,
            "hit_probability": 0.25,
            "landing_p10": 350_000.0,
            "landing_p50": 410_000.0,
            "landing_p90": 500_000.0,
            "status": STATUS_CODES["at_risk"],
        }

    def test_what_is_not_known_has_no_number(self) -> None:
        """Of a target without data there are the target and the status; a missing figure is never 0."""
        bare = dict.fromkeys(("actual", "expected", "attainment", "coverage", "landing", "gap"))
        points = status_points([status(None, **bare)], 0)
        figures = {point.field: point.value for point in points}
        assert (figures["target"], figures["status"]) == (550_000.0, STATUS_CODES["no_data"])
        assert not figures.keys() & {"actual", "expected", "attainment", "coverage", "hit_probability", "landing_p50"}

    def test_a_figure_of_zero_is_known(self) -> None:
        """Nothing sold yet is a figure."""
        figures = {p.field: p.value for p in status_points([status("0", actual=Decimal(0))], 0)}
        assert (figures["actual"], figures["hit_probability"]) == (0.0, 0.0)

    def test_worse_is_lower(self) -> None:
        """States as numbers keep their order."""
        order = ["no_data", "missed", "at_risk", "on_track", "ahead", "hit"]
        assert sorted(STATUS_CODES, key=lambda state: STATUS_CODES[state]) == order

    @pytest.mark.parametrize(("at", "minute"), [(0, 0), (59_999_999, 0), (60_000_000, 60_000_000), (-1, -60_000_000)])
    def test_minutes(self, at: int, minute: int) -> None:
        """A minute begins at its start, before 1970 too."""
        assert minute_of(at) == minute
