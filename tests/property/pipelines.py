"""A tenant's pipeline over the ports in memory, fed with random logs: what the tests of points and alerts run.

Everything that dies with a process can be taken away here: the pipeline, the points that wait for the series, and, at
any write, the rest of what was going on.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import orjson

from ingest.quarantine import Quarantine
from planwatch.home import Home
from planwatch.pipeline import CURSOR, Pipeline, decoded
from planwatch.store import Store
from planwatch.wiring import Parts
from processors.query import Catalogue, catalogue
from processors.snapshot import dump, load
from schemas.alert import Alert
from schemas.change import Change
from schemas.config import Config
from schemas.message import encode_changes
from schemas.plan import Pacing, Plan, Split, Target
from storage.memory import MemoryJournal, MemoryLog, MemorySeries
from storage.ports import Point
from tests.property.oracle_histories import REPS, TEAMS, TERRITORIES, random_history

FOUND = catalogue()
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
FIRST_US = 1_483_228_800_000_000  # 2017-01-01T00:00:00Z
QUARTERS = {f"2017-Q{quarter}": Decimal(90_000) for quarter in (1, 2, 3, 4)}
TARGETS = (
    Target(
        kpi="revenue",
        values=QUARTERS,
        split=Split(dimension="rep", members=REPS[:2]),
        roll_up=("team", "territory"),
        year_total=True,
    ),
    Target(kpi="win_rate", values={"2017": Decimal("0.6")}),
    Target(kpi="win_rate", dimension="rep", scope=REPS[0], values=dict.fromkeys(QUARTERS, Decimal("0.5"))),
    Target(kpi="lost_deals", values={"2017-Q1": Decimal(2), "2017-Q2": Decimal(1)}),
    Target(kpi="open_deals", dimension="territory", scope=TERRITORIES[0], values={"2017": Decimal(3)}),
    Target(kpi="cac", values={"2017": Decimal(500)}),
    Target(kpi="slippage_rate", dimension="team", scope=TEAMS[0], values={"2017-Q2": Decimal("0.2")}),
)
RULES = """
rules:
  - {name: risk, kind: target_at_risk, fire_below: 0.5, resolve_at: 0.6, elapsed_min: 0}
  - {name: lasting_risk, kind: target_at_risk, fire_below: 0.5, resolve_at: 0.6, for_s: 86400, keep_firing_s: 3600}
  - {name: pace, kind: behind_pace, fire_below: 0.8, resolve_at: 0.9, for_s: 30}
  - {name: thin, kind: coverage_low, fire_below: 1.5, elapsed_min: 0}
  - {name: slip, kind: deal_slipped}
  - {name: silent, kind: source_silent, silent_for_s: 86400}
"""

#: (grain, kpi, dimension, scope, period, field)
Identity = tuple[str, str, str, str, str, str]
Contents = dict[Identity, dict[int, float]]


class MemoryHome(Home):
    """A home without a folder."""

    def __init__(self, config: Config, plan: Plan, rules: str | None) -> None:
        self.path, self.config = Path("/nowhere"), config
        self._plan, self._rules = plan, rules

    def plan(self) -> Plan:
        return self._plan

    def catalogue(self) -> Catalogue:
        return FOUND

    def rules_text(self) -> str | None:
        return self._rules


class Crash(Exception):
    """The process dies."""


class Fuse:
    """Raises Crash at one of the writes that pass it."""

    def __init__(self) -> None:
        self.left: int | None = None

    def check(self) -> None:
        """One more moment at which the process may die."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash


class SlowSeries(MemorySeries):
    """Series that take what they are given some time later, in order; what waits dies with the process."""

    def __init__(self, fuse: Fuse, *, slow: bool) -> None:
        super().__init__()
        self._fuse, self._slow = fuse, slow
        self._identities: set[Identity] = set()
        self._waiting: deque[Callable[[], object]] = deque()
        self._durable = 0

    def write(self, grain: str, points: Iterable[Point]) -> None:
        taken = list(points)
        self._fuse.check()
        self._identities |= {(grain, p.kpi, p.dimension, p.scope, p.period, p.field) for p in taken}
        self._put(lambda: MemorySeries.write(self, grain, taken))
        self._fuse.check()

    def trim(self, grain: str, before: int) -> None:
        self._put(lambda: MemorySeries.trim(self, grain, before))

    def _put(self, work: Callable[[], object]) -> None:
        self._waiting.append(work)
        if not self._slow:
            self.flush(1)

    def added(self, position: int) -> None:
        """Every point of the messages up to a position was written."""

        def reach() -> None:
            self._durable = position

        self._put(reach)

    def flush(self, count: int) -> None:
        """Store some of what waits."""
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft()()

    def durable(self) -> int:
        """The position up to which every point is stored."""
        return self._durable

    def die(self) -> None:
        """Forget what the process knew."""
        self._waiting.clear()
        self._durable = 0

    def contents(self) -> Contents:
        """All points."""
        self.flush(len(self._waiting))
        found = {identity: self.read(*identity) for identity in self._identities}
        return {identity: {p.bucket: p.value for p in points} for identity, points in found.items() if points}


class FragileJournal(MemoryJournal):
    """A journal at whose writes the process may die, before or after each."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def put_many(self, records: Iterable[tuple[str, str, bytes]]) -> None:
        self._fuse.check()
        super().put_many(records)
        self._fuse.check()

    def delete(self, kind: str, keys: Iterable[str]) -> None:
        self._fuse.check()
        super().delete(kind, keys)
        self._fuse.check()


class World(NamedTuple):
    """A tenant and its log, a payload per message."""

    config: Config
    plan: Plan
    payloads: list[bytes]


class Process:
    """A tenant whose process may die and be started again."""

    def __init__(self, world: World, *, slow: bool = False) -> None:
        self.world, self.slow = world, slow
        self.fuse = Fuse()
        self.series, self.journal = SlowSeries(self.fuse, slow=slow), FragileJournal(self.fuse)
        parts = Parts(MemoryLog(), self.series, self.journal, Quarantine(self.journal))
        self.store = Store(MemoryHome(world.config, world.plan, RULES), parts=parts)
        self.store.log.append(world.payloads)
        self.snapshots: list[bytes] = []
        self.start()

    def start(self, snapshot: bytes | None = None) -> None:
        """A new pipeline over what is kept."""
        self.series.die()
        state = None if snapshot is None else load(self.world.config, snapshot)
        durable = self.series.durable if self.slow else None
        self.pipeline = Pipeline(self.store, {}, state=state, durable=durable)

    def take(self, count: int) -> bool:
        """Take some messages at once. False when there are none left. Raises Crash."""
        entries = self.store.log.read(self.pipeline.state.position, count)
        self.pipeline.take(decoded(entries))
        self.series.added(self.pipeline.state.position)
        return bool(entries)

    @property
    def known(self) -> int:
        """The position up to which all effects are kept: no snapshot may be newer."""
        saved = self.journal.get(*CURSOR)
        cursor: dict[str, int] = orjson.loads(saved) if saved else {}
        return min(cursor.get("position", 0), cursor.get("written", 0))

    def alerts(self) -> dict[str, Alert]:
        """Every alert that ever fired, by its id."""
        return {alert.id: alert for alert in self.pipeline.engine.history()}
