"""Totals that are kept while changes come in, and the points made of them, held against sums over everything."""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from planwatch.exporting import BY, periods_of
from planwatch.points import NO_VALUE, WHOLE, ValuePoints
from processors.expression import names_in
from processors.query import catalogue, query
from processors.state import State
from processors.totals import LIVE_DIMENSIONS, UNDATED, Key, Totals
from schemas.change import Change
from schemas.config import CalendarConfig
from schemas.message import decode_changes, encode_changes
from storage.ports import Point
from tests.property.oracle_histories import TEAMS, History, batched, random_history

SEEDS = st.integers(min_value=0, max_value=2**32)
FOUND = catalogue()
#: KPIs that points are made of: all their measures are kept as totals.
KEPT = {name: kpi for name, kpi in FOUND.kpis.items() if set(names_in(kpi.expression)) <= FOUND.measures.keys()}
CALENDARS = (
    CalendarConfig(),
    CalendarConfig(time_zone="Asia/Jakarta", fiscal_year_start="04-01"),
    CalendarConfig(time_zone="America/New_York", fiscal_year_start="02-01", pattern="4-4-5"),
)


def any_history(seed: int) -> History:
    """A random history in a calendar of some kind; some spending is a team's."""
    draw, history = random.Random(seed), random_history(seed)
    changes = [_of_a_team(draw, change) for change in history.changes]
    config = history.config.model_copy(update={"calendar": draw.choice((*CALENDARS, history.config.calendar))})
    return History(changes, config, history.moments)


def _of_a_team(draw: random.Random, change: Change) -> Change:
    if change.entity != "spend" or draw.random() < 0.4:
        return change
    fields = {name: value for name, value in change.fields.items() if name != "territory"}
    return change.model_copy(update={"fields": {**fields, "team": draw.choice(TEAMS)}})


def kept(history: History, seed: int) -> Iterator[tuple[Totals, dict[Key, int], set[Key]]]:
    """After each batch: the totals, what they were before, and what is said to have moved."""
    totals = Totals(State(history.config), FOUND)
    for batch in batched(history, seed):
        before = dict(totals.values)
        _, moved = totals.apply(decode_changes(encode_changes(batch)))
        yield totals, before, moved


def check_totals_equal_a_rebuild(seed: int) -> None:
    """After every batch the totals are those that are added up anew, and exactly those that changed have moved."""
    for totals, before, moved in kept(any_history(seed), seed):
        fresh = Totals(totals.state, FOUND)
        fresh.rebuild()
        assert totals.values == fresh.values
        assert moved == {k for k in before.keys() | totals.values.keys() if before.get(k) != totals.values.get(k)}
        for measure, dim, code, _ in totals.values:
            months = [m for (n, d, c, m) in totals.values if (n, d, c) == (measure, dim, code)]
            whole = sum(totals.values[measure, dim, code, month] for month in months)
            assert whole == totals.total(measure, dim, code, months) == totals.total(measure, dim, code, None)
            assert totals.total(measure, dim, code, None) == fresh.total(measure, dim, code, None)


def check_points_equal_queries(seed: int) -> None:
    """Each point is the value that a query gives at that moment, of its scope and period, as a float."""
    for totals, _, moved in kept(any_history(seed), seed):
        points = ValuePoints(totals).of(moved, 60)
        identities = [point._replace(value=0.0) for point in points]
        assert len(identities) == len(set(identities)), "two values at one place"
        for point, value in _queried(totals.state, points):
            said = {NO_VALUE: float(value is None), "value": value}
            assert said[point.field] == point.value, point


def _queried(state: State, points: list[Point]) -> Iterator[tuple[Point, float | None]]:
    rows: dict[tuple[str, str, str], dict[str, float | None]] = {}
    for point in points:
        key = (point.kpi, point.dimension, point.period)
        if key not in rows:
            by = [] if point.dimension == "company" else [point.dimension]
            period = None if point.period == WHOLE else state.calendar.parse_period(point.period)
            found = query(state, FOUND, point.kpi, by=by, periods=[period])
            rows[key] = {
                (row.scope.get(point.dimension) or ""): None if row.value is None else float(row.value) for row in found
            }
        # A count of nothing has no row by scope, and its point says 0.
        yield point, rows[key].get(point.scope, 0.0 if KEPT[point.kpi].additive else None)


def check_the_last_points_say_it_all(seed: int) -> None:
    """Once everything is folded, every value of every KPI that is kept is what its last point says."""
    last: dict[tuple[str, ...], float] = {}
    state = State(any_history(seed).config)
    for totals, _, moved in kept(any_history(seed), seed):
        state = totals.state
        points = ValuePoints(totals).of(moved, 60)
        last.update({(p.kpi, p.dimension, p.scope, p.period, p.field): p.value for p in points})
    for kpi in KEPT:
        for by in BY:
            dim = by[0] if by else "company"
            for row in query(state, FOUND, kpi, by=by, periods=[p for p in periods_of(state, FOUND) if p]):
                identity = (kpi, dim, row.scope.get(dim) or "", row.period or "")
                point = None if last.get((*identity, NO_VALUE)) else last.get((*identity, "value"))
                # What nothing ever counted for has no point: an amount or a count of nothing, never a ratio.
                nothing = point is None and KEPT[kpi].additive and row.value == 0
                assert nothing or point == (None if row.value is None else float(row.value)), identity


CHECKS = (check_totals_equal_a_rebuild, check_points_equal_queries, check_the_last_points_say_it_all)


def test_dimensions_are_those_of_exports() -> None:
    """Totals are kept for the scopes that exports show."""
    assert {*LIVE_DIMENSIONS} == {"company", *(by[0] for by in BY if by)}
    assert UNDATED not in {0, 1}


@settings(max_examples=12, deadline=None)
@given(SEEDS)
def test_totals_equal_a_rebuild(seed: int) -> None:
    """Invariant 5, also where a team, an account, a price or a rate changes what others count for."""
    check_totals_equal_a_rebuild(seed)


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_points_equal_queries(seed: int) -> None:
    """Series and queries never differ."""
    check_points_equal_queries(seed)


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_the_last_points_say_it_all(seed: int) -> None:
    """No value moves without a point."""
    check_the_last_points_say_it_all(seed)
