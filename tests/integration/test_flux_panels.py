"""Every Flux query of every panel and variable, as Grafana sends it, on a real InfluxDB."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from influxdb_client import InfluxDBClient

from boards.grafana_dashboards import DashboardSettings
from planwatch.native_servers import InfluxServer
from storage.flux.panels import QUERIES, VARIABLES, Ask, ask
from storage.influx_names import decode_tag
from tests import panel_points as points
from tests.grafana_queries import Rows, macros, queries, rows, run_all

Buckets = tuple[str, str]
START, STOP = datetime(2017, 4, 1, tzinfo=UTC), datetime(2017, 7, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def client(influx: InfluxServer) -> Iterator[InfluxDBClient]:
    """A client that may do everything."""
    with InfluxDBClient(influx.url, influx.admin_token, org=influx.org, timeout=60_000) as made:
        yield made


@pytest.fixture(scope="module")
def buckets(client: InfluxDBClient) -> Iterator[Buckets]:
    """The invented company in two buckets of its own."""
    names = ("panels_day", "panels_live")
    api = client.buckets_api()
    made = [api.create_bucket(bucket_name=name) for name in names]
    points.write(client, *names, now=datetime.now(UTC))
    yield names
    for bucket in made:
        api.delete_bucket(bucket)


@pytest.fixture(scope="module")
def everything(client: InfluxDBClient, buckets: Buckets) -> dict[str, Rows]:
    """What all boards show, looking at the hostile rep."""
    return run_all(client, buckets, _values())


def _values(**changes: str | datetime) -> dict[str, str | datetime]:
    values: dict[str, str | datetime] = {
        "tenant": points.TENANT, "period": points.PERIOD, "since": "week", "dimension": "territory", "scope": "T-east",
        "rep": points.HOSTILE, "start": START, "stop": STOP,
    }  # fmt: skip
    return values | changes


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _asked(buckets: Buckets, stop: datetime = STOP, **names: str) -> Ask:
    fields: dict[str, Any] = {"tenant": points.TENANT, "period": points.PERIOD, "currency": "USD", **names}
    return ask(*buckets, start_us=_us(START), stop_us=_us(stop), every_s=60, **fields)


def test_every_query_returns_rows(everything: dict[str, Rows]) -> None:
    """No query of any panel or variable of the five dashboards fails or comes back empty."""
    names = {query.name for query in queries(DashboardSettings())}
    assert set(everything) == names
    assert len(names) > 50
    assert [name for name, found in everything.items() if not found] == []


def test_the_company_in_figures(client: InfluxDBClient, buckets: Buckets) -> None:
    """The newest figures are those that were written last."""
    target, actual, landing, likely, status, coverage = points.STANDING["company", ""]
    (found,) = rows(client, QUERIES["figures"](_asked(buckets)))
    assert found == {
        "status": status, "actual": actual, "expected": pytest.approx(target * 53 / 90), "target": target,
        "landing": landing, "landing_low": landing - 500_000, "landing_high": landing + 500_000, "likely": likely,
        "gap": target - actual, "coverage": coverage, "attainment": pytest.approx(actual / target, abs=1e-4),
    }  # fmt: skip
    (said,) = rows(client, QUERIES["sentence"](_asked(buckets)))
    words = "Revenue 2017-Q2: 8.4 M of 12 M USD. Landing 11.2 M (10.7 M to 11.7 M), 18 % likely to hit."
    assert said == {"sentence": words}


def test_a_reached_target_has_no_coverage(client: InfluxDBClient, buckets: Buckets) -> None:
    """What is no longer known is not taken from an earlier day, and the sentence says that the target is hit."""
    asked = _asked(buckets, dimension="rep", scope="R-1")
    (found,) = rows(client, QUERIES["figures"](asked))
    assert found["coverage"] is None
    assert found["actual"] == 4_100_000
    (said,) = rows(client, QUERIES["sentence"](asked))
    assert said["sentence"] == "Revenue 2017-Q2: 4.1 M of 4 M USD. Target hit."
    (gap,) = rows(client, QUERIES["gap_words"](asked))
    assert gap["sentence"] == "The target is reached."


def test_a_look_at_the_past(client: InfluxDBClient, buckets: Buckets) -> None:
    """With an earlier end of the time range the figures, the cone and the alerts are those of then."""
    then = datetime(2017, 5, 21, tzinfo=UTC)
    actual = points.STANDING["company", ""][1]
    assert actual
    (found,) = rows(client, QUERIES["figures"](_asked(buckets, then)))
    assert found["actual"] == pytest.approx(actual * 49 / 53)
    cone = [r for r in rows(client, QUERIES["burnup"](_asked(buckets, then))) if r.get("landing") is not None]
    assert [r["day"].date().isoformat() for r in cone] == ["2017-05-20", "2017-06-30"]
    assert {r["state"] for r in rows(client, QUERIES["alerts"](_asked(buckets, then)))} == {"firing"}
    assert {r["state"] for r in rows(client, QUERIES["alerts"](_asked(buckets)))} == {"firing", "resolved"}


def test_the_burn_up(client: InfluxDBClient, buckets: Buckets) -> None:
    """Actual ends today, the plan goes on to the target, the cone goes from today's actual to the landing at the end."""
    target, actual, landing = points.STANDING["company", ""][:3]
    found = {r["day"].date(): r for r in rows(client, QUERIES["burnup"](_asked(buckets)))}
    assert list(found) == sorted(found)
    assert (min(found), max(found)) == (points.FIRST, points.LAST)
    today, last = found[points.TODAY], found[points.LAST]
    assert today["actual"] == today["landing_low"] == today["landing"] == today["landing_high"] == actual
    assert max(day for day, r in found.items() if r["actual"] is not None) == points.TODAY
    assert (last["landing_low"], last["landing"], last["landing_high"]) == (landing - 5e5, landing, landing + 5e5)
    assert last["expected"] == last["target"] == found[points.FIRST]["target"] == target
    assert last["baseline"] == pytest.approx(0.9 * target)


