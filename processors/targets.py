"""Targets of a plan: revisions applied, splits exact to the cent, rolled up, and where each should be by a day."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from processors.attribution import assigned
from processors.query import Catalogue
from processors.state import NULL, State, day_number
from schemas.base import PlanwatchError
from schemas.calendar import Calendar, Period
from schemas.money import exponent, split_exactly
from schemas.plan import Pacing, Plan, Target

#: Ratios and counts are held in units of 10^-6, money in minor units.
RATIO_SCALE = 10**6


class PlanTarget(NamedTuple):
    """One target value. `value` is exact, in the KPI's unit (money in major units)."""

    kpi: str
    dimension: str
    scope: str
    period: Period
    value: Decimal
    pacing: Pacing


def plan_targets(state: State, found: Catalogue, plan: Plan, as_of: int, baseline: bool = False) -> list[PlanTarget]:
    """The targets in force at an instant; `baseline` ignores revisions. A later one for the same identity replaces."""
    day = state.calendar.day_of(as_of)
    assignments = (state.tables["rep"].generation, state.tables["team"].generation, state.today)
    key = (id(plan), id(found), baseline, day, assignments)
    cached = state.cache.get(("targets", baseline))
    if isinstance(cached, tuple) and cached[0] == key:
        return list(cached[1])
    layers: list[Sequence[Target]] = [plan.targets]
    if not baseline:
        layers += [r.targets for r in sorted(plan.revisions, key=lambda r: r.date) if day_number(r.date) <= day]
    merged: dict[tuple[str, str, str, str], PlanTarget] = {}
    for layer in layers:
        for target in layer:
            for one in _expand(state, found, plan, target):
                merged[(one.kpi, one.dimension, one.scope, one.period.label)] = one
    targets = list(merged.values())
    state.cache["targets", baseline] = (key, targets, plan, found)  # kept alive, so that their ids stay theirs
    return list(targets)


def _expand(state: State, found: Catalogue, plan: Plan, target: Target) -> list[PlanTarget]:
    if target.kpi not in found.kpis:
        raise PlanwatchError(
            f"The plan has a target for «{target.kpi}», which is no KPI. See `planwatch query --help`."
        )
    pacing = target.pacing or plan.pacing
    rows: list[PlanTarget] = []
    for label, value in target.values.items():
        period = state.calendar.parse_period(label)
        rows.append(PlanTarget(target.kpi, target.dimension, target.scope, period, value, pacing))
        if target.split:
            rows += _split(state, found, target, period, value, pacing)
    if target.year_total:
        rows += _year_totals(state.calendar, rows)
    return rows


def _split(
    state: State, found: Catalogue, target: Target, period: Period, value: Decimal, pacing: Pacing
) -> list[PlanTarget]:
    split = target.split
    assert split is not None
    if split.weights and len(split.weights) != len(split.members):
        raise PlanwatchError(f"Target {target.kpi}: {len(split.members)} members but {len(split.weights)} weights.")
    money = found.kpis[target.kpi].unit == "money"
    places = exponent(state.config.currency) if money else 0
    parts = split_exactly(int(value.scaleb(places)), list(split.weights) or [1] * len(split.members))
    rows = [
        PlanTarget(target.kpi, split.dimension, member, period, Decimal(part).scaleb(-places), pacing)
        for member, part in zip(split.members, parts, strict=True)
    ]
    if split.dimension == "rep":
        for level in target.roll_up:
            rows += _rolled_up(state, level, rows[: len(split.members)])
    return rows


def _rolled_up(state: State, level: str, rows: Sequence[PlanTarget]) -> list[PlanTarget]:
    """Sums of the reps' targets by where each stands today, or stood when the period ended."""
    if not rows:
        return []
    period = rows[0].period
    day = np.array([min(state.today, period.end - 1)] * len(rows), dtype=np.int64)
    members = np.array([state.names.codes.get(r.scope, -1) for r in rows], dtype=np.int64)
    codes = assigned(state, "rep", members, day)
    # The quota of one who left in the period stays with the team that carried it.
    before = assigned(state, "rep", members, np.full(len(rows), period.start, dtype=np.int64))
    codes = np.where(codes == NULL, before, codes)
    if level == "territory":
        codes = assigned(state, "team", codes, day)
    sums: dict[int, Decimal] = {}
    for code, row in zip(codes.tolist(), rows, strict=True):
        if code != NULL:
            sums[code] = sums.get(code, Decimal(0)) + row.value
    return [PlanTarget(rows[0].kpi, level, state.names.texts[c], period, v, rows[0].pacing) for c, v in sums.items()]


def _year_totals(calendar: Calendar, rows: Sequence[PlanTarget]) -> list[PlanTarget]:
    parts: dict[tuple[str, str, str, str], list[PlanTarget]] = {}
    for row in rows:
        year = calendar.period_of(row.period.start, "year")
        parts.setdefault((row.kpi, row.dimension, row.scope, year.label), []).append(row)
    totals = []
    for (kpi, dim, scope, label), found in parts.items():
        year = calendar.parse_period(label)
        if sum(r.period.end - r.period.start for r in found) == year.end - year.start and len(found) > 1:
            totals.append(PlanTarget(kpi, dim, scope, year, sum((r.value for r in found), Decimal(0)), found[0].pacing))
    return totals


def elapsed(calendar: Calendar, pacing: Pacing, period: Period, day: int) -> Fraction:
    """Share of the period's target that is expected by the end of a day (0 before it, 1 from its last day on)."""
    through = min(max(day + 1, period.start), period.end)
    if through == period.start:
        return Fraction(0)
    if through == period.end:
        return Fraction(1)
    if pacing.kind == "calendar_days":
        return Fraction(through - period.start, period.end - period.start)
    if pacing.kind == "curve":
        return _on_curve(pacing, Fraction(through - period.start, period.end - period.start))
    if pacing.kind == "monthly_weights":
        return _weighted(calendar, pacing, period, through)
    whole = calendar.working_days(period.start, period.end)
    return Fraction(calendar.working_days(period.start, through), whole) if whole else Fraction(0)


def _weighted(calendar: Calendar, pacing: Pacing, period: Period, through: int) -> Fraction:
    done = whole = Fraction(0)
    for month in calendar.periods("month", period.start, period.end):
        weight = Fraction(pacing.weights.get(month.label[-2:], Decimal(1)))
        whole += weight
        days = calendar.working_days(month.start, month.end)
        if days:
            done += weight * Fraction(
                calendar.working_days(month.start, min(max(through, month.start), month.end)), days
            )
    return done / whole if whole else Fraction(0)


def _on_curve(pacing: Pacing, share: Fraction) -> Fraction:
    points = [
        (Fraction(0), Fraction(0)),
        *((Fraction(x), Fraction(y)) for x, y in pacing.curve),
        (Fraction(1), Fraction(1)),
    ]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 <= share <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (share - x0) / (x1 - x0)
    return Fraction(1)
