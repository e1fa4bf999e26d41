"""Records beside the series: names and places, plan curves, movement, deals, alerts, sources."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ingest.refusal_states import RefusalCounts
from planwatch.board_records import (
    RANKS,
    alert_records,
    curve_records,
    deal_records,
    landing_records,
    movement_records,
    refusal_records,
    scope_records,
    shortest_revenue,
    source_records,
    windows,
)
from processors.movement import BARS, SIGNS
from schemas.alert import Alert, SourceHealth
from schemas.change import event_digest
from schemas.status import TargetStatus
from storage.ports import Record
from tests.unit.alert_samples import MAY, status
from tests.unit.board_samples import DAY_US, Tenant, moment


def alert(name: str = "a", **changes: object) -> Alert:
    """An alert that fires."""
    return Alert.model_validate(
        {
            "id": name, "rule": "at_risk", "kind": "target_at_risk", "severity": "warning", "state": "firing",
            "subject": "Revenue 2017-Q2, Rep r1", "sentence": "It is at risk.", "dimension": "rep", "scope": "r1",
            "scope_name": "Rep r1", "period": "2017-Q2", "kpi": "revenue", "value": Decimal("0.2"),
            "threshold": Decimal("0.5"), "pending_at": MAY, "fired_at": MAY, "resolved_at": None, "updated_at": MAY,
            "recipient": "rep:r1", **changes,
        }
    )  # fmt: skip


def only(records: list[Record], **tags: str) -> Record:
    """The one record with these tags."""
    (found,) = [r for r in records if tags.items() <= r.tags.items()]
    return found


class TestScopes:
    """Names, and what belongs to what."""

    def test_the_tree(self) -> None:
        """Every scope has its name and, as an encoded tag, what it belongs to now; the company belongs to nothing."""
        tenant = Tenant().people()
        tenant.tell("2026-02-01T08:00", "account", "c1", name="Client", segment="Retail")
        tenant.tell("2026-02-01T08:00", "product", "p1", name="Product")
        tenant.tell("2026-02-02T08:00", "rep", "bob", team="ants", effective_from="2026-02-02")
        found = {
            (r.tags["dimension"], r.tags["scope"]): (r.fields["name"], r.fields["parent_dimension"], r.fields["parent"])
            for r in scope_records(tenant.state)
        }
        assert found == {
            ("company", ""): ("Acme Ltd", "", "-"),
            ("territory", "east"): ("The East", "company", "-"),
            ("team", "ants"): ("Ants", "territory", "east"),
            ("team", "bees"): ("Bees", "territory", "east"),
            ("rep", "ann"): ("Ann", "team", "ants"),
            ("rep", "bob"): ("Bob", "team", "ants"),
            ("rep", "zoe"): ("Zoe", "team", "-"),
            ("segment", "Retail"): ("Retail", "company", "-"),
            ("product", "p1"): ("Product", "company", "-"),
        }
        assert {(r.measurement, r.at) for r in scope_records(tenant.state)} == {("scope", 0)}

    def test_names_are_data(self) -> None:
        """The scope is the plain id, for the writer to encode; a parent is a field, so it is encoded here."""
        tenant = Tenant().tell("2026-02-01T08:00", "rep", 'a"b', team="x y|z")
        record = only(list(scope_records(tenant.state)), dimension="rep")
        assert record.tags["scope"] == 'a"b'
        assert (record.fields["name"], record.fields["parent"]) == ('a"b', "x y%7Cz")


class TestCurves:
    """The plan's curve and the landing at its end."""

    def test_every_day_of_the_running_period(self) -> None:
        """From nothing to the target, at local midnight of each day, future ones too; the first plan stands beside it."""
        tenant = Tenant().people()
        at = moment("2026-02-10T12:00")
        tenant.deal("2026-02-10T11:00", "d1", 1_000, "2026-03-01")
        records = list(curve_records(tenant.state, tenant.pipeline.found, tenant.pipeline.plan, at))
        company = [r for r in records if r.tags["dimension"] == "company"]
        assert [r.at for r in company] == [moment("2026-01-01") + n * DAY_US for n in range(90)]
        expected, baseline = ([float(r.fields[name]) for r in company] for name in ("expected", "baseline"))
        assert expected == sorted(expected)
        assert [expected[-1], baseline[-1]] == pytest.approx([1_000_000, 900_000])
        assert 0 <= expected[0] < 1_000_000 / 30
        assert {(r.tags["kpi"], r.tags["dimension"], r.tags["scope"], r.tags["period"]) for r in records} == {
            ("revenue", "company", "", "2026-Q1"),
            ("revenue", "rep", "ann", "2026-Q1"),
        }  # no ratio, and no period that does not run

    def test_before_a_revision(self) -> None:
        """Before its date a revision is unknown to the curve."""
        tenant = Tenant().deal("2026-01-20T11:00", "d1", 1_000, "2026-03-01")
        records = curve_records(tenant.state, tenant.pipeline.found, tenant.pipeline.plan, moment("2026-01-20T12:00"))
        assert float(list(records)[89].fields["expected"]) == pytest.approx(900_000)

    def test_landings_stand_at_the_last_day(self) -> None:
        """The quantiles at midnight of the period's last day; a target without a landing has none."""
        tenant = Tenant()
        known = status(period_end="2026-03-31")
        records = list(landing_records(tenant.state, [known, status(rep="r2", landing=None)]))
        assert records == [
            Record(
                "curve",
                {"kpi": "revenue", "dimension": "rep", "scope": "r1", "period": "2017-Q2"},
                {"landing_p10": 350_000.0, "landing_p50": 410_000.0, "landing_p90": 500_000.0},
                moment("2026-03-31"),
            )
        ]