def test_rows_are_sorted_by_what_is_at_stake(client: InfluxDBClient, buckets: Buckets) -> None:
    """Territories by gap × improbability; members of a territory are its teams, of a team its reps, with their names."""
    territories = rows(client, QUERIES["territories"](_asked(buckets)))
    assert [(r["name"], r["stake"]) for r in territories] == [("West", pytest.approx(864_000)), ("East", 0)]
    teams = rows(client, QUERIES["members"](_asked(buckets, dimension="territory", scope="T-east")))
    assert [(r["name"], r["dimension"], r["board"]) for r in teams] == [("Team One", "team", "planwatch-territory")]
    reps = rows(client, QUERIES["members"](_asked(buckets, dimension="team", scope="M-1")))
    assert [decode_tag(r["scope"]) for r in reps] == [points.HOSTILE, "R-1"]
    assert {r["board"] for r in reps} == {"planwatch-rep"}
    days = rows(client, QUERIES["members_over_time"](_asked(buckets, dimension="team", scope="M-1")))
    newest = {decode_tag(r["scope"]): r["_value"] for r in days if r["_time"].date() == points.TODAY}
    assert newest == {"R-1": 5.0, points.HOSTILE: 2.0}


def test_the_waterfall_adds_up(client: InfluxDBClient, buckets: Buckets) -> None:
    """Every bar stands where the one before ended; bars that moved nothing are left out; amounts have their signs."""
    for since in ("day", "week", "quarter"):
        found = rows(client, QUERIES["movement"](_asked(buckets, since=since)))
        opening, *moves, closing = found
        assert opening["amount"] + sum(r["amount"] for r in moves) == closing["amount"] == points.BARS["closing"]
        level = opening["total"]
        for r in moves:
            begin, end = (r["base"], r["base"] + r["adds"]) if r["adds"] else (r["base"] + r["takes"], r["base"])
            assert begin == pytest.approx(level)
            level = end
        assert level == pytest.approx(closing["total"])
        assert len(moves) == sum(1 for name, value in points.BARS.items() if value) - 2
        assert opening["bar"] == "Opening  10 M (bars begin at 9.4 M)"
        assert found[1]["bar"] == "Created  +1.2 M"
        assert closing["bar"] == "Closing  10 M"


def test_deals(client: InfluxDBClient, buckets: Buckets) -> None:
    """Sorted by effect, empty ranks left out; a rep's list names no rep."""
    found = rows(client, QUERIES["deals_at_risk"](_asked(buckets)))
    assert [r["effect"] for r in found] == [0.3, 0.11, 0.05, 0.02]
    assert [r["name"].replace("\r\n", "\n") for r in found[:2]] == ["West side", 'Yard "A"\nutomation']
    assert decode_tag(found[1]["rep"]) == points.HOSTILE
    (total,) = rows(client, QUERIES["deals_figures"](_asked(buckets)))
    assert total == {"deals": 4, "amount": 1_750_000.0, "past": 2, "slipped": 3, "silent": 1}
    mine = rows(client, QUERIES["my_deals"](_asked(buckets, dimension="rep", scope=points.HOSTILE)))
    assert [r["amount"] for r in mine] == [400_000, 300_000]
    assert not {"rep", "rep_name", "team", "territory"} & set(mine[0])
    east = rows(client, QUERIES["members_deals"](_asked(buckets, dimension="territory", scope="T-east")))
    west = rows(client, QUERIES["members_deals"](_asked(buckets, dimension="team", scope="M-2")))
    assert (len(east), len(west)) == (3, 1)


