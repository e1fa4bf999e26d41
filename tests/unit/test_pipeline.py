"""A tenant's pipeline on logs of a few deals: what the random ones of tests/property have found, one by one."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress

import pytest

from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import CalendarConfig, Config, Stage
from schemas.message import encode_changes
from schemas.plan import Plan, Target
from tests.property.pipelines import Crash, Process, World, transitions

CONFIG = Config(
    tenant="acme",
    time="log",
    calendar=CalendarConfig(time_zone="UTC"),
    stages=(Stage(name="Open", probability=50), Stage(name="Won", kind="won")),
)
PLAN = Plan(
    name="Two quarters",
    horizon=("2017-01-01", "2017-06-30"),
    targets=(Target(kpi="revenue", values={"2017-Q1": 1_000, "2017-Q2": 1_000}),),
)


def moment(time: str) -> int:
    """A time in UTC as microseconds."""
    return int(dt.datetime.fromisoformat(f"{time}+00:00").timestamp()) * 1_000_000


def told(*deals: tuple[str, str, str, int, str]) -> World:
    """A log of deals: time, id, stage, amount and close date; a message each."""
    payloads = []
    for number, (time, record_id, stage, amount, close) in enumerate(deals):
        change = Change(
            tenant="acme",
            source="crm",
            entity="opportunity",
            record_id=record_id,
            op="update",
            version=number,
            occurred_at=moment(time),
            event_id=f"e{number}",
            fields={"stage": stage, "amount": amount, "close_date": close},
        )
        payloads.append(encode_changes([change]))
    return World(CONFIG, PLAN, payloads)


QUARTER_TURN = told(
    ("2017-03-29T09:00:00", "d1", "Won", 1, "2017-03-29"),
    ("2017-03-30T09:00:00", "d2", "Open", 10, "2017-06-20"),
    ("2017-04-10T09:00:00", "d3", "Open", 10, "2017-06-20"),
)


def test_a_death_at_the_turn_of_a_quarter() -> None:
    """Dead at any of its writes, it goes on without alerts that nothing gave rise to."""
    calm = Process(QUARTER_TURN).run(1)
    for left in range(1_000):
        process = Process(QUARTER_TURN)
        process.fuse.left = left
        try:
            process.run(1)
            break  # it had fewer writes
        except Crash:
            process.die()
            process.run(1)
        assert transitions(process.alerts()) == transitions(calm.alerts()), left


CORRECTED = told(
    ("2017-03-02T09:00:10", "d1", "Won", 2_000, "2017-03-02"),
    ("2017-03-02T09:00:50", "d1", "Won", 0, "2017-03-02"),
)


@pytest.mark.parametrize("stack", [False, True])
def test_a_point_that_an_earlier_life_has_written(stack: bool) -> None:
    """Dead at any write after the first message; the next life takes it together with its correction."""
    for left in range(1, 20):
        process = Process(CORRECTED, stack=stack)
        process.fuse.left = left
        with suppress(Crash):
            process.take(1)
        process.series.flush(100)
        process.die()
        process.run(2)
        contents = process.series.contents()
        for grain in ("minute", "day"):
            points = contents.get((grain, "revenue", "company", "", "2017-Q1", "value"), {})
            assert points.get(max(points, default=0), 0.0) == 0.0, (left, grain)


def test_ticks_of_a_tenant_in_the_logs_time() -> None:
    """Where the log is the clock, no time passes between two messages: looking again changes no alert."""
    world = told(
        ("2017-03-01T09:00:00", "d1", "Won", 1, "2017-03-01"),
        ("2017-03-02T09:00:50", "d2", "Open", 100, "2017-03-20"),
    )
    calm, ticking = Process(world).run(1), Process(world)
    while ticking.take(1):
        ticking.pipeline.tick(0)
    ticking.pipeline.tick(0)
    assert transitions(ticking.alerts()) == transitions(calm.alerts())


def test_a_tenant_that_nothing_happens_to() -> None:
    """Within some minutes it is kept that it was live and what is in the series, so that a restart tells what is news."""
    quiet = QUARTER_TURN._replace(
        config=CONFIG.model_copy(update={"time": "system"}), plan=PLAN.model_copy(update={"targets": ()})
    )
    clock = ManualClock(moment("2017-04-10T09:01:00"))
    process = Process(quiet, stack=True, clock=clock).run(1)
    process.series.flush(1_000)
    for _ in range(30):
        clock.now_us += 5_000_000
        process.pipeline.tick(0)
        process.publish()
    process.die()
    assert (process.pipeline.cursor.live, process.pipeline.cursor.written) == (True, 3)


def test_points_of_days_that_come_late() -> None:
    """Messages of yesterday that come today: the statuses of yesterday are written, as a rebuild writes them."""
    late = told(
        ("2017-03-03T09:00:00", "d1", "Won", 1, "2017-03-03"),
        ("2017-03-04T09:00:00", "d2", "Won", 10, "2017-03-04"),
    )
    late = late._replace(config=CONFIG.model_copy(update={"time": "system"}))
    found = []
    for ticks in (0, 1):
        process = Process(late, clock=ManualClock(moment("2017-03-05T12:00:00")))
        process.take(1)
        for _ in range(ticks):
            process.pipeline.tick(0)
        process.take(1)
        process.pipeline.tick(0)
        found.append(process.series.contents()["day", "revenue", "company", "", "2017-Q1", "actual"])
    assert found[0] == found[1]
