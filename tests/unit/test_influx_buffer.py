"""What waits for InfluxDB: whatever happens, a durable position never says more than what is written."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.influx_buffer import Batch, Buffer
from storage.influx_lines import Lines, PointKey
from storage.points import GRAINS

TENANTS = ("a", "b")
KEYS = ("k0", "k1", "k2")


def key_of(kpi: str) -> PointKey:
    return (kpi, "company", "", "2017", 0, "value")


@dataclass
class World:
    """Tenants with a log, a caller that folds it into a buffer, and a database that is written from the buffer.

    Position p of a log writes p under some keys, first at one grain and then at the other.
    """

    logs: dict[str, list[dict[str, set[str]]]]
    buffer: Buffer
    database: dict[tuple[str, str, str], float] = field(default_factory=dict)
    to_do: dict[str, deque[tuple[str, int]]] = field(default_factory=dict)
    batch: Batch | None = None

    def __post_init__(self) -> None:
        for tenant in TENANTS:
            self.fold_from(tenant, 0)

    def fold_from(self, tenant: str, after: int) -> None:
        positions = range(after + 1, len(self.logs[tenant]) + 1)
        self.to_do[tenant] = deque((act, p) for p in positions for act in (*GRAINS, "advance"))

    def go_on(self, tenant: str, steps: int = 1) -> None:
        """The caller does its next bits of work."""
        for _ in range(min(steps, len(self.to_do[tenant]))):
            act, position = self.to_do[tenant].popleft()
            if act == "advance":
                self.buffer.advance(tenant, position)
            else:
                keys = self.logs[tenant][position - 1][act]
                self.buffer.add(act, tenant, position, {key_of(key): float(position) for key in keys}, {})

    def replay(self, tenant: str) -> None:
        if self.buffer.overflowed(tenant):
            self.buffer.restart(tenant)
            self.fold_from(tenant, self.buffer.durable(tenant))

    def move_away_and_back(self, tenant: str) -> None:
        durable = self.buffer.durable(tenant)
        self.buffer.discard(tenant)
        self.buffer.advance(tenant, durable)
        self.fold_from(tenant, durable)

    def take(self) -> None:
        if self.batch is None:
            self.batch = self.buffer.take()

    def finish(self, written: bool, until: int = 10_000) -> None:
        """The batch reaches the database whole, or is lost after some of its lines."""
        if self.batch is None:
            return
        lines = [(grain, line) for grain in GRAINS for line in self.batch.lines(grain, Lines(), None)]
        for grain, line in lines if written else lines[:until]:
            assert line.owner.name is not None
            found = re.search(r",kpi=(k\d),.* value=([\d.]+) 0$", line.text)
            assert found is not None
            if not line.owner.gone:
                self.database[line.owner.name, grain, found[1]] = float(found[2])
            self.buffer.release(self.batch, line.values)
        batch, self.batch = self.batch, None
        self.buffer.settle(batch, written)

    def check(self) -> None:
        for tenant in TENANTS:
            for position, writes in enumerate(self.logs[tenant][: self.buffer.durable(tenant)], 1):
                for grain, keys in writes.items():
                    for key in keys:
                        held = self.database.get((tenant, grain, key), 0.0)
                        assert held >= position, f"{tenant} is said to be durable, but {key} of {position} is not there"


keys = st.sets(st.sampled_from(KEYS), max_size=2)
logs = st.lists(st.fixed_dictionaries(dict.fromkeys(GRAINS, keys)), min_size=3, max_size=8)
tenants = st.sampled_from(TENANTS)
acts = st.one_of(
    st.tuples(st.just("go_on"), tenants, st.integers(1, 8)),
    st.tuples(st.just("take")),
    st.tuples(st.just("finish"), st.just(True)),
    st.tuples(st.just("replay"), tenants),
    st.tuples(st.just("finish"), st.just(False), st.integers(0, 4)),
    st.tuples(st.just("move_away_and_back"), tenants),
)


class TestDurable:
    """The promise to the caller."""

    @settings(max_examples=300, deadline=None)
    @given(
        st.fixed_dictionaries(dict.fromkeys(TENANTS, logs)), st.integers(2, 6), st.lists(acts, min_size=20, max_size=40)
    )
    def test_whatever_happens(
        self, written: dict[str, list[dict[str, set[str]]]], size_max: int, happens: list[tuple[str, ...]]
    ) -> None:
        """Full buffers, lost batches, replays and moves in any order: what is durable is in the database, the buffer keeps
        its bound, and in the end everything arrives."""
        world = World(written, Buffer(size_max))
        for act, *arguments in happens:
            getattr(world, act)(*arguments)
            world.check()
            assert 0 <= world.buffer.size <= size_max
        for _ in range(2):  # what is on its way, and what waits
            world.finish(True)
            world.take()
        world.finish(True)
        for tenant in TENANTS:
            world.replay(tenant)
            while world.to_do[tenant]:
                world.go_on(tenant)
                world.take()
                world.finish(True)
            world.check()
            assert world.buffer.durable(tenant) == len(written[tenant])
            assert not world.buffer.overflowed(tenant)
        assert world.buffer.size == 0
        for tenant in TENANTS:
            for position, writes in enumerate(written[tenant], 1):
                for grain, keys in writes.items():
                    last = {key for later in written[tenant][position:] for key in later[grain]}
                    assert all(world.database[tenant, grain, key] == position for key in keys - last)

    def test_what_comes_meanwhile_waits_for_its_own_batch(self) -> None:
        """A batch proves what it held; a later position that wrote something is proven by the next one, and a later one
        that wrote nothing by this one."""
        buffer = Buffer(9)
        for position in (1, 2):
            buffer.add("day", "a", position, {key_of("k0"): float(position)}, {})
            buffer.advance("a", position)
            batch = buffer.take()
            buffer.add("day", "a", position + 1, {key_of("k0"): 9.0}, {})
            buffer.advance("a", position + 1)
            assert buffer.settle(batch, True) == {"a": position}
        batch = buffer.take()
        buffer.advance("a", 7)
        assert buffer.durable("a") == 2
        assert buffer.settle(batch, True) == {"a": 7}
        buffer.advance("a", 8)
        assert buffer.durable("a") == 8

    @pytest.mark.parametrize("on_its_way", [False, True])
    def test_a_replay_goes_through_older_values(self, on_its_way: bool) -> None:
        """While it does, positions that were added before it began do not count, whether they waited or travelled."""
        one, two = {"minute": {"k0"}, "day": set[str]()}, {"minute": {"k1", "k2"}, "day": set[str]()}
        world = World({"a": [one, one, two], "b": []}, Buffer(2))
        world.go_on("a", 6)
        if on_its_way:
            world.take()
        world.go_on("a", 3)
        assert world.buffer.overflowed("a")
        world.replay("a")
        world.go_on("a", 1)
        for _ in range(2):
            world.finish(True)
            world.check()
            world.take()
        world.finish(True)
        world.check()
        assert world.database["a", "minute", "k0"] == 1.0
        assert world.buffer.durable("a") == 0


class TestBound:
    """How much is held."""

    def test_what_is_known_already_needs_no_room(self) -> None:
        """A full buffer still takes newer values of what it holds, and refuses what is new, whole."""
        buffer = Buffer(3)
        held = {key_of(key): 1.0 for key in KEYS}
        assert buffer.add("day", "a", 1, held, {})
        assert buffer.add("day", "a", 2, {key_of("k1"): 2.0}, {})
        assert not buffer.add("day", "a", 3, {key_of("k1"): 3.0, key_of("new"): 3.0}, {})
        assert (buffer.size, buffer.dropped, buffer.overflowed("a")) == (3, 2, True)
        lines = [line.text for line in buffer.take().lines("day", Lines(), None)]
        assert sorted(re.findall("kpi=(k.).*value=(.*) 0", "\n".join(lines))) == [
            ("k0", "1.0"),
            ("k1", "2.0"),
            ("k2", "1.0"),
        ]

    def test_fields_of_records_count_one_by_one(self) -> None:
        """A record merges field by field, and each field needs room."""
        buffer = Buffer(3)
        key = ("deal", (("rank", "01"),), 0)
        assert buffer.add("day", "a", 1, {}, {key: {"name": "Anna", "amount": 1.0}})
        assert buffer.add("day", "a", 1, {}, {key: {"amount": 2.0, "active": True}})
        assert not buffer.add("day", "a", 1, {}, {key: {"amount": 3.0, "age_days": 4}})
        (line,) = buffer.take().lines("day", Lines(), None)
        assert line.text == 'deal,rank=01,tenant=a active=true,amount=2,name="Anna" 0'
        assert (line.values, buffer.size) == (3, 3)

    def test_an_add_larger_than_the_buffer(self) -> None:
        """It is taken in when the buffer is empty, for otherwise its log could never be replayed; else it is a loss."""
        buffer = Buffer(2)
        held = {key_of(key): 1.0 for key in KEYS}
        assert buffer.add("day", "a", 1, held, {})
        assert not buffer.add("day", "b", 1, held, {})
        assert (buffer.overflowed("a"), buffer.overflowed("b")) == (False, True)

    def test_what_is_discarded_is_gone(self) -> None:
        """Nothing of a discarded tenant is sent, neither what waited nor what is in a batch; room is given back."""
        buffer = Buffer(9)
        for tenant in TENANTS:
            buffer.add("day", tenant, 1, {key_of("k0"): 1.0, key_of("k1"): 1.0}, {})
        batch = buffer.take()
        lines = batch.lines("day", Lines(), None)
        first = next(lines)
        buffer.add("minute", "a", 2, {key_of("k2"): 1.0}, {})
        assert not first.owner.gone
        buffer.discard("a")
        assert first.owner.gone
        assert [line.owner.name for line in lines if not line.owner.gone] == ["b", "b"]
        assert list(buffer.take().lines("minute", Lines(), None)) == []
        assert (buffer.settle(batch, True), buffer.size) == ({}, 0)

    @pytest.mark.parametrize(("position", "overflowed"), [(5, True), (None, False)])
    def test_what_has_no_position_cannot_be_replayed(self, position: int | None, overflowed: bool) -> None:
        """It is lost without a claim on the log; what has a position is replayed."""
        buffer = Buffer(1)
        buffer.add("day", "b", 1, {key_of("k0"): 1.0}, {})
        assert not buffer.add("minute", "a", position, {key_of("k0"): 1.0}, {})
        assert buffer.overflowed("a") is overflowed
