"""Questions to the state: what the commands `query`, `status` and `movement` answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from alerts.engine import AlertEngine
from planwatch.home import Home
from planwatch.pipeline import Pipeline
from planwatch.printing import when
from planwatch.store import Store
from processors.kpis import TARGET_KPIS
from processors.movement import BARS, flows, totals
from processors.query import Scope, check_dimensions, json_row, query
from processors.state import State
from processors.status import statuses
from processors.targets import plan_targets
from schemas.alert import Alert
from schemas.base import PlanwatchError
from schemas.calendar import Period
from schemas.money import exponent
from schemas.status import TargetStatus

if TYPE_CHECKING:
    from planwatch.following import AlertFeed


def state_at(store: Store, as_of: str | None) -> State:
    """The state now, or as of a date or time as the command line gives it."""
    if as_of is None:
        return store.state()
    return store.state(State(store.home.config).calendar.parse_as_of(as_of))


def ask(
    store: Store,
    kpi: str,
    by: Sequence[str],
    where: Mapping[str, str | None],
    period: str | None,
    each: str | None,
    as_of: str | None,
) -> dict[str, Any]:
    """A KPI's values as `planwatch query --json` prints them."""
    state, found = state_at(store, as_of), store.home.catalogue()
    whole = state.calendar.parse_period(period) if period else None
    periods: Sequence[Period | None] = [whole]
    if each:
        if each not in ("month", "quarter", "year"):
            raise PlanwatchError(f"--each {each}: expected month, quarter or year.")
        whole = whole or state.calendar.period_of(state.today, "year")
        periods = list(state.calendar.periods(each, whole.start, whole.end))
    targets = None
    if kpi in ("coverage", "attainment"):
        targets = _targets(store, state, by, where)
    rows = query(state, found, kpi, by=by, where=where, periods=periods, targets=targets)
    declared = found.kpis.get(kpi) or TARGET_KPIS[kpi]
    unit = state.config.currency if declared.unit == "money" else declared.unit
    return {"kpi": kpi, "unit": unit, "as_of": when(state.now), "rows": [json_row(r) for r in rows]}


def _targets(
    store: Store, state: State, by: Sequence[str], where: Mapping[str, str | None]
) -> dict[tuple[Scope, str | None], int]:
    """Revenue targets in minor units by scope codes and period, for coverage and attainment."""
    if len(by) + len(where) > 1:
        raise PlanwatchError(
            "coverage and attainment are known by one dimension at a time: that is how plans set targets."
        )
    dim = next(iter([*by, *where]), "company")
    places = exponent(state.config.currency)
    found: dict[tuple[Scope, str | None], int] = {}
    for t in plan_targets(state, store.home.catalogue(), store.home.plan(), state.now):
        if t.kpi != "revenue" or t.dimension != dim or (where and t.scope != where[dim]):
            continue
        scope = (state.names.code(t.scope),) if by else ()
        found[(scope, t.period.label)] = int(t.value.scaleb(places))
    return found


def status_of(
    store: Store, where: Mapping[str, str | None], period: str | None, as_of: str | None
) -> list[TargetStatus]:
    """Targets' status as `planwatch status` prints it."""
    state = state_at(store, as_of)
    chosen = {k: v or "" for k, v in where.items()}
    return statuses(state, store.home.catalogue(), store.home.plan(), state.now, where=chosen, period=period)


def alerts_of(home: Home, everything: bool) -> list[Alert]:
    """The alerts that fire, newest first; with `everything` resolved ones too."""
    feed: AlertEngine | AlertFeed
    if home.config.kafka is not None:
        from planwatch.following import AlertFeed

        feed = AlertFeed(home)
        feed.refresh()
    else:
        pipeline = Pipeline(Store(home), receivers={})
        pipeline.catch_up()
        feed = pipeline.engine
    return feed.history() if everything else feed.active()


def movement_between(store: Store, from_: str, to: str, period: str | None, by: str | None) -> list[dict[str, Any]]:
    """Rows of bars in major units, one per scope; without a dimension one for the company."""
    calendar = State(store.home.config).calendar
    start, end = calendar.parse_as_of(from_), calendar.parse_as_of(to)
    if end < start:
        raise PlanwatchError(f"--from {from_} lies after --to {to}.")
    state = store.state(end)
    if by:
        check_dimensions(state, [by])
    whole = calendar.parse_period(period) if period else None
    places = exponent(state.config.currency)
    found = totals(flows(state, start, end, whole, by)) or ({} if by else {0: dict.fromkeys(BARS, 0)})
    rows = []
    for code, bars in found.items():
        scope = {by: state.names.text(code)} if by else {}
        rows.append({"scope": scope, **{bar: Decimal(bars[bar]).scaleb(-places) for bar in BARS}})
    return sorted(rows, key=lambda r: str(r["scope"]))
