"""The writer of points: what it sends, and what it says about positions."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.clock import ManualClock
from storage.influx_writer import DAY_US
from storage.ports import Record
from tests.unit.influx_samples import NOW_US, Gate, Make, make, stub, until, value, values
from tests.unit.influx_stub import ACCEPTED, Answer, InfluxStub, Write

__all__ = ["make", "stub"]


class TestWriting:
    """What reaches the server."""

    def test_fields_of_an_identity_share_a_line(self, make: Make, stub: InfluxStub) -> None:
        """The newest value of each wins, tags are safe and escaped, each grain has its bucket."""
        gate = Gate()
        writer = make(may_write=gate)
        gate.hold(writer)
        writer.add("day", "te nant", 1, [value('a"b, c', 1.0, 5, "actual"), value('a"b, c', 2.0, 5, "target")])
        writer.add("day", "te nant", 2, [value('a"b, c', 3.0, 5, "actual")])
        writer.add("minute", "te nant", 2, [value("", 0.5, NOW_US)])
        gate.opened.set()
        assert writer.flush(10)
        tags, scope = r"dimension=rep,kpi=revenue,period=2017-Q2,scope={},tenant=te\ nant", r"a%22b\,\ c"
        assert sorted(line for write in stub.writes[1:] for line in write.lines) == [
            f"kpi,{tags.format('-')} value=0.5 {NOW_US}",
            f"target,{tags.format(scope)} target=2.0,actual=3.0 5",
        ]
        assert (writer.points_written, writer.waiting, writer.last_write_at) == (4, 0, NOW_US)

    def test_records_merge_by_identity(self, make: Make, stub: InfluxStub) -> None:
        """Fields of a record are replaced one by one; the tenant is a tag, and of what is the process's own it is not."""
        gate = Gate()
        writer = make(may_write=gate)
        gate.hold(writer)
        deal = Record("deal", {"rank": "01"}, {"name": 'An "a"', "amount": 1.5, "active": True}, 9)
        writer.add("day", "t", 1, [deal])
        writer.add("day", "t", 2, [deal._replace(fields={"amount": 2.5, "age_days": 3})])
        writer.add("minute", None, None, [Record("health", {"role": "worker"}, {"lag": 0.0}, NOW_US)])
        gate.opened.set()
        assert writer.flush(10)
        assert sorted(line for write in stub.writes[1:] for line in write.lines) == [
            r'deal,rank=01,tenant=t active=true,age_days=3i,amount=2.5,name="An \"a\"" 9',
            f"health,role=worker lag=0 {NOW_US}",
        ]

    def test_batches_are_bounded_and_large_ones_packed(self, make: Make, stub: InfluxStub) -> None:
        """No request has more lines than it may; a large one is compressed."""
        writer = make(batch_points=40)
        writer.add("day", "t", 1, values(99))
        assert writer.flush(10)
        assert sorted(len(write.lines) for write in stub.writes) == [19, 40, 40]
        assert all(write.packed for write in stub.writes)
        assert len(stub.values("day")) == 99

    def test_memory_is_given_back_batch_by_batch(self, make: Make, stub: InfluxStub) -> None:
        """What the server has taken no longer counts, though more of the same moment is still to be sent."""
        waiting: list[int] = []

        def judge(_: Write) -> Answer:
            waiting.append(writer.waiting)
            return ACCEPTED

        stub.judge = judge
        writer = make(batch_points=10)
        writer.add("day", "t", 1, values(30))
        assert writer.flush(10)
        assert (waiting, writer.waiting) == ([30, 20, 10], 0)

    def test_at_most_every_so_often(self, make: Make, stub: InfluxStub) -> None:
        """What comes while a batch is young waits for the next, unless somebody wants it now."""
        writer = make(flush_ms=60_000)
        writer.add("day", "t", 1, [value("a", 1.0)])
        stub.wait(lambda: len(stub.writes) == 1)
        writer.add("day", "t", 2, [value("b", 1.0)])
        with stub.changed:
            assert not stub.changed.wait_for(lambda: len(stub.writes) > 1, 0.1)
        writer.add("day", "t", 2, [value("c", 1.0)])
        assert writer.flush(10)
        assert [len(write.lines) for write in stub.writes] == [1, 2]

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_what_is_not_finite_is_refused_whole(self, make: Make, stub: InfluxStub, number: float) -> None:
        """Nothing of the call is taken in, neither points nor records."""
        writer = make()
        good = Record("deal", {"rank": "01"}, {"amount": 1.0}, 0)
        for bad in (value("b", number), Record("deal", {"rank": "02"}, {"amount": number}, 0)):
            with pytest.raises(ValueError, match="finite"):
                writer.add("day", "t", 1, [value("a", 1.0), good, bad])
        assert writer.flush(10)
        assert (stub.writes, writer.waiting) == ([], 0)

    @pytest.mark.parametrize(
        "record",
        [
            Record("deal", {}, {"amount": 2**63}, 0),
            Record("deal", {}, {"amount": None}, 0),  # type: ignore[dict-item]
            Record("deal", {}, {}, 0),
            Record("target", {}, {"actual": 1.0}, 0),
        ],
    )
    def test_records_that_cannot_be_held(self, make: Make, record: Record) -> None:
        """A number that does not fit, a value of no type, no field, and what has to be written as points."""
        with pytest.raises(ValueError, match=r"beyond the integers|no type|needs a field|written as points"):
            make().add("day", "t", 1, [record])

    def test_minute_points_beyond_the_retention(self, make: Make, stub: InfluxStub) -> None:
        """They are left out without an error, when added and when they have waited too long; day points never are."""
        clock, may_write = ManualClock(NOW_US), threading.Event()
        writer = make(clock=clock, may_write=may_write.is_set)
        week_ago = NOW_US - 7 * DAY_US
        writer.add("minute", "t", 1, [value("old", 1.0, week_ago), value("ages", 1.0, week_ago + DAY_US)])
        writer.add("minute", "t", 1, [value("new", 1.0, NOW_US)])
        writer.add("minute", "t", 1, [Record("source", {"scope": "old"}, {"value": 1}, week_ago)])
        writer.add("day", "t", 1, [value("old", 1.0, 0)])
        writer.advance("t", 1)
        assert writer.waiting == 3
        clock.now_us += DAY_US
        may_write.set()
        assert writer.flush(10)
        assert (stub.values("live"), stub.values("day")) == ({"new": "1.0"}, {"old": "1.0"})
        assert (writer.write_errors, writer.points_dropped, writer.waiting, writer.durable("t")) == (0, 0, 0, 1)

    def test_many_threads(self, make: Make, stub: InfluxStub) -> None:
        """Tenants are worked on by threads of their own: nothing gets lost or mixed up."""
        writer = make(batch_points=50)

        def work(tenant: str) -> None:
            for position in range(1, 41):
                writer.add(
                    "day",
                    tenant,
                    position,
                    [value(f"{tenant}{position}", float(position)), value(tenant, float(position))],
                )
                writer.advance(tenant, position)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, "abcdefgh"))
        assert writer.flush(10)
        assert {writer.durable(tenant) for tenant in "abcdefgh"} == {40}
        expected = {f"{tenant}{position}": f"{position}.0" for tenant in "abcdefgh" for position in range(1, 41)}
        assert stub.values("day") == expected | dict.fromkeys("abcdefgh", "40.0")
        assert (writer.waiting, writer.points_dropped) == (0, 0)

    def test_an_unknown_grain(self, make: Make) -> None:
        """A third grain has no bucket."""
        with pytest.raises(ValueError, match="«hour» is no grain"):
            make().add("hour", "t", 1, [])


