"""What moved the pipeline between two instants, bar by bar; the bars add up exactly.

Each deal is walked through its states. At every step its attributes move first (amount, period, scope), then its
existence and stage; so a deal whose amount and stage change together is increased or decreased and then won at its
final amount, and flows of adjoining intervals add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from processors.attribution import attribute_of, dimension, stands
from processors.history import states_of, status_of
from processors.kpis import MEASURES
from processors.measures import RATE_SCALE, STATUS, contributions, rate_on
from processors.state import NULL, State, day_number
from schemas.calendar import Period
from schemas.money import div_round, exponent
from schemas.records import DECIMAL_SCALE

BARS = (
    "opening",
    "created",
    "reopened",
    "pulled_in",
    "increased",
    "moved_in",
    "won",
    "lost",
    "deleted",
    "pushed_out",
    "decreased",
    "moved_out",
    "closing",
)
SIGNS = dict.fromkeys(("created", "reopened", "pulled_in", "increased", "moved_in"), 1) | dict.fromkeys(
    ("won", "lost", "deleted", "pushed_out", "decreased", "moved_out"), -1
)


class Moment(NamedTuple):
    """A deal at an instant: status (0: not there), amount in minor units, in the period or not, scope code."""

    status: int
    amount: int
    in_period: bool
    scope: int


class Flow(NamedTuple):
    """One bar's share of one deal, for one scope code."""

    scope: int
    bar: str
    amount: int
    slot: int


NOTHING = Moment(0, 0, False, NULL)


def flows(state: State, start: int, end: int, period: Period | None = None, by: str | None = None) -> list[Flow]:
    """Every flow of every deal in (start, end], with opening and closing. Amounts in minor units."""
    found: list[Flow] = []
    turns = _turning_points(state, start, end)
    for slot in range(len(state.tables["opportunity"].ids)):
        found.extend(_deal_flows(state, slot, start, end, period, by, turns))
    return found


def bars_between(state: State, start: int, end: int, by: str | None = None) -> dict[int, dict[str, int]]:
    """Scope code → bar → amount in minor units, as `totals(flows(...))`; only deals that something happened to are walked.

    What nothing happened to stands open from beginning to end. Where assignments or rates change meanwhile, every deal
    may have moved.
    """
    turns = _turning_points(state, start, end)
    table = state.tables["opportunity"]
    everything = range(len(table.ids))
    touched = [s for s in everything if turns or any(start < o.occurred_at for o in table.events.get(s, ()))]
    found = totals([f for slot in touched for f in _deal_flows(state, slot, start, end, None, by, turns)])
    still = np.setdiff1d(table.all_slots(), np.array(touched, dtype=np.int64))
    rows = contributions(state, MEASURES["open_amount"], still)
    codes = (
        np.zeros(len(rows.slots), np.int64) if by is None else dimension(state, rows.entity, by, rows.slots, rows.days)
    )
    for code, amount in zip(codes.tolist(), rows.values.tolist(), strict=True):
        bars = found.setdefault(code, dict.fromkeys(BARS, 0))
        bars["opening"] += amount
        bars["closing"] += amount
    return found


def _turning_points(state: State, start: int, end: int) -> list[int]:
    """Instants at which something else than the deal itself may change it: assignments, prices, rates, segments."""
    points: set[int] = set()
    days: set[int] = {day_number(rate.date) for rate in state.config.rates}
    for entity in ("rep", "team"):
        for by_day in state.tables[entity].effective.values():
            days |= set(by_day)
    table = state.tables["rate"]
    days |= {int(day) for day in table.column("date").take(table.all_slots()) if day != NULL}
    points |= {state.calendar.midnight(day) for day in days}
    return sorted(p for p in points if start < p <= end)


def _deal_flows(
    state: State, slot: int, start: int, end: int, period: Period | None, by: str | None, turns: list[int]
) -> Iterator[Flow]:
    steps = [s for s in states_of(state, slot) if s.since <= end]
    if not steps:
        return
    opening = [s for s in steps if s.since <= start]
    fields = opening[-1].fields if opening else {}
    present = moment(state, slot, fields, start, period, by) if opening else NOTHING
    ever = any(s.fields.get("exists") == 1 and status_of(state, s.fields) for s in opening)
    if _counts(present):
        yield Flow(present.scope, "opening", present.amount, slot)
    instants = sorted({s.since for s in steps if s.since > start} | set(turns))
    upcoming = {s.since: s.fields for s in steps if s.since > start}
    for at in instants:
        fields = upcoming.get(at, fields)
        following = moment(state, slot, fields, at, period, by) if fields else NOTHING
        yield from step(present, following, ever, slot)
        ever |= following.status != 0
        present = following
    if _counts(present):
        yield Flow(present.scope, "closing", present.amount, slot)


