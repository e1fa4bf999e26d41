"""Points and alerts are a function of the log: however messages arrive, and wherever the process dies."""

from __future__ import annotations

import random
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from planwatch.points import ValuePoints
from processors.totals import Totals
from tests.property.pipelines import (
    FOUND,
    Crash,
    Identity,
    Process,
    World,
    known,
    one_message_a_minute,
    random_world,
    transitions,
)

SEEDS = st.integers(min_value=0, max_value=2**32)
DEATHS = 3


def disturbed(world: World, draw: random.Random, *, stack: bool, whole: bool, torn: bool) -> Process:
    """The same log under disturbances: cut anywhere or (`whole`) message by message, deaths and new starts.

    Embedded, a process dies between two takes or, `torn`, at any write. In the stack it dies at any write, and what the
    turn has changed of the alert state is lost with it; `torn`: the changelog has some of that.
    """
    process, deaths, more = Process(world, stack=stack), 0, True
    while more:
        if (stack or torn) and deaths < DEATHS and draw.random() < 0.4:
            process.fuse.left = draw.randint(0, 12)
        try:
            more = process.take(1 if whole else draw.choice((1, 2, 3, 5, 50)))
            process.fuse.left = None
            process.series.flush(draw.choice((0, 1, 3, 100)))
            if draw.random() < 0.4:
                process.save()
            if deaths < DEATHS and draw.random() < 0.3:
                raise Crash
        except Crash:
            if torn:
                process.publish(draw.randint(0, 8))
            deaths, more = deaths + 1, True
            process.die()
    return process


def one_world(draw: random.Random, seed: int) -> tuple[World, Process, bool]:
    """A log, the process that nothing disturbs, and whether it must be taken message by message to be comparable."""
    world = random_world(seed)
    if draw.random() < 0.3:
        world = world._replace(config=world.config.model_copy(update={"live_series_days": 7}))
    whole = draw.random() < 0.5
    if not whole:
        world = one_message_a_minute(world)
    return world, Process(world).run(1 if whole else 1_000), whole


def check_restarts_change_nothing(seed: int) -> None:
    """The same points, alerts and counts as without any disturbance, embedded and in the stack."""
    draw = random.Random(seed)
    world, calm, whole = one_world(draw, seed)
    rough = disturbed(world, draw, stack=draw.random() < 0.6, whole=whole, torn=False)
    assert rough.series.contents() == calm.series.contents()
    assert transitions(rough.alerts()) == transitions(calm.alerts())
    assert rough.pipeline.state.counts == calm.pipeline.state.counts


def check_no_death_loses_a_point(seed: int) -> None:
    """Dead in the midst of a write, with half of the alert state written: the same points, counts and alerts."""
    draw = random.Random(seed)
    world, calm, whole = one_world(draw, seed)
    rough = disturbed(world, draw, stack=draw.random() < 0.5, whole=whole, torn=True)
    assert rough.series.contents() == calm.series.contents()
    assert rough.pipeline.state.counts == calm.pipeline.state.counts
    assert transitions(rough.alerts()) == transitions(calm.alerts())


def check_cuts_change_no_last_point(seed: int) -> None:
    """All at once, one by one, or in between: what a reader sees at any minute and day is the same.

    A finer cut writes more points, never others. Where it wrote one of something that was nothing before and after, it is
    a 0 of an amount or a count, or a ratio that says by `no_value` that it has none.
    """
    draw, world = random.Random(seed), random_world(seed)
    between = Process(world)
    while between.take(draw.randint(1, 5)):
        pass
    for fine in (Process(world).run(1), between):
        _no_last_point_differs(fine, Process(world).run(1_000))


def check_cuts_and_deaths_change_no_last_point(seed: int) -> None:
    """The same where lives that were cut short have written points of their own, each cut in its way."""
    draw, world = random.Random(seed), random_world(seed)
    rough = disturbed(world, draw, stack=draw.random() < 0.7, whole=False, torn=draw.random() < 0.5)
    _no_last_point_differs(rough, Process(world).run(1_000))


def _no_last_point_differs(fine: Process, coarse: Process) -> None:
    found, expected = fine.series.contents(), coarse.series.contents()
    for identity, points in expected.items():
        assert points.items() <= found[identity].items(), identity
    seen = known(expected)
    for identity, values in known(found).items():
        if identity[5] == "value":
            assert _steps(identity, values) == _steps(identity, seen.get(identity, {})), identity


def check_series_end_where_the_state_is(seed: int) -> None:
    """The last point of every value, at both grains, is what the totals of the whole log give, however it was taken."""
    draw, world = random.Random(seed), random_world(seed)
    process = disturbed(world, draw, stack=draw.random() < 0.5, whole=False, torn=draw.random() < 0.5)
    contents = process.series.contents()
    totals = Totals(process.pipeline.state, FOUND)
    totals.rebuild()
    ends = {point[:4] + point[5:6]: point.value for point in ValuePoints(totals).of(set(totals.values), 0)}
    for grain in ("minute", "day"):
        last = {i[1:]: points[max(points)] for i, points in contents.items() if i[0] == grain and i[5] != "status"}
        assert {identity: last.get(identity) for identity in ends} == ends


def _steps(identity: Identity, points: Mapping[int, float | None]) -> list[tuple[int, float | None]]:
    """Where a series changes; before its first point an amount or a count is 0, and a ratio is none."""
    last = 0.0 if FOUND.kpis[identity[1]].additive else None
    found: list[tuple[int, float | None]] = []
    for bucket, value in sorted(points.items()):
        if value != last:
            found.append((bucket, value))
        last = value
    return found


CHECKS = (
    check_restarts_change_nothing,
    check_no_death_loses_a_point,
    check_cuts_change_no_last_point,
    check_cuts_and_deaths_change_no_last_point,
    check_series_end_where_the_state_is,
)


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_restarts_change_nothing(seed: int) -> None:
    """Invariants 1, 3 and 8: what is derived depends on the log alone."""
    check_restarts_change_nothing(seed)


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_no_death_loses_a_point(seed: int) -> None:
    """Invariant 3: a change that is applied again after a crash changes nothing."""
    check_no_death_loses_a_point(seed)


@settings(max_examples=3, deadline=None)
@given(SEEDS)
def test_cuts_change_no_last_point(seed: int) -> None:
    """The last point of a minute and of a day is a function of the log."""
    check_cuts_change_no_last_point(seed)


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_cuts_and_deaths_change_no_last_point(seed: int) -> None:
    """Points are absolute, so whoever writes them again makes them right."""
    check_cuts_and_deaths_change_no_last_point(seed)


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_series_end_where_the_state_is(seed: int) -> None:
    """Invariant 5: a point is the sum over the records."""
    check_series_end_where_the_state_is(seed)