class TestDurable:
    """Positions and what is told about them."""

    def test_a_position_is_durable_when_all_of_it_is_written(self, make: Make, stub: InfluxStub) -> None:
        """Not when it is only added, nor when the caller has not said that this was all."""
        writer = make()
        stub.open.clear()
        writer.add("day", "t", 7, [value("a", 1.0)])
        writer.advance("t", 7)
        assert not writer.flush(0.05)
        assert writer.durable("t") == 0
        stub.open.set()
        assert writer.flush(10)
        assert writer.durable("t") == 7
        writer.add("day", "t", 8, [value("a", 2.0)])
        assert writer.flush(10)
        assert (writer.durable("t"), stub.values("day")) == (7, {"a": "2.0"})
        writer.advance("t", 8)
        assert writer.durable("t") == 8

    def test_the_hook_is_told(self, make: Make, stub: InfluxStub) -> None:
        """Each growth of a durable position, also where nothing had to be written; it may fail and hear of the next."""
        told: list[Mapping[str, int]] = []

        def note(moved: Mapping[str, int]) -> None:
            told.append(dict(moved))
            raise RuntimeError("the hook's own trouble")

        writer = make(on_written=note)
        stub.open.clear()
        writer.add("day", "t", 1, [value("a", 1.0)])
        writer.advance("t", 1)
        writer.add("day", None, None, [value("own", 1.0)])
        writer.add("day", "u", 5, [value("a", 1.0)])
        writer.advance("u", 5)
        stub.open.set()
        assert writer.flush(10)
        writer.advance("v", 3)
        until(lambda: {"v": 3} in told)
        assert {tenant: position for moved in told for tenant, position in moved.items()} == {"t": 1, "u": 5, "v": 3}

    def test_an_unknown_tenant(self, make: Make) -> None:
        """It has nothing durable, and has lost nothing."""
        writer = make()
        assert (writer.durable("nobody"), writer.overflowed("nobody")) == (0, False)

    def test_a_defect_moves_no_position(self, make: Make, stub: InfluxStub) -> None:
        """A batch that is lost by an error of our own leaves the positions where they are, and the next one is written."""
        trouble = [RuntimeError("a defect")]

        def may_write() -> bool:
            if trouble:
                raise trouble.pop()
            return True

        writer = make(may_write=may_write)
        writer.add("day", "t", 1, [value("a", 1.0)])
        writer.advance("t", 1)
        assert not writer.flush(10)
        assert (writer.durable("t"), writer.overflowed("t"), writer.waiting) == (0, True, 0)
        writer.clear_overflow("t")
        writer.add("day", "t", 1, [value("a", 1.0)])
        writer.advance("t", 1)
        assert writer.flush(10)
        assert (writer.durable("t"), stub.values("day")) == (1, {"a": "1.0"})


class TestEnding:
    """flush and close."""

    def test_closing_writes_what_waits(self, make: Make, stub: InfluxStub) -> None:
        """All of it, and then nothing is taken in any more."""
        writer = make(flush_ms=60_000)
        for position in (1, 2, 3):
            writer.add("day", "t", position, values(10, position * 10))
            writer.advance("t", position)
        assert writer.close(10)
        assert (len(stub.values("day")), writer.durable("t")) == (30, 3)
        with pytest.raises(ValueError, match="closed"):
            writer.add("day", "t", 4, values(1))

    def test_closing_ends_in_time(self, make: Make, stub: InfluxStub) -> None:
        """A server that is down does not hold up the end, and what is not written is not said to be."""
        stub.answer(*[Answer(503)] * 100)
        writer = make()
        writer.add("day", "t", 1, values(1))
        writer.advance("t", 1)
        began_s = time.monotonic()
        assert not writer.close(0.3)
        assert time.monotonic() - began_s < 3
        assert writer.durable("t") == 0

    def test_nothing_to_wait_for(self, make: Make) -> None:
        """A writer without points is flushed and closed at once."""
        writer = make()
        assert writer.flush(0)
        assert writer.close(1)
        assert writer.close(1)
