"""Flux for panels about targets: how it stands, where, over time, and by which day."""

from __future__ import annotations

from storage.flux.asking import EPOCH, SHORT, Ask, headline, scopes, subject, targets

_FIGURES = """
  |> map(fn: (r) => ({
      status: r.status,
      actual: r.actual,
      expected: r.expected,
      target: r.target,
      landing: r.landing_p50,
      landing_low: r.landing_p10,
      landing_high: r.landing_p90,
      likely: r.hit_probability,
      gap: r.target - r.actual,
      coverage: if r.actual < r.target then r.coverage else debug.null(type: "float"),
      attainment: r.attainment,
    }))"""

_ROW = """
  |> map(fn: (r) => ({
      scope: r.scope,
      dimension: r.dimension,
      board: if r.dimension == "rep" then "planwatch-rep" else "planwatch-territory",
      name: r.name,
      status: r.status,
      attainment: r.attainment,
      actual: r.actual,
      expected: r.expected,
      target: r.target,
      landing: r.landing_p50,
      landing_low: r.landing_p10,
      landing_high: r.landing_p90,
      likely: r.hit_probability,
      coverage: if r.actual < r.target then r.coverage else debug.null(type: "float"),
      stake: (if r.landing_p50 < r.target then r.target - r.landing_p50 else 0.0) * (1.0 - r.hit_probability),
    }))
  |> sort(columns: ["stake"], desc: true)
  |> limit(n: 200)"""


def figures(a: Ask) -> str:
    """One row: status, actual, expected, target, landing with its range, likely, gap, coverage, attainment."""
    return f'import "internal/debug"\n\n{headline(a)}{_FIGURES}'


def sentence(a: Ask) -> str:
    """One row: the answer to «Will we make it?» in words."""
    return f"""import "math"
{SHORT}
percent = (v) => if v > 0.0 and v < 0.01 then "<1 %" else if v > 0.99 and v < 1.0 then ">99 %"
  else string(v: math.round(x: v * 100.0)) + " %"

head = (r) => "Revenue " + r.period + ": " + (if exists r.actual then short(v: r.actual) else "nothing yet")
  + " of " + short(v: r.target) + {a.currency} + "."
landing = (r) => " Landing " + short(v: r.landing_p50) + " (" + short(v: r.landing_p10) + " to "
  + short(v: r.landing_p90) + "), " + percent(v: r.hit_probability) + " likely to hit."

{headline(a)}
  |> map(fn: (r) => ({{
      sentence: head(r: r) + (if r.status == 5.0 then " Target hit." else if r.status == 1.0 then " Target missed."
        else if exists r.landing_p50 and exists r.hit_probability then landing(r: r) else ""),
    }}))"""


def gap_words(a: Ask) -> str:
    """One row: what is missing, in deals like the scope's average one of the period."""
    value = f"""from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: {a.stop})
  |> filter(fn: (r) => r._measurement == "kpi" and r.tenant == {a.tenant} and r.kpi == "average_deal_size"
      and {" and ".join(subject(a))} and r.period == {a.period})
  |> last()
  |> group()
  |> map(fn: (r) => ({{k: "k", name: if r._field == "value" then "average" else "none", size: r._value}}))"""
    return f"""import "math"
{SHORT}
target = {headline(a)}
  |> filter(fn: (r) => exists r.actual)
  |> map(fn: (r) => ({{k: "k", name: "gap", size: r.target - r.actual}}))
average = {value}

union(tables: [target, average])
  |> group()
  |> pivot(rowKey: ["k"], columnKey: ["name"], valueColumn: "size")
  |> filter(fn: (r) => exists r.gap)
  |> map(fn: (r) => ({{r with average: if exists r.none and r.none == 1.0 then 0.0 else r.average}}))
  |> map(fn: (r) => ({{r with more: if exists r.average and r.average > 0.0 then math.ceil(x: r.gap / r.average) else 0.0}}))
  |> map(fn: (r) => ({{
      sentence: if r.gap <= 0.0 then "The target is reached."
        else if r.more < 1.0 then short(v: r.gap) + {a.currency} + " to go."
        else short(v: r.gap) + {a.currency} + " to go: " + string(v: r.more) + " more "
          + (if r.more < 1.5 then "deal" else "deals") + " like your average of " + short(v: r.average)
          + {a.currency} + ".",
    }}))"""


def territories(a: Ask) -> str:
    """A row for each territory with a revenue target in the period, what has most at stake first."""
    return _rows(a, scopes(a), 'r.dimension == "territory"')


def members(a: Ask) -> str:
    """A row for each member of the board's scope, what has most at stake first: a territory's teams, a team's reps."""
    mine = f"{scopes(a)}\n  |> filter(fn: (r) => r.parent == {a.scope} and r.parent_dimension == {a.dimension})"
    return _rows(a, mine)


def _rows(a: Ask, names: str, *conditions: str) -> str:
    return f"""import "internal/debug"

names = {names}
found = {targets(a, 'r.kpi == "revenue"', *conditions, f"r.period == {a.period}")}

join(tables: {{found: found, names: names}}, on: ["dimension", "scope"]){_ROW}"""


def territories_over_time(a: Ask) -> str:
    """The status codes of each territory by day, as series labelled with its name."""
    return _over_time(a, scopes(a), 'r.dimension == "territory"')


def members_over_time(a: Ask) -> str:
    """The status codes of each member by day, as series labelled with its name."""
    mine = f"{scopes(a)}\n  |> filter(fn: (r) => r.parent == {a.scope} and r.parent_dimension == {a.dimension})"
    return _over_time(a, mine)


