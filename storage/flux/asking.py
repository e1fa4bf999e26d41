"""What the panels' queries are asked with, and the pieces of Flux that they share.

A query is made for Grafana, where names are variables and times are macros, or for a caller in Python, where both are
literals. Scopes are stored as encoded tags, so either kind stands safely between quotes.
"""

from __future__ import annotations

from typing import NamedTuple

from storage.flux import literal, time_literal
from storage.influx_names import encode_tag

#: When records about scopes are written: they have no time of their own.
EPOCH, AFTER_EPOCH = "1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"
#: Greater than any figure; Flux has no notation for exponents.
HUGE = "1000000000000000000000000.0"
#: How far back the newest word of a source or an instance is looked for; the live bucket keeps no more by default.
LIVE = "-7d"
#: An instance that has written nothing for so long is gone.
GONE_S = 60


class Variable(str):
    """The name of a dashboard variable of Grafana, whose value is an encoded tag."""

    __slots__ = ()


class Ask(NamedTuple):
    """What a query is asked with, every part a Flux expression."""

    bucket: str
    live_bucket: str
    tenant: str
    dimension: str
    scope: str
    period: str
    since: str  # the window of a movement
    start: str
    stop: str
    every: str  # the width of a window on the time axis
    currency: str  # the word after an amount in a sentence; "" for none


def ask(
    bucket: str,
    live_bucket: str,
    *,
    tenant: str,
    dimension: str = "company",
    scope: str = "",
    period: str = "",
    since: str = "week",
    start_us: int | None = None,
    stop_us: int | None = None,
    every_s: int | None = None,
    currency: str = "",
) -> Ask:
    """Names are plain texts, or a `Variable` of Grafana each. Times (microseconds UTC) that are not given are Grafana's."""
    return Ask(
        bucket=literal(bucket),
        live_bucket=literal(live_bucket),
        tenant=_name(tenant),
        dimension=_name(dimension),
        scope=_name(scope),
        period=_name(period),
        since=_name(since),
        start="v.timeRangeStart" if start_us is None else time_literal(start_us),
        stop="v.timeRangeStop" if stop_us is None else time_literal(stop_us),
        every="v.windowPeriod" if every_s is None else f"{every_s}s",
        currency=literal(f" {currency}" if currency else ""),
    )


def _name(name: str) -> str:
    return f'"${{{name}}}"' if isinstance(name, Variable) else literal(encode_tag(name))


#: 8.4 M, 842 k, 96: the first digits of an amount, as the web board writes it.
SHORT = """
short = (v) => {
  size = math.abs(x: v)
  tenths = (step) => string(v: math.round(x: size / step * 10.0) / 10.0)
  text = if size >= 999950000.0 then tenths(step: 1000000000.0) + " bn"
    else if size >= 999950.0 then tenths(step: 1000000.0) + " M"
    else if size >= 999.95 then tenths(step: 1000.0) + " k"
    else string(v: math.round(x: size))

  return if v < 0.0 then "\\u2212" + text else text
}
""".replace("\\u2212", "\u2212")


def targets(a: Ask, *conditions: str) -> str:
    """The newest state of each target up to `stop`: a row with its tags, its fields as columns, and `_time`.

    A field that is no longer known at that time (coverage, once the target is reached) is not taken from earlier.
    """
    where = " and ".join(('r._measurement == "target"', f"r.tenant == {a.tenant}", *conditions))
    return f"""from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: {a.stop})
  |> filter(fn: (r) => {where})
  |> last()
  |> pivot(rowKey: ["_time", "kpi", "dimension", "scope", "period"], columnKey: ["_field"], valueColumn: "_value")
  |> group(columns: ["kpi", "dimension", "scope", "period"])
  |> sort(columns: ["_time"])
  |> tail(n: 1)
  |> group()"""


def subject(a: Ask) -> tuple[str, str]:
    """The conditions that pick the scope that a board is about."""
    return f"r.dimension == {a.dimension}", f"r.scope == {a.scope}"


def headline(a: Ask) -> str:
    """The newest state of the revenue target of the board's scope and period."""
    return targets(a, 'r.kpi == "revenue"', *subject(a), f"r.period == {a.period}")


def scopes(a: Ask) -> str:
    """Every scope of the tenant: dimension, scope, name, parent, parent_dimension."""
    return f"""from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: {AFTER_EPOCH})
  |> filter(fn: (r) => r._measurement == "scope" and r.tenant == {a.tenant})
  |> pivot(rowKey: ["dimension", "scope"], columnKey: ["_field"], valueColumn: "_value")
  |> group()
  |> keep(columns: ["dimension", "scope", "name", "parent", "parent_dimension"])"""


def newest(stream: str, keys: str) -> str:
    """Fields as columns, and of each identity (a Flux list of columns) only its newest row."""
    return f"""{stream}
  |> last()
  |> pivot(rowKey: ["_time", {keys}], columnKey: ["_field"], valueColumn: "_value")
  |> group(columns: [{keys}])
  |> sort(columns: ["_time"])
  |> tail(n: 1)
  |> group()"""
