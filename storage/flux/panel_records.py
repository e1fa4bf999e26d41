"""Flux for panels about what happened and what can be done: movement, deals, alerts."""

from __future__ import annotations

from storage.flux.asking import EPOCH, HUGE, SHORT, Ask, newest, scopes

#: How far before `stop` an alert may have fired that is still shown.
ALERTS_BACK = "400d"
#: The bars of a movement in their order: field, words, and 1 for what adds, -1 for what takes away, 0 for a total.
BARS = (
    ("opening", "Opening", 0),
    ("created", "Created", 1),
    ("reopened", "Reopened", 1),
    ("pulled_in", "Pulled in", 1),
    ("increased", "Increased", 1),
    ("moved_in", "Moved in", 1),
    ("won", "Won", -1),
    ("lost", "Lost", -1),
    ("deleted", "Deleted", -1),
    ("pushed_out", "Pushed out", -1),
    ("decreased", "Decreased", -1),
    ("moved_out", "Moved out", -1),
    ("closing", "Closing", 0),
)


def movement(a: Ask) -> str:
    """The waterfall, a row for each bar that moved something: words, `base` on which it stands, and its length.

    Where all that moved would be a sliver beside the whole pipeline, the bars begin above zero and the first says so.
    The length stands in `total`, `adds` or `takes`; `amount` is the bar's own, with its sign.
    """
    rows = ",\n    ".join(
        f'{{bar: "{bar}", order: {n}, title: "{title}", sign: {sign}.0}}' for n, (bar, title, sign) in enumerate(BARS)
    )
    return f"""import "array"
import "internal/debug"
import "math"
{SHORT}
bars = array.from(rows: [
    {rows},
  ])
found = from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: {a.stop})
  |> filter(fn: (r) => r._measurement == "movement" and r.tenant == {a.tenant} and r.dimension == {a.dimension}
      and r.scope == {a.scope} and r.period == {a.since})
  |> last()
  |> group()
  |> keep(columns: ["_field", "_value"])
  |> rename(columns: {{_field: "bar"}})
steps = join(tables: {{bars: bars, found: found}}, on: ["bar"])
  |> sort(columns: ["order"])
  |> map(fn: (r) => ({{r with
      k: "k",
      delta: if r.sign == 0.0 then 0.0 else r.sign * math.abs(x: r._value),
      level: if r.bar == "opening" then r._value else r.sign * math.abs(x: r._value),
    }}))
  |> cumulativeSum(columns: ["level"])
  |> filter(fn: (r) => r.sign == 0.0 or r.delta != 0.0)
scale = steps
  |> reduce(
      identity: {{low: {HUGE}, high: -{HUGE}}},
      fn: (r, accumulator) => ({{
          low: math.mMin(x: accumulator.low, y: math.mMin(x: r.level, y: r.level - r.delta)),
          high: math.mMax(x: accumulator.high, y: math.mMax(x: r.level, y: r.level - r.delta)),
        }}),
    )
  |> map(fn: (r) => ({{
      k: "k",
      floor: if r.low > 0.0 and r.high > r.low and r.high - r.low < r.high * 0.3
        then math.mMax(x: r.low - (r.high - r.low) * 0.35, y: 0.0) else 0.0,
    }}))
words = (r) => r.title + "  " + (if r.delta > 0.0 then "+" else "")
  + short(v: if r.sign == 0.0 then r.level else r.delta)
  + (if r.bar == "opening" and r.floor > 0.0 then " (bars begin at " + short(v: r.floor) + ")" else "")

join(tables: {{steps: steps, scale: scale}}, on: ["k"])
  |> sort(columns: ["order"])
  |> map(fn: (r) => ({{
      bar: words(r: r),
      base: if r.sign == 0.0 then 0.0 else math.mMin(x: r.level, y: r.level - r.delta) - r.floor,
      total: if r.sign == 0.0 then r.level - r.floor else debug.null(type: "float"),
      adds: if r.sign > 0.0 then r.delta else debug.null(type: "float"),
      takes: if r.sign < 0.0 then -r.delta else debug.null(type: "float"),
      amount: if r.sign == 0.0 then r.level else r.delta,
    }}))"""


def _deals(a: Ask, condition: str = "true") -> str:
    stream = f"""from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: {a.stop})
  |> filter(fn: (r) => r._measurement == "deal" and r.tenant == {a.tenant})"""
    return f"""{newest(stream, '"rank"')}
  |> filter(fn: (r) => r.active)
  |> filter(fn: (r) => {condition})"""


