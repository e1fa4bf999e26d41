"""The invariants of the fold, on random histories. `make campaign` runs ten thousand of them."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.expression import names_in
from processors.fold import apply
from processors.movement import BARS, SIGNS, bars_between, flows, totals
from processors.query import catalogue, query
from processors.state import NULL, State
from processors.totals import UNDATED, Totals
from schemas.change import Change
from schemas.message import decode_changes, encode_changes
from schemas.money import exponent
from tests.property.histories import CONFIG, DAY_US, START_US, history
from tests.property.oracle_histories import random_history
from tests.property.plain_fold import totals as plain_totals

SEEDS = st.integers(min_value=0, max_value=2**32)
FOUND = catalogue()
KPIS = {
    "revenue",
    "won_deals",
    "lost_deals",
    "pipeline",
    "open_deals",
    "weighted_pipeline",
    "created_pipeline",
    "created_deals",
}


def incremental(changes: list[Change], seed: int) -> tuple[State, dict[tuple[str, ...], int]]:
    """Fold in random batches; totals as the plain fold gives them."""
    draw, state = random.Random(seed), State(CONFIG)
    live = Totals(state, FOUND)
    at = 0
    while at < len(changes):
        size = draw.randint(1, 7)
        live.apply(decode_changes(encode_changes(changes[at : at + size])))
        at += size
    found = {}
    for name in KPIS:
        (measure,) = names_in(FOUND.kpis[name].expression)
        for (m, dim, code, month), value in live.values.items():
            if m == measure:
                scope = "" if dim == "company" else str(state.names.text(code))
                label = "" if month == UNDATED else state.calendar.span(month, "month")[0].label
                found[(name, dim, scope, label)] = value
    return state, found


def check_incremental_equals_plain(seed: int) -> None:
    """Incremental totals equal a plain fold of the whole; money to the last cent."""
    changes = history(seed)
    state, found = incremental(changes, seed)
    assert found == plain_totals(changes, CONFIG, state.now)


def check_order_repeats_and_batching(seed: int) -> None:
    """Any order, any repetition and any batching give the same values, and every change is accounted for."""
    changes = history(seed)
    other = changes + changes[: len(changes) // 2]
    random.Random(seed + 1).shuffle(other)
    state, found = incremental(changes, seed)
    again, same = incremental(other, seed + 2)
    assert found == same
    for folded, given_in in ((state, changes), (again, other)):
        assert sum(sum(c.values()) for c in folded.counts.values()) == len(given_in)
    assert apply(again, decode_changes(encode_changes(changes))).outcomes["applied"] == 0


def check_query_equals_plain(seed: int) -> None:
    """Queries as of a moment equal the plain fold of the changes until then."""
    changes = history(seed)
    until = START_US + random.Random(seed).randint(0, 180) * DAY_US
    state = State(CONFIG)
    apply(state, decode_changes(encode_changes(changes)), until)
    state.now = until
    expected = plain_totals(changes, CONFIG, until, until)
    for name in sorted(KPIS):
        places = exponent("USD") if FOUND.kpis[name].unit == "money" else 0
        for dim in ("rep", "team", "territory", "segment", "product"):
            got = {
                str(r.scope[dim]): int(r.value.scaleb(places)) for r in query(state, FOUND, name, by=[dim]) if r.value
            }
            wanted: dict[str, int] = {}
            for (kpi, d, scope, _), value in expected.items():
                if (kpi, d) == (name, dim):
                    wanted[scope] = wanted.get(scope, 0) + value
            assert got == {k: v for k, v in wanted.items() if v}, (name, dim)


def check_conservation(seed: int) -> None:
    """Between any two instants the movement adds up in every scope, and begins and ends with the pipeline."""
    changes, draw = history(seed), random.Random(seed)
    start, end = sorted(START_US + draw.randint(0, 180) * DAY_US for _ in range(2))
    state = State(CONFIG)
    apply(state, decode_changes(encode_changes(changes)), end)
    state.now = end
    period = state.calendar.parse_period("2026-Q1") if draw.random() < 0.5 else None
    for by in (None, "rep", "product"):
        for code, bars in totals(flows(state, start, end, period, by)).items():
            assert bars["opening"] + sum(SIGNS[b] * bars[b] for b in BARS if b in SIGNS) == bars["closing"]
            where = {} if by is None else {by: state.names.text(code)}
            (now,) = query(state, FOUND, "pipeline", where=where, periods=[period])
            if by is None or code != NULL:
                assert now.value is not None
                assert int(now.value.scaleb(2)) == bars["closing"]


def check_bars_between_equal_flows(seed: int) -> None:
    """The short way to the bars, past the deals that nothing happened to, gives what all flows add up to."""
    told, draw = random_history(seed), random.Random(seed)
    state = State(told.config)
    apply(state, decode_changes(encode_changes(told.changes)))
    end = state.now + draw.choice((0, 3_600_000_000, 20 * DAY_US))
    state.now, start = end, end - draw.choice((3_600_000_000, DAY_US, 7 * DAY_US, 90 * DAY_US))
    for by in (None, "rep", "territory", "segment", "product"):
        expected, found = totals(flows(state, start, end, None, by)), bars_between(state, start, end, by)
        for code in expected.keys() | found.keys():
            assert found.get(code, dict.fromkeys(BARS, 0)) == expected.get(code, dict.fromkeys(BARS, 0)), (by, code)


CHECKS = (
    check_bars_between_equal_flows,
    check_incremental_equals_plain,
    check_order_repeats_and_batching,
    check_query_equals_plain,
    check_conservation,
)


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_bars_between_equal_flows(seed: int) -> None:
    """Boards draw the movement of a window from the short way."""
    check_bars_between_equal_flows(seed)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_incremental_equals_plain(seed: int) -> None:
    """Invariants 2 and 5: the fold in batches equals a fold of the whole, exactly."""
    check_incremental_equals_plain(seed)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_order_repeats_and_batching(seed: int) -> None:
    """Invariants 3, 4 and 7: order, repeats and batches change no value, and no change vanishes."""
    check_order_repeats_and_batching(seed)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_query_as_of_equals_plain(seed: int) -> None:
    """What was known at a moment is what the changes until then say."""
    check_query_equals_plain(seed)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_conservation(seed: int) -> None:
    """Invariant 6: opening plus what came less what went is closing."""
    check_conservation(seed)
