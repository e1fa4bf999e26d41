"""A small invented company in InfluxDB: every measurement of the layout, written with the client, hostile names included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS

from storage.influx_names import encode_tag

TENANT = 'acme "east" | ${x}'
HOSTILE = 'Eve "O\'Neil" \\ ${tenant} |> drop() %41 `|` \n ü'
FIRST, LAST, TODAY = date(2017, 4, 1), date(2017, 6, 30), date(2017, 5, 24)
PERIOD = "2017-Q2"
NAMES = {
    ("company", ""): "Northwind Instruments",
    ("territory", "T-east"): "East",
    ("territory", "T-west"): "West",
    ("team", "M-1"): "Team One",
    ("team", "M-2"): "Team Two",
    ("rep", "R-1"): "Anna Snelling",
    ("rep", HOSTILE): "Eve | <b>Sons</b>\nand “daughters”",
}
PARENTS = {
    ("territory", "T-east"): ("company", ""),
    ("territory", "T-west"): ("company", ""),
    ("team", "M-1"): ("territory", "T-east"),
    ("team", "M-2"): ("territory", "T-west"),
    ("rep", "R-1"): ("team", "M-1"),
    ("rep", HOSTILE): ("team", "M-1"),
}
#: Scope → (target, actual on the newest day, landing p50, probability, status code, coverage).
STANDING = {
    ("company", ""): (12_000_000.0, 8_412_551.0, 11_200_000.0, 0.18, 2.0, 1.9),
    ("territory", "T-east"): (7_000_000.0, 5_000_000.0, 7_100_000.0, 0.62, 3.0, 2.5),
    ("territory", "T-west"): (5_000_000.0, 3_412_551.0, 4_100_000.0, 0.04, 2.0, 0.8),
    ("team", "M-1"): (7_000_000.0, 5_000_000.0, 7_100_000.0, 0.62, 3.0, 2.5),
    ("team", "M-2"): (5_000_000.0, 3_412_551.0, 4_100_000.0, 0.04, 2.0, 0.8),
    ("rep", "R-1"): (4_000_000.0, 4_100_000.0, 4_600_000.0, 1.0, 5.0, None),
    ("rep", HOSTILE): (3_000_000.0, 900_000.0, 2_500_000.0, 0.21, 2.0, 1.4),
}
BARS = {
    "opening": 10_000_000.0, "created": 1_200_000.0, "reopened": 0.0, "pulled_in": 300_000.0, "increased": 100_000.0,
    "moved_in": 0.0, "won": 900_000.0, "lost": 400_000.0, "deleted": 0.0, "pushed_out": 250_000.0, "decreased": 50_000.0,
    "moved_out": 0.0, "closing": 10_000_000.0,
}  # fmt: skip
FIRED = datetime(2017, 5, 20, 9, 30, tzinfo=UTC)
RESOLVED = datetime(2017, 5, 22, 8, 0, tzinfo=UTC)


def at(day: date) -> datetime:
    """Midnight of a day, UTC."""
    return datetime.combine(day, time(), UTC)


def write(client: InfluxDBClient, bucket: str, live_bucket: str, now: datetime) -> None:
    """Write it all; what belongs to the live bucket ends at `now`."""
    with client.write_api(write_options=SYNCHRONOUS) as writer:
        writer.write(bucket, record=list(day_points()))
        writer.write(live_bucket, record=list(live_points(now)))


def day_points() -> Iterator[Point]:
    """What stands in the bucket that is kept for good."""
    for (dimension, scope), standing in STANDING.items():
        yield from _target(dimension, scope, standing)
        yield from _curve(dimension, scope, standing[0])
        for window in ("day", "week", "quarter"):
            tags = {"dimension": dimension, "scope": scope, "period": window}
            yield _point("movement", tags, BARS, at(TODAY))
    yield from _scopes()
    yield from _deals()
    yield from _alerts()
    size = {"kpi": "average_deal_size", "dimension": "rep", "scope": HOSTILE, "period": PERIOD}
    yield _point("kpi", size, {"value": 700_000.0}, at(TODAY))


def _target(dimension: str, scope: str, standing: tuple[float | None, ...]) -> Iterator[Point]:
    target, actual, landing, probability, status, coverage = standing
    assert target
    assert actual
    assert landing
    days = (TODAY - FIRST).days
    for n in range(days + 1):
        done = actual * n / days
        fields = {
            "target": target, "actual": done, "expected": target * n / 90, "attainment": round(done / target, 4),
            "landing_p10": landing - 500_000, "landing_p50": landing, "landing_p90": landing + 500_000,
            "hit_probability": probability, "status": status if n == days else 3.0,
        }  # fmt: skip
        if coverage is not None or n < days:
            fields["coverage"] = coverage or 3.0
        tags = {"kpi": "revenue", "dimension": dimension, "scope": scope, "period": PERIOD}
        yield _point("target", tags, fields, at(FIRST + timedelta(days=n)))
    if dimension in ("company", "territory"):
        tags = {"kpi": "win_rate", "dimension": dimension, "scope": scope, "period": PERIOD}
        fields = {"target": 0.32, "actual": 0.3, "attainment": 0.9375, "hit_probability": 0.4, "status": 2.0}
        yield _point("target", tags, fields, at(TODAY))


def _curve(dimension: str, scope: str, target: float | None) -> Iterator[Point]:
    assert target
    for first, last, period in ((FIRST, LAST, PERIOD), (date(2017, 1, 1), date(2017, 12, 31), "2017")):
        days = (last - first).days
        for n in range(days + 1):
            fields = {"expected": target * (n + 1) / (days + 1), "baseline": 0.9 * target * (n + 1) / (days + 1)}
            tags = {"kpi": "revenue", "dimension": dimension, "scope": scope, "period": period}
            yield _point("curve", tags, fields, at(first + timedelta(days=n)))


def _scopes() -> Iterator[Point]:
    for (dimension, scope), name in NAMES.items():
        parent_dimension, parent = PARENTS.get((dimension, scope), ("", ""))
        fields = {
            "name": name,
            "parent": encode_tag(parent) if parent_dimension else "-",
            "parent_dimension": parent_dimension,
        }
        yield _point("scope", {"dimension": dimension, "scope": scope}, fields, datetime(1970, 1, 1, tzinfo=UTC))


def _deals() -> Iterator[Point]:
    rows = (
        (True, "Harbor Core", "R-1", "M-1", "T-east", 800_000.0, 0.02, "silent for 30 days", 0),
        (
            True,
            'Yard "A"\nutomation',
            HOSTILE,
            "M-1",
            "T-east",
            400_000.0,
            0.11,
            "past its close date, slipped 2 times",
            2,
        ),
        (True, "Insight", HOSTILE, "M-1", "T-east", 300_000.0, 0.05, "slipped 3 times", 3),
        (True, "West side", "R-9", "M-2", "T-west", 250_000.0, 0.3, "past its close date, slipped 2 times", 2),
        (False, "Gone", "R-1", "M-1", "T-east", 9e6, 0.9, "past its close date", 2),
    )
    for n, (active, name, rep, team, territory, amount, effect, flags, slipped) in enumerate(rows, 1):
        fields = {
            "active": active, "record_id": f"D-{n}", "name": name, "account": "Port & Co", "rep": encode_tag(rep),
            "rep_name": NAMES.get(("rep", rep), "Nobody"), "team": encode_tag(team),
            "territory": encode_tag(territory), "stage": "Proposal", "close_date": "2017-05-01", "amount": amount,
            "effect": effect, "age_days": 40, "slipped_times": slipped, "flags": flags,
        }  # fmt: skip
        yield _point("deal", {"rank": f"{n:02}"}, fields, at(TODAY))


def _alerts() -> Iterator[Point]:
    rows = (("company", "", "firing", 0), ("rep", HOSTILE, "resolved", _ms(RESOLVED)), ("team", "M-2", "firing", 0))
    for n, (dimension, scope, state, resolved_at) in enumerate(rows):
        fired = FIRED + timedelta(hours=n)
        tags = {"rule": "at_risk", "dimension": dimension, "scope": scope, "kpi": "revenue", "period": PERIOD}
        name = NAMES[dimension, scope]
        fields = {
            "id": f"at_risk|{dimension}|{scope}|{n}", "state": state, "severity": "critical", "subject": f"Revenue, {name}",
            "sentence": f"{name} is likely to miss Revenue {PERIOD}.", "scope_name": name,
            "recipient": "company" if dimension == "company" else f"{dimension}:{scope}",
            "fired_at": _ms(fired), "resolved_at": resolved_at,
        }  # fmt: skip
        yield _point("alert", tags, fields, fired)


def live_points(now: datetime) -> Iterator[Point]:
    """What stands in the live bucket: the last ten minutes."""
    for n in range(61):
        moment = now - timedelta(seconds=10 * (60 - n))
        for role, instance in (("worker", "w1"), ("worker", "w2"), ("bridge", "b1")):
            fields = {
                "events": 100.0 * n, "lag": float(60 - n), "fold_seconds": 0.01, "write_errors": 1.0, "ready": 1.0,
                "buffered_points": float(n % 7), "freshness_p50": 0.2, "freshness_p99": 0.9, "tenants": 4.0,
            }  # fmt: skip
            yield _point("health", {"role": role, "instance": instance}, fields, moment, tenant=None)
        for source, bad in (("salesforce", 3), (HOSTILE, 1)):
            fields = {
                "received": 10 * n + bad, "applied": 10 * n, "duplicate": 0, "stale": 0, "quarantined": bad, "age_s": 4,
            }  # fmt: skip
            yield _point("source", {"source": source}, fields, moment)
            yield _point(
                "refusal",
                {"source": source, "code": "bad_field"},
                {"count": bad, "open": bad, "dropped": 0, "replayed": 2},
                moment,
            )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _point(
    measurement: str, tags: Mapping[str, str], fields: Mapping[str, Any], moment: datetime, tenant: str | None = TENANT
) -> Point:
    point = Point(measurement).time(moment, WritePrecision.MS)
    if tenant is not None:
        point.tag("tenant", encode_tag(tenant))
    for name, value in tags.items():
        point.tag(name, encode_tag(value))
    for name, value in fields.items():
        point.field(name, value)
    return point