_DEAL = """
  |> map(fn: (r) => ({
      name: r.name,
      account: r.account,
      rep: r.rep,
      rep_name: r.rep_name,
      team: r.team,
      territory: r.territory,
      stage: r.stage,
      close_date: r.close_date,
      amount: r.amount,
      effect: r.effect,
      age_days: r.age_days,
      slipped_times: r.slipped_times,
      flags: r.flags,
    }))
  |> sort(columns: ["effect", "amount"], desc: true)"""


def deals_at_risk(a: Ask) -> str:
    """The deals that need help, with the reasons in `flags`; what adds most to the probability to hit first."""
    return f"{_deals(a)}{_DEAL}"


def members_deals(a: Ask) -> str:
    """The deals of a territory or a team."""
    mine = f'if {a.dimension} == "team" then r.team == {a.scope} else r.territory == {a.scope}'
    return f"{_deals(a, mine)}{_DEAL}"


def my_deals(a: Ask) -> str:
    """The deals of one rep, without anybody's name."""
    return f"""{_deals(a, f"r.rep == {a.scope}")}{_DEAL}
  |> drop(columns: ["rep", "rep_name", "team", "territory"])"""


def deals_figures(a: Ask) -> str:
    """One row: how many deals are at risk, their amount, and how many for which reason."""
    return f"""import "strings"

one = (r, word) => if strings.containsStr(v: r.flags, substr: word) then 1 else 0

{_deals(a)}
  |> reduce(
      identity: {{deals: 0, amount: 0.0, past: 0, slipped: 0, silent: 0}},
      fn: (r, accumulator) => ({{
          deals: accumulator.deals + 1,
          amount: accumulator.amount + r.amount,
          past: accumulator.past + one(r: r, word: "past"),
          slipped: accumulator.slipped + one(r: r, word: "slipped"),
          silent: accumulator.silent + one(r: r, word: "silent"),
        }}),
    )"""


def alerts(a: Ask) -> str:
    """All alerts of the tenant: those that are open first, then the newest first."""
    return _alerts(a)


def alerts_inside(a: Ask) -> str:
    """The alerts of the board's scope and of everybody in it."""
    inside = f"""names = {scopes(a)}
members = names
  |> filter(fn: (r) => r.parent == {a.scope} and r.parent_dimension == {a.dimension})
  |> findColumn(fn: (key) => true, column: "scope")
reps = names
  |> filter(fn: (r) => {a.dimension} == "territory" and r.parent_dimension == "team" and contains(value: r.parent, set: members))
  |> findColumn(fn: (key) => true, column: "scope")
within = (r) => r.dimension == {a.dimension} and r.scope == {a.scope}
  or r.dimension == (if {a.dimension} == "territory" then "team" else "rep") and contains(value: r.scope, set: members)
  or r.dimension == "rep" and contains(value: r.scope, set: reps)
"""
    return _alerts(a, before=inside, after="within(r: r)")


def my_alerts(a: Ask) -> str:
    """The alerts of the board's scope alone."""
    return _alerts(a, f" and r.dimension == {a.dimension} and r.scope == {a.scope}")


def _alerts(a: Ask, tags: str = "", *, before: str = "", after: str = "true") -> str:
    """Alerts of some tags, or those for which `after` holds. One that resolved after `stop` was open then."""
    return f"""import "date"
import "strings"

{before}stop = int(v: {a.stop}) / 1000000
present = int(v: now()) / 1000000

from(bucket: {a.bucket})
  |> range(start: date.sub(d: {ALERTS_BACK}, from: {a.stop}), stop: {a.stop})
  |> filter(fn: (r) => r._measurement == "alert" and r.tenant == {a.tenant}{tags})
  |> pivot(
      rowKey: ["_time", "rule", "dimension", "scope", "kpi", "period"],
      columnKey: ["_field"],
      valueColumn: "_value",
    )
  |> group()
  |> filter(fn: (r) => {after})
  |> map(fn: (r) => ({{r with ended: r.resolved_at > 0 and r.resolved_at <= stop}}))
  |> map(fn: (r) => ({{
      state: if r.ended then "resolved" else if r.state == "resolved" then "firing" else r.state,
      severity: r.severity,
      subject: r.subject,
      sentence: r.sentence,
      owner: if strings.hasPrefix(v: r.recipient, prefix: r.dimension + ":")
        then r.scope_name + " (" + r.dimension + ")" else r.recipient,
      fired_at: r.fired_at,
      lasted_s: ((if r.ended then r.resolved_at else if present < stop then present else stop) - r.fired_at) / 1000,
      order: if r.ended then 1 else 0,
      newest: -r.fired_at,
    }}))
  |> sort(columns: ["order", "newest"])
  |> limit(n: 50)
  |> drop(columns: ["order", "newest"])"""
