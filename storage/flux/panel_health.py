"""Flux for panels about trust: how fresh the figures are, what was refused, how the workers are."""

from __future__ import annotations

from storage.flux.asking import EPOCH, GONE_S, HUGE, LIVE, Ask, newest, subject


def _sources(a: Ask) -> str:
    """The newest account of each source, with the seconds since its newest change by now."""
    stream = f"""from(bucket: {a.live_bucket})
  |> range(start: {LIVE})
  |> filter(fn: (r) => r._measurement == "source" and r.tenant == {a.tenant})"""
    return f"""{newest(stream, '"source"')}
  |> map(fn: (r) => ({{r with age: float(v: r.age_s) + float(v: int(v: now()) - int(v: r._time)) / 1000000000.0}}))"""


def sources(a: Ask) -> str:
    """A row for each source: age of its newest change (s) and its account of every input."""
    return f"""{_sources(a)}
  |> map(fn: (r) => ({{
      source: r.source,
      age: r.age,
      received: r.received,
      applied: r.applied,
      duplicate: r.duplicate,
      stale: r.stale,
      quarantined: r.quarantined,
    }}))
  |> sort(columns: ["source"])
  |> limit(n: 200)"""


def trust(a: Ask) -> str:
    """One row: age of the newest change of all (s), how many inputs there were and how many stand in quarantine."""
    return f"""{_sources(a)}
  |> reduce(
      identity: {{age: {HUGE}, sources: 0, received: 0, quarantined: 0}},
      fn: (r, accumulator) => ({{
          age: if r.age < accumulator.age then r.age else accumulator.age,
          sources: accumulator.sources + 1,
          received: accumulator.received + r.received,
          quarantined: accumulator.quarantined + r.quarantined,
        }}),
    )"""


def as_of(a: Ask) -> str:
    """One row: the day of the newest figures of the board's scope (ms UTC)."""
    where = f'r._measurement == "target" and r.tenant == {a.tenant} and {" and ".join(subject(a))}'
    return f"""from(bucket: {a.bucket})
  |> range(start: {EPOCH}, stop: {a.stop})
  |> filter(fn: (r) => {where} and r._field == "target")
  |> last()
  |> group()
  |> max(column: "_time")
  |> map(fn: (r) => ({{as_of: int(v: r._time) / 1000000}}))"""


def refusals(a: Ask) -> str:
    """A row for each source and code of refusal: how many are open, dropped and replayed, and how many in quarantine.

    `count` is open + dropped.
    """
    stream = f"""from(bucket: {a.live_bucket})
  |> range(start: {LIVE})
  |> filter(fn: (r) => r._measurement == "refusal" and r.tenant == {a.tenant})"""
    return f"""{newest(stream, '"source", "code"')}
  |> map(fn: (r) => ({{
      source: r.source,
      code: r.code,
      open: r.open,
      dropped: r.dropped,
      replayed: r.replayed,
      count: r.count,
    }}))
  |> sort(columns: ["open", "count"], desc: true)
  |> limit(n: 100)"""


def _instances(a: Ask) -> str:
    stream = f"""from(bucket: {a.live_bucket})
  |> range(start: {LIVE})
  |> filter(fn: (r) => r._measurement == "health")"""
    return f"""{newest(stream, '"role", "instance"')}
  |> map(fn: (r) => ({{r with seen_s: float(v: int(v: now()) - int(v: r._time)) / 1000000000.0}}))"""


def instances(a: Ask) -> str:
    """A row for each worker and bridge: its state, when it last said something (s ago), and its figures.

    The state is 3 for ready, 2 for catching up and 1 for gone, which have the colours of these status codes.
    """
    return f"""{_instances(a)}
  |> map(fn: (r) => ({{
      role: r.role,
      instance: r.instance,
      state: if r.seen_s > {GONE_S}.0 then 1.0 else if r.ready > 0.5 then 3.0 else 2.0,
      seen_s: r.seen_s,
      tenants: r.tenants,
      events: r.events,
      lag: r.lag,
      fold_seconds: r.fold_seconds,
      freshness_p50: r.freshness_p50,
      freshness_p99: r.freshness_p99,
      buffered_points: r.buffered_points,
      write_errors: r.write_errors,
    }}))
  |> sort(columns: ["role", "instance"])
  |> limit(n: 200)"""


def health_figures(a: Ask) -> str:
    """One row: instances that are ready, and of those that are not gone lag, freshness, buffer and write errors."""
    return f"""import "math"

{_instances(a)}
  |> filter(fn: (r) => r.seen_s <= {GONE_S}.0)
  |> map(fn: (r) => ({{r with p99: if exists r.freshness_p99 then r.freshness_p99 else 0.0}}))
  |> reduce(
      identity: {{ready: 0, running: 0, lag: 0.0, p99: 0.0, buffered: 0.0, errors: 0.0}},
      fn: (r, accumulator) => ({{
          ready: accumulator.ready + (if r.ready > 0.5 then 1 else 0),
          running: accumulator.running + 1,
          lag: accumulator.lag + r.lag,
          p99: math.mMax(x: accumulator.p99, y: r.p99),
          buffered: accumulator.buffered + r.buffered_points,
          errors: accumulator.errors + r.write_errors,
        }}),
    )"""


def _windows(a: Ask, condition: str, how: str) -> str:
    return f"""from(bucket: {a.live_bucket})
  |> range(start: {a.start}, stop: {a.stop})
  |> filter(fn: (r) => r._measurement == "health" and ({condition}))
  |> aggregateWindow(every: {a.every}, fn: {how}, createEmpty: false)"""


#: The sum of each role's instances, a column for each role.
_ROLES = """
  |> group(columns: ["_time", "role"])
  |> sum()
  |> group()
  |> keep(columns: ["_time", "role", "_value"])
  |> pivot(rowKey: ["_time"], columnKey: ["role"], valueColumn: "_value")
  |> sort(columns: ["_time"])
  |> rename(columns: {_time: "at"})"""


def events(a: Ask) -> str:
    """Changes a second by role, over time."""
    return f"""{_windows(a, 'r._field == "events"', "last")}
  |> derivative(unit: 1s, nonNegative: true){_ROLES}"""


def lag(a: Ask) -> str:
    """Messages that wait to be processed, by role, over time."""
    return f"""{_windows(a, 'r._field == "lag"', "max")}{_ROLES}"""


def freshness(a: Ask) -> str:
    """Seconds from a change to its figures, of the slowest instance: half of the changes, and 99 of 100, over time."""
    return _wide(a, 'r._field == "freshness_p50" or r._field == "freshness_p99"', "max", "max")


def writing(a: Ask) -> str:
    """Points that wait for InfluxDB and failed writes, of all instances, over time."""
    return _wide(a, 'r._field == "buffered_points" or r._field == "write_errors"', "max", "sum")


def _wide(a: Ask, condition: str, inside: str, across: str) -> str:
    return f"""{_windows(a, condition, inside)}
  |> group(columns: ["_time", "_field"])
  |> {across}()
  |> group()
  |> keep(columns: ["_time", "_field", "_value"])
  |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")
  |> sort(columns: ["_time"])
  |> rename(columns: {{_time: "at"}})"""
