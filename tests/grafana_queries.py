"""Runs every query of every dashboard as Grafana would send it: variables and macros put in as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from influxdb_client import InfluxDBClient

from boards.grafana_dashboards import DashboardSettings, dashboards
from storage.influx_names import encode_tag

Rows = list[dict[str, Any]]
_VARIABLE = re.compile(r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}")
_MACRO = re.compile(r"([a-zA-Z]+)\.([a-zA-Z]+)")


class Query(NamedTuple):
    """A query in a dashboard: `leadership.burnup`, `rep.variable.rep`."""

    name: str
    text: str
    wall_clock: bool


def queries(settings: DashboardSettings) -> Iterator[Query]:
    """Every query of every panel and variable of the five dashboards, as their JSON has it."""
    for uid, made in dashboards(settings).items():
        board = uid.removeprefix("planwatch-")
        live = made["time"]["to"] == "now"
        for variable in made["templating"]["list"]:
            if variable["type"] == "query":
                yield Query(f"{board}.variable.{variable['name']}", variable["query"], live)
        for panel in made["panels"]:
            for target in panel.get("targets", []):
                yield Query(f"{board}.{panel['id']} {panel['title']}", target["query"], live)


def run_all(client: InfluxDBClient, buckets: tuple[str, str], values: Mapping[str, str | datetime]) -> dict[str, Rows]:
    """The rows of every panel and variable.

    `buckets`: daily and live. `values`: plain texts of the variables that the boards have (tenant, period, since,
    dimension, scope, rep) and, as datetimes, `start` and `stop` of the time range; the health board shows the last hour.
    """
    found: dict[str, Rows] = {}
    for query in queries(DashboardSettings(bucket=buckets[0], live_bucket=buckets[1])):
        found.setdefault(query.name, []).extend(rows(client, as_sent(query, values)))
    return found


def rows(client: InfluxDBClient, flux: str) -> Rows:
    """What a query gives."""
    tables = client.query_api().query(flux)
    return [{k: v for k, v in r.values.items() if k not in ("result", "table")} for t in tables for r in t.records]


def as_sent(query: Query, values: Mapping[str, str | datetime]) -> str:
    """The text that reaches InfluxDB. Raises KeyError for a variable that has no value."""
    now = datetime.now(UTC)
    start, stop = (now - timedelta(hours=1), now) if query.wall_clock else (values["start"], values["stop"])
    assert isinstance(start, datetime)
    assert isinstance(stop, datetime)
    names = {name: encode_tag(text) for name, text in values.items() if isinstance(text, str)}
    return macros(
        _VARIABLE.sub(lambda found: names[next(n for n in found.group(1, 2, 4) if n)], query.text), start, stop
    )


def macros(flux: str, start: datetime, stop: datetime) -> str:
    """What Grafana's server puts into Flux: the time range and the width of a window."""
    texts = {
        "timeRangeStart": start.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "timeRangeStop": stop.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "windowPeriod": "30s",
    }
    for whole, name in {(found[0], found[2]) for found in _MACRO.finditer(flux)}:
        if name in texts:
            flux = flux.replace(whole, texts[name])
    return flux
