"""Every Flux query of every panel and of every variable, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from storage.flux import panel_health, panel_records, panel_targets
from storage.flux.asking import AFTER_EPOCH, EPOCH, Ask, Variable, ask, scopes

__all__ = ["QUERIES", "VARIABLES", "Ask", "Query", "Variable", "ask"]

Query = Callable[[Ask], str]

QUERIES: Mapping[str, Query] = {
    "sentence": panel_targets.sentence,
    "figures": panel_targets.figures,
    "gap_words": panel_targets.gap_words,
    "burnup": panel_targets.burnup,
    "territories": panel_targets.territories,
    "territories_over_time": panel_targets.territories_over_time,
    "members": panel_targets.members,
    "members_over_time": panel_targets.members_over_time,
    "other_targets": panel_targets.other_targets,
    "periods": panel_targets.periods,
    "movement": panel_records.movement,
    "deals_at_risk": panel_records.deals_at_risk,
    "deals_figures": panel_records.deals_figures,
    "members_deals": panel_records.members_deals,
    "my_deals": panel_records.my_deals,
    "alerts": panel_records.alerts,
    "alerts_inside": panel_records.alerts_inside,
    "my_alerts": panel_records.my_alerts,
    "trust": panel_health.trust,
    "as_of": panel_health.as_of,
    "sources": panel_health.sources,
    "refusals": panel_health.refusals,
    "instances": panel_health.instances,
    "health_figures": panel_health.health_figures,
    "events": panel_health.events,
    "lag": panel_health.lag,
    "freshness": panel_health.freshness,
    "writing": panel_health.writing,
}


def tenants(a: Ask) -> str:
    """`Name|tenant` of each tenant that has a company, by name."""
    return f"""import "regexp"

from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: {AFTER_EPOCH})
  |> filter(fn: (r) => r._measurement == "scope" and r.dimension == "company" and r._field == "name")
  |> group()
  |> map(fn: (r) => ({{value: {_shown("r._value")} + "|" + r.tenant}}))
  |> sort(columns: ["value"])"""


def named_scopes(a: Ask) -> str:
    """`Name|scope` of each scope of the asked dimension, by name."""
    return f"""import "regexp"

{scopes(a)}
  |> filter(fn: (r) => r.dimension == {a.dimension})
  |> map(fn: (r) => ({{value: {_shown("r.name")} + "|" + r.scope}}))
  |> sort(columns: ["value"])"""


def period_names(a: Ask) -> str:
    """The periods with a target, the best to begin with first: the shortest that holds the newest figures."""
    return f"""days = from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: 2200-01-01T00:00:00Z)
  |> filter(fn: (r) => r._measurement == "curve" and r.tenant == {a.tenant} and r.kpi == "revenue" and r._field == "expected")
begins = days |> first() |> group() |> group(columns: ["period"]) |> min(column: "_time") |> group()
  |> map(fn: (r) => ({{period: r.period, first: int(v: r._time)}}))
ends = days |> last() |> group() |> group(columns: ["period"]) |> max(column: "_time") |> group()
  |> map(fn: (r) => ({{k: "k", period: r.period, last: int(v: r._time)}}))
newest = from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: 2200-01-01T00:00:00Z)
  |> filter(fn: (r) => r._measurement == "target" and r.tenant == {a.tenant} and r.kpi == "revenue" and r._field == "target")
  |> last()
  |> group()
  |> max(column: "_time")
  |> map(fn: (r) => ({{k: "k", now: int(v: r._time)}}))
bounds = join(tables: {{begins: begins, ends: ends}}, on: ["period"])

join(tables: {{bounds: bounds, newest: newest}}, on: ["k"])
  |> map(fn: (r) => ({{r with over: if r.first <= r.now and r.now <= r.last then 0 else 1}}))
  |> map(fn: (r) => ({{r with end: if r.over == 0 then 0 else -r.last, length: r.last - r.first}}))
  |> sort(columns: ["over", "end", "length", "period"])
  |> map(fn: (r) => ({{value: r.period}}))"""


#: A variable's name → its query. Grafana splits `Name|value` by a regular expression; a name cannot hold the bar itself.
VARIABLES: Mapping[str, Query] = {
    "tenant": tenants,
    "period": period_names,
    "scope": named_scopes,
    "rep": named_scopes,
}


def _shown(name: str) -> str:
    """A name as a menu shows it: without the bar that splits, and on one line."""
    return f'regexp.replaceAllString(r: /[|\\p{{Cc}}\\p{{Zl}}\\p{{Zp}}]+/, v: {name}, t: " ")'
