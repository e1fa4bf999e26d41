"""KPI values by scope and period, from the columns: what `planwatch query`, boards and exports read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from processors.attribution import dimension
from processors.cohorts import cohort, new_customers
from processors.expression import NoValue, evaluate, names_in
from processors.history import slipped, stage_entries
from processors.kpis import COMPUTED, KPIS, MEASURES, TARGET_KPIS
from processors.measures import Contributions, contributions
from processors.state import NULL, State
from schemas.base import PlanwatchError
from schemas.calendar import Period
from schemas.measures import Kpi, Measure, MeasureFile
from schemas.money import div_round, exponent

Scope = tuple[int, ...]
#: "account" is a dimension of its own right; the rest come from attribution or from a mapped field.
DIMENSIONS = ("territory", "team", "rep", "account", "segment", "product")


class Catalogue(NamedTuple):
    """The measures and KPIs in force: ours and the user's."""

    measures: Mapping[str, Measure]
    kpis: Mapping[str, Kpi]


def catalogue(own: MeasureFile | None = None) -> Catalogue:
    """Ours with the user's added. Raises PlanwatchError where an expression names an unknown measure."""
    own = own or MeasureFile()
    found = Catalogue({**MEASURES, **own.measures}, {**KPIS, **own.kpis})
    for name, kpi in found.kpis.items():
        for measure in names_in(kpi.expression):
            if measure not in found.measures and measure not in COMPUTED:
                raise PlanwatchError(f"KPI {name}: there is no measure «{measure}».")
    return found


class Row(NamedTuple):
    """One value: scope as dimension → record id (None: records without one), with the reason where there is none."""

    scope: dict[str, str | None]
    period: str | None
    value: Decimal | None
    reason: str | None


def measure_rows(state: State, found: Catalogue, name: str, period: Period | None) -> Contributions:
    """The contributions to a measure in a period (None: everything, dated or not)."""
    everything = Period("all", "all", -(1 << 19), 1 << 19)
    if name in ("slipped_count", "started_count"):
        return slipped(state, period or everything)[0 if name == "slipped_count" else 1]
    if name.startswith("stage_") and name in COMPUTED:
        rows = stage_entries(state, name == "stage_advanced")
    elif name == "new_customers":
        rows = new_customers(state)
    elif name in COMPUTED:
        # Without a period: how the customers of the first day of this year fare.
        return cohort(state, name, period or state.calendar.period_of(state.today, "year"))
    else:
        key = ("rows", name, state.now, tuple(t.generation for t in state.tables.values()))
        cached = state.cache.get(("rows", name))
        if not (isinstance(cached, tuple) and cached[0] == key):
            cached = (key, contributions(state, found.measures[name]))
            state.cache[("rows", name)] = cached
        rows = cached[1]
    if period is None:
        measure = found.measures.get(name)
        if measure is None or measure.date is None or measure.where.get("status") == "open":
            return rows  # an open deal counts before anybody has said when it may close
        period = everything
    inside = (rows.dates >= period.start) & (rows.dates < period.end)
    return Contributions(rows.entity, rows.slots[inside], rows.values[inside], rows.dates[inside], rows.days[inside])


def grouped(state: State, rows: Contributions, by: Sequence[str], where: Mapping[str, str | None]) -> dict[Scope, int]:
    """Sums of contributions per combination of scope codes, restricted by `where`."""
    keep = np.ones(len(rows.slots), dtype=bool)
    for name, wanted in where.items():
        code = NULL if wanted is None else state.names.codes.get(wanted, -1)
        keep &= dimension(state, rows.entity, name, rows.slots, rows.days) == code
    slots, values, days = rows.slots[keep], rows.values[keep], rows.days[keep]
    if not by:
        return {(): int(values.sum())}
    if len(slots) == 0:
        return {}
    columns = np.stack([dimension(state, rows.entity, name, slots, days) for name in by])
    scopes, index = np.unique(columns, axis=1, return_inverse=True)
    totals = np.zeros(scopes.shape[1], dtype=np.int64)
    np.add.at(totals, index.reshape(-1), values)
    return {tuple(int(c) for c in scopes[:, i]): int(totals[i]) for i in range(scopes.shape[1])}


def rounded(value: Fraction, unit: str, currency: str) -> Decimal:
    """An exact value as it is shown: money in major units to the minor one, ratios to 6 decimals, days to 2."""
    if unit in ("money", "money_per_day"):
        places = exponent(currency)
        return Decimal(div_round(value.numerator, value.denominator)).scaleb(-places)
    places = {"ratio": 6, "days": 2, "count": 0}[unit]
    scaled = value * 10**places
    return Decimal(div_round(scaled.numerator, scaled.denominator)).scaleb(-places)


def check_dimensions(state: State, names: Iterable[str]) -> None:
    """Raises PlanwatchError for a dimension that is neither known nor a mapped field."""
    for name in names:
        known = any(name in table.kinds or name in table.columns for table in state.tables.values())
        if name not in DIMENSIONS and not known:
            raise PlanwatchError(
                f"There is no dimension «{name}». There are {', '.join(DIMENSIONS)} and the fields that your mapping names."
            )


def query(
    state: State,
    found: Catalogue,
    kpi_name: str,
    *,
    by: Sequence[str] = (),
    where: Mapping[str, str | None] | None = None,
    periods: Sequence[Period | None] = (None,),
    targets: Mapping[tuple[Scope, str | None], int] | None = None,
) -> list[Row]:
    """The values of a KPI, a row per scope and period, sorted. `targets` (minor units) feed coverage and attainment."""
    kpi = found.kpis.get(kpi_name) or TARGET_KPIS.get(kpi_name)
    if kpi is None:
        names = sorted([*found.kpis, *TARGET_KPIS])
        raise PlanwatchError(f"There is no KPI «{kpi_name}». There are: {', '.join(names)}.")
    check_dimensions(state, [*by, *(where or {})])
    rows: list[Row] = []
    for period in periods:
        parts = {
            name: grouped(state, measure_rows(state, found, name, period), by, where or {})
            for name in names_in(kpi.expression)
            if name != "target"
        }
        label = period.label if period else None
        if targets is not None and "target" in names_in(kpi.expression):
            parts["target"] = {scope: value for (scope, p), value in targets.items() if p == label}
        scopes = sorted(set().union(*parts.values())) if by else [()]
        for scope in scopes:
            rows.append(_row(state, kpi, by, scope, label, parts))
    rows.sort(key=lambda r: (r.period or "", [(v is None, v or "") for v in r.scope.values()]))
    return rows


def _row(
    state: State, kpi: Kpi, by: Sequence[str], scope: Scope, label: str | None, parts: Mapping[str, dict[Scope, int]]
) -> Row:
    named = {d: state.names.text(c) for d, c in zip(by, scope, strict=True)}
    if "target" in parts:
        target = parts["target"].get(scope)
        if target is None:
            return Row(named, label, None, "the plan has no target for this scope and period")
        if kpi is TARGET_KPIS["coverage"] and parts["won_amount"].get(scope, 0) >= target:
            return Row(named, label, None, "the target is reached")
    try:
        value = evaluate(kpi.expression, {name: part.get(scope, 0) for name, part in parts.items()})
    except NoValue as error:
        return Row(named, label, None, str(error))
    return Row(named, label, rounded(value, kpi.unit, state.config.currency), None)


def json_row(row: Row) -> dict[str, Any]:
    """A row as `planwatch query --json` prints it."""
    return {"scope": row.scope, "period": row.period, "value": row.value, "reason": row.reason}