def _counts(m: Moment) -> bool:
    return m.status == STATUS["open"] and m.in_period


def step(old: Moment, new: Moment, ever: bool, slot: int) -> Iterator[Flow]:
    """The flows of one step: attributes first, then existence and stage."""
    was_open, is_open = old.status == STATUS["open"], new.status == STATUS["open"]
    closed = new.status in (STATUS["won"], STATUS["lost"])
    appears = not was_open and (is_open or (closed and old.status != new.status))
    amount, scope, in_period = old.amount, old.scope, old.in_period
    if appears and (is_open or new.status == STATUS["won"] or not ever):
        # A deal that was closed before and is now closed otherwise was reopened on the way.
        if new.in_period:
            yield Flow(new.scope, "reopened" if ever else "created", new.amount, slot)
        amount, scope, in_period = new.amount, new.scope, new.in_period
    elif not was_open:
        return
    elif new.status != 0:
        yield from _attributes(old, new, slot)
        amount, scope, in_period = new.amount, new.scope, new.in_period
    if not is_open and in_period:
        bar = {STATUS["won"]: "won", STATUS["lost"]: "lost"}.get(new.status, "deleted")
        yield Flow(scope, bar, amount, slot)


def _attributes(old: Moment, new: Moment, slot: int) -> Iterator[Flow]:
    if old.in_period and not new.in_period:
        yield Flow(old.scope, "pushed_out", old.amount, slot)
        return
    if new.in_period and not old.in_period:
        yield Flow(new.scope, "pulled_in", new.amount, slot)
        return
    if not new.in_period:
        return
    if old.scope != new.scope:
        yield Flow(old.scope, "moved_out", old.amount, slot)
        yield Flow(new.scope, "moved_in", new.amount, slot)
    elif new.amount != old.amount:
        bar = "increased" if new.amount > old.amount else "decreased"
        yield Flow(new.scope, bar, abs(new.amount - old.amount), slot)


def moment(state: State, slot: int, fields: dict[str, int], at: int, period: Period | None, by: str | None) -> Moment:
    """What counts of a deal with these fields at an instant."""
    status = status_of(state, fields)
    close = fields.get("close_date", NULL)
    day = state.calendar.day_of(at) if status == STATUS["open"] else close
    if status == 0:
        return NOTHING
    view = _View(state, slot, fields)
    in_period = period is None or period.start <= close < period.end
    return Moment(status, view.amount(day), in_period, view.scope(by, day))


class _View:
    """A deal's fields as if they stood in the columns."""

    def __init__(self, state: State, slot: int, fields: dict[str, int]) -> None:
        self.state, self.slot, self.fields = state, slot, fields

    def amount(self, day: int) -> int:
        state, fields = self.state, self.fields
        raw, currency = fields.get("amount", NULL), fields.get("currency", NULL)
        if raw == NULL and state.config.amount_fallback == "list_price":
            product = np.array([fields.get("product", NULL)], dtype=np.int64)
            raw = int(attribute_of(state, "product", "list_price", product)[0])
            currency = int(attribute_of(state, "product", "currency", product)[0])
        return converted(state, 0 if raw == NULL else raw, currency, day)

    def scope(self, by: str | None, day: int) -> int:
        if by is None:
            return 0
        if by in ("team", "territory"):
            team = stands(self.state, "rep", self.fields.get("owner", NULL), day)
            return team if by == "team" else stands(self.state, "team", team, day)
        if by == "segment":
            account = np.array([self.fields.get("account", NULL)], dtype=np.int64)
            return int(attribute_of(self.state, "account", "segment", account)[0])
        return self.fields.get({"rep": "owner"}.get(by, by), NULL)


def converted(state: State, raw: int, currency: int, day: int) -> int:
    """A decimal (· 10^4) in a currency → minor units of the tenant's, rounded once."""
    home = state.config.currency
    scale = DECIMAL_SCALE // 10 ** exponent(home)
    if currency in (NULL, state.names.code(home)):
        return div_round(raw, scale)
    return div_round(raw * rate_on(state, currency, day), scale * RATE_SCALE)


def totals(found: list[Flow]) -> dict[int, dict[str, int]]:
    """Scope code → bar → amount, every bar present."""
    result: dict[int, dict[str, int]] = {}
    for flow in found:
        bars = result.setdefault(flow.scope, dict.fromkeys(BARS, 0))
        bars[flow.bar] += flow.amount
    return result