class TestMovement:
    """What moved the pipeline in a window."""

    def test_windows_begin_at_local_midnights(self) -> None:
        """Today, a week ago, and the quarter's first day."""
        assert windows(Tenant().state, moment("2026-02-10T03:00")) == {
            "day": moment("2026-02-10"),
            "week": moment("2026-02-03"),
            "quarter": moment("2026-01-01"),
        }

    def test_bars_add_up(self) -> None:
        """In major units, of the company and of each team: opening and what came and went is closing."""
        tenant = Tenant().people()
        tenant.deal("2026-02-01T09:00", "old", 1_000, "2026-03-01")
        tenant.deal("2026-02-10T09:00", "new", 500, "2026-03-01", owner="bob")
        tenant.deal("2026-02-10T10:00", "old", 1_200, "2026-03-01")
        tenant.deal("2026-02-10T11:00", "new", 500, "2026-02-10", owner="bob", stage="Won")
        at = moment("2026-02-10T12:00")
        (company,) = movement_records(tenant.state, "day", None, at)
        moved = {name: value for name, value in company.fields.items() if value}
        assert moved == {"opening": 1_000.0, "created": 500.0, "increased": 200.0, "won": 500.0, "closing": 1_200.0}
        assert list(company.fields) == list(BARS)
        assert company.tags == {"dimension": "company", "scope": "", "period": "day"}
        assert company.at == moment("2026-02-10")
        teams = list(movement_records(tenant.state, "day", "team", at))
        assert {r.tags["scope"] for r in teams} == {"ants", "bees"}
        assert only(teams, scope="bees").fields["won"] == 500.0
        for record in (company, *teams):
            signed = sum(SIGNS.get(bar, 0) * float(record.fields[bar]) for bar in BARS)
            assert float(record.fields["opening"]) + signed == float(record.fields["closing"])

    def test_where_nothing_moves(self) -> None:
        """The company has bars of nothing, so that yesterday's do not stay; other dimensions have no scope to name."""
        tenant = Tenant()
        (company,) = movement_records(tenant.state, "week", None, moment("2026-02-10"))
        assert company.fields == dict.fromkeys(BARS, 0.0)
        assert list(movement_records(tenant.state, "week", "team", moment("2026-02-10"))) == []