def test_alerts(client: InfluxDBClient, buckets: Buckets) -> None:
    """What is open first, then the newest; a territory's board has those of everybody in it, a rep's only the rep's."""
    found = rows(client, QUERIES["alerts"](_asked(buckets)))
    assert [(r["state"], r["owner"]) for r in found[:2]] == [("firing", "Team Two (team)"), ("firing", "company")]
    assert found[2]["lasted_s"] == (points.RESOLVED - points.FIRED - timedelta(hours=1)).total_seconds()
    east = rows(client, QUERIES["alerts_inside"](_asked(buckets, dimension="territory", scope="T-east")))
    west = rows(client, QUERIES["alerts_inside"](_asked(buckets, dimension="territory", scope="T-west")))
    team = rows(client, QUERIES["alerts_inside"](_asked(buckets, dimension="team", scope="M-1")))
    assert [r["state"] for r in east] == [r["state"] for r in team] == ["resolved"]
    assert [r["subject"] for r in west] == ["Revenue, Team Two"]
    mine = rows(client, QUERIES["my_alerts"](_asked(buckets, dimension="rep", scope=points.HOSTILE)))
    assert mine == east
    assert rows(client, QUERIES["my_alerts"](_asked(buckets, dimension="rep", scope="R-1"))) == []


def test_trust_and_health(everything: dict[str, Rows], client: InfluxDBClient, buckets: Buckets) -> None:
    """Ages grow with the clock; received = applied + duplicate + stale + quarantined; instances are told apart."""
    (trust,) = rows(client, QUERIES["trust"](_asked(buckets)))
    assert (trust["sources"], trust["received"], trust["quarantined"]) == (2, 1204, 4)
    assert 4 <= trust["age"] < 300
    for r in rows(client, QUERIES["sources"](_asked(buckets))):
        assert r["received"] == r["applied"] + r["duplicate"] + r["stale"] + r["quarantined"]
    refused = rows(client, QUERIES["refusals"](_asked(buckets)))
    assert [(r["count"], r["code"]) for r in refused] == [(3, "bad_field"), (1, "bad_field")]
    assert {r["instance"] for r in rows(client, QUERIES["instances"](_asked(buckets)))} == {"w1", "w2", "b1"}
    (as_of,) = rows(client, QUERIES["as_of"](_asked(buckets)))
    assert as_of["as_of"] == int(points.at(points.TODAY).timestamp() * 1000)
    events = next(found for name, found in everything.items() if name.endswith("Changes a second"))
    steady = events[len(events) // 2]
    assert (steady["worker"], steady["bridge"]) == (pytest.approx(20, rel=0.6), pytest.approx(10, rel=0.6))


def test_variables_offer_names(client: InfluxDBClient, buckets: Buckets, everything: dict[str, Rows]) -> None:
    """Menus show names on one line and carry encoded ids; the period to begin with holds the newest figures."""
    assert [r["value"].split("|")[0] for r in everything["leadership.variable.tenant"]] == ["Northwind Instruments"]
    assert [r["value"] for r in everything["leadership.variable.period"]] == ["2017-Q2", "2017"]
    reps = [r["value"].rsplit("|", 1) for r in everything["rep.variable.rep"]]
    assert {decode_tag(value) for _, value in reps} == {"R-1", points.HOSTILE}
    assert all(text.isprintable() and "|" not in text for text, _ in reps)
    teams = rows(client, VARIABLES["scope"](_asked(buckets, dimension="team")))
    assert [r["value"] for r in teams] == ["Team One|M-1", "Team Two|M-2"]


def test_nobody_elses_rows(client: InfluxDBClient, buckets: Buckets) -> None:
    """Another tenant, an unknown scope and a name made of Flux find nothing and break nothing."""
    away = run_all(client, buckets, _values(tenant="nobody", rep='" or true or r.x == "', scope="${tenant}"))
    shared = {name for name in away if name.startswith("health.") or name.endswith(".tenant")}
    assert {name for name, found in away.items() if found} <= shared


def test_a_new_tenant_sees_no_errors(client: InfluxDBClient) -> None:
    """With empty buckets every query gives no row instead of failing."""
    api = client.buckets_api()
    made = [api.create_bucket(bucket_name=name) for name in ("panels_none", "panels_none_live")]
    try:
        found = run_all(client, ("panels_none", "panels_none_live"), _values())
        assert {name: r for name, r in found.items() if r} == {}
    finally:
        for bucket in made:
            api.delete_bucket(bucket)


def test_macros_are_put_in_as_grafana_does() -> None:
    """The helper replaces time range and window, and leaves everything else alone."""
    text = macros("range(start: v.timeRangeStart, stop: v.timeRangeStop) every: v.windowPeriod r.scope", START, STOP)
    assert text == "range(start: 2017-04-01T00:00:00Z, stop: 2017-07-01T00:00:00Z) every: 30s r.scope"