def _over_time(a: Ask, names: str, *conditions: str) -> str:
    where = " and ".join(
        (
            'r._measurement == "target"',
            f"r.tenant == {a.tenant}",
            'r.kpi == "revenue"',
            *conditions,
            f"r.period == {a.period}",
            'r._field == "status"',
        )
    )
    return f"""names = {names}
found = from(bucket: {a.bucket})
  |> range(start: {a.start}, stop: {a.stop})
  |> filter(fn: (r) => {where})
  |> group()
  |> keep(columns: ["_time", "_value", "dimension", "scope"])

join(tables: {{found: found, names: names}}, on: ["dimension", "scope"])
  |> keep(columns: ["_time", "_value", "name", "scope"])
  |> group(columns: ["name", "scope"])
  |> sort(columns: ["_time"])"""


def burnup(a: Ask) -> str:
    """A row for each day: actual, expected, baseline, target, and the landing from the newest actual to the end.

    The landing is the one that was known at `stop`, so that a look at the past shows the cone of then.
    """
    mine = f'r.tenant == {a.tenant} and r.kpi == "revenue" and {" and ".join(subject(a))} and r.period == {a.period}'
    return f"""now = {headline(a)}
plan = from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: 2200-01-01T00:00:00Z)
  |> filter(fn: (r) => r._measurement == "curve" and {mine} and r._field == "expected")
begin = plan |> first() |> group() |> keep(columns: ["_time", "period"])
end = plan |> last() |> group() |> keep(columns: ["_time", "period"])
cone = now |> filter(fn: (r) => exists r.actual and exists r.landing_p50)
landed = join(
  tables: {{
    cone: cone |> keep(columns: ["period", "landing_p10", "landing_p50", "landing_p90"]),
    end: end |> rename(columns: {{_time: "at"}}),
  }},
  on: ["period"],
)
anchored = join(
  tables: {{
    cone: cone |> keep(columns: ["_time", "period", "actual"]),
    end: end |> rename(columns: {{_time: "at"}}),
  }},
  on: ["period"],
)
  |> filter(fn: (r) => r._time < r.at)
point = (tables=<-, field, value) => tables |> map(fn: (r) => ({{_time: r.at, _field: field, _value: value(r: r)}}))
from_now = (field) => anchored |> map(fn: (r) => ({{_time: r._time, _field: field, _value: r.actual}}))
goal = join(
  tables: {{
    now: now |> keep(columns: ["period", "target"]),
    ends: union(tables: [begin, end]) |> group() |> rename(columns: {{_time: "at"}}),
  }},
  on: ["period"],
)
days = from(bucket: {a.bucket})
  |> range(start: {a.start}, stop: {a.stop})
  |> filter(fn: (r) => {mine}
      and (r._measurement == "target" and r._field == "actual"
        or r._measurement == "curve" and (r._field == "expected" or r._field == "baseline")))
  |> keep(columns: ["_time", "_field", "_value"])
  |> group()

union(
  tables: [
    days,
    goal |> point(field: "target", value: (r) => r.target),
    from_now(field: "landing_low"),
    from_now(field: "landing"),
    from_now(field: "landing_high"),
    landed |> point(field: "landing_low", value: (r) => r.landing_p10),
    landed |> point(field: "landing", value: (r) => r.landing_p50),
    landed |> point(field: "landing_high", value: (r) => r.landing_p90),
  ],
)
  |> group()
  |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
  |> sort(columns: ["_time"])
  |> rename(columns: {{_time: "day"}})"""


def other_targets(a: Ask) -> str:
    """A row for each target of the board's scope: kpi in words, period, status, share of the target, likely."""
    return f"""import "strings"

{targets(a, *subject(a))}
  |> filter(fn: (r) => not (r.kpi == "revenue" and r.period == {a.period}))
  |> map(fn: (r) => ({{
      kpi: strings.toUpper(v: strings.substring(v: r.kpi, start: 0, end: 1))
        + strings.replaceAll(v: strings.substring(v: r.kpi, start: 1, end: strings.strlen(v: r.kpi)), t: "_", u: " "),
      period: r.period,
      status: r.status,
      attainment: r.attainment,
      actual: r.actual,
      target: r.target,
      likely: r.hit_probability,
    }}))
  |> sort(columns: ["likely", "kpi", "period"])
  |> limit(n: 100)"""


def periods(a: Ask) -> str:
    """A row for each period of the board's scope: first and last day (ms UTC), status, actual, target, landing, likely."""
    curve = f"""from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: 2200-01-01T00:00:00Z)
  |> filter(fn: (r) => r._measurement == "curve" and r.tenant == {a.tenant} and r.kpi == "revenue"
      and {" and ".join(subject(a))} and r._field == "expected")"""
    return f"""curve = {curve}
bound = (tables=<-, name) => tables |> group() |> map(fn: (r) => ({{period: r.period, bound: name, at: int(v: r._time) / 1000000}}))
bounds = union(tables: [curve |> first() |> bound(name: "first"), curve |> last() |> bound(name: "last")])
  |> group()
  |> pivot(rowKey: ["period"], columnKey: ["bound"], valueColumn: "at")
found = {targets(a, 'r.kpi == "revenue"', *subject(a))}

join(tables: {{found: found, bounds: bounds}}, on: ["period"])
  |> map(fn: (r) => ({{
      period: r.period,
      first: r.first,
      last: r.last,
      begin: string(v: r.first),
      until: string(v: r.last + 86399999),
      status: r.status,
      actual: r.actual,
      target: r.target,
      landing: r.landing_p50,
      likely: r.hit_probability,
    }}))
  |> sort(columns: ["first", "last"])
  |> limit(n: 100)"""