class TestDeals:
    """The list of deals at risk."""

    def test_every_rank_is_written(self) -> None:
        """Deals take the first ranks; the others say that they are empty, so that a deal that is well again is gone."""
        tenant = Tenant().people()
        tenant.deal("2026-02-01T09:00", "late", 1_000, "2026-02-05", owner="bob", name="Late one", account="c1")
        tenant.deal("2026-02-01T09:00", "well", 900, "2026-03-05")
        tenant.tell("2026-02-01T09:00", "account", "c1", name="Client")
        tenant.deal("2026-02-10T09:00", "new", 500, "2026-03-01")
        records = list(deal_records(tenant.state, [], moment("2026-02-10T12:00")))
        assert [r.tags["rank"] for r in records] == [f"{n:02d}" for n in range(1, RANKS + 1)]
        assert {r.at for r in records} == {moment("2026-02-10")}
        first, *rest = records
        assert first.fields == {
            "active": True, "record_id": "late", "name": "Late one", "account": "Client", "rep": "bob", "rep_name": "Bob",
            "team": "bees", "territory": "east", "stage": "Offer", "amount": 1_000.0, "close_date": "2026-02-05",
            "age_days": 9, "slipped_times": 0, "effect": 0.0, "flags": "past its close date",
        }  # fmt: skip
        assert [r.fields for r in rest] == [{"active": False}] * (RANKS - 1)

    def test_no_more_than_there_are_ranks(self) -> None:
        """However many deals need help, the number of series is fixed."""
        tenant = Tenant()
        for n in range(RANKS + 5):
            tenant.deal("2026-02-01T09:00", f"d{n:02d}", 100 + n, "2026-02-02")
        tenant.deal("2026-02-10T09:00", "new", 1, "2026-03-01")
        records = list(deal_records(tenant.state, [], moment("2026-02-10T12:00")))
        assert len(records) == RANKS
        assert all(r.fields["active"] for r in records)
        assert records[0].fields["record_id"] == f"d{RANKS + 4:02d}"

    def test_the_shortest_running_target(self) -> None:
        """Of each scope the revenue target of the shortest period, whatever else it has."""
        year = status(period="2017", period_start="2017-01-01", period_end="2017-12-31")
        quarter, other = status(), status(kpi="win_rate", period_start="2017-06-01", period_end="2017-06-02")
        second = status(rep="r2", period="2017", period_start="2017-01-01", period_end="2017-12-31")
        found: dict[tuple[str, str], TargetStatus] = shortest_revenue([year, quarter, other, second])
        assert found == {("rep", "r1"): quarter, ("rep", "r2"): second}
        assert shortest_revenue([quarter, year]) == {("rep", "r1"): quarter}


class TestAlertsAndSources:
    """Alerts at the time at which they fired, sources at that of the machine."""

    def test_an_alert(self) -> None:
        """Everything that a list shows; times in milliseconds, 0 for one that has not come yet."""
        resolved = alert("b", scope="r2", state="resolved", resolved_at=MAY + 5_000_000)
        first, second = alert_records([alert("a"), alert("p", fired_at=None, state="pending"), resolved])
        assert first.tags == {
            "rule": "at_risk", "dimension": "rep", "scope": "r1", "kpi": "revenue", "period": "2017-Q2",
        }  # fmt: skip
        assert first.fields == {
            "id": "a", "state": "firing", "severity": "warning", "subject": "Revenue 2017-Q2, Rep r1",
            "sentence": "It is at risk.", "recipient": "rep:r1", "scope_name": "Rep r1", "fired_at": MAY // 1000,
            "resolved_at": 0,
        }  # fmt: skip
        assert (second.fields["id"], second.fields["resolved_at"]) == ("b", (MAY + 5_000_000) // 1000)

    def test_alerts_that_fire_together(self) -> None:
        """Each keeps a place of its own within the second, the same one whenever it is written."""
        names = [f"slip|{n}" for n in range(200)]
        records = list(alert_records(alert(name) for name in names))
        assert len({r.at for r in records}) == len(names)
        assert all(0 <= r.at - MAY < 1_000_000 for r in records)
        assert [r.at for r in alert_records(alert(name, state="resolved") for name in names)] == [r.at for r in records]
        assert records[3].at == MAY + event_digest("slip|3") % 1_000_000

    def test_sources_and_refusals(self) -> None:
        """Each source's account, its age by the tenant's own time and never below nothing; refusals by code."""
        heard = SourceHealth(
            source="crm", last_seen_at=100_000_000, received=9, applied=5, duplicate=2, stale=1, quarantined=1
        )
        ahead = SourceHealth(source="new", last_seen_at=300_000_000)
        first, second = source_records([heard, ahead], now=230_900_000, wall=777)
        assert (first.measurement, first.tags, first.at) == ("source", {"source": "crm"}, 777)
        assert first.fields == {
            "received": 9, "applied": 5, "duplicate": 2, "stale": 1, "quarantined": 1, "age_s": 130,
        }  # fmt: skip
        assert second.fields["age_s"] == 0
        assert list(
            refusal_records({("crm", "gap"): RefusalCounts(2, 5, 1), ("csv", "bad_row"): RefusalCounts(1)}, 777)
        ) == [
            Record(
                "refusal", {"source": "crm", "code": "gap"}, {"count": 3, "open": 2, "replayed": 5, "dropped": 1}, 777
            ),
            Record(
                "refusal",
                {"source": "csv", "code": "bad_row"},
                {"count": 1, "open": 1, "replayed": 0, "dropped": 0},
                777,
            ),
        ]
