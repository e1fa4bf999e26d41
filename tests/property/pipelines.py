"""A tenant's pipeline over the ports in memory, fed with random logs: what the tests of points and alerts run.

Everything that dies with a process can be taken away here: the pipeline, the points that wait for the series, changes of
the alert state that wait for their changelog and, at any write, the rest of what was going on.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import orjson

from ingest.quarantine import Quarantine
from planwatch.home import Home
from planwatch.pipeline import Pipeline, saved_cursor
from planwatch.store import Store
from planwatch.wiring import Parts
from processors.query import Catalogue, catalogue
from processors.snapshot import Snapshot, dump, load
from schemas.alert import Alert
from schemas.change import Change
from schemas.clock import Clock
from schemas.config import Config
from schemas.message import decode_changes, encode_changes
from schemas.plan import Pacing, Plan, Split, Target
from storage.changelog_journal import ChangelogJournal
from storage.memory import MemoryJournal, MemoryLog, MemorySeries
from storage.ports import Journal, Message, Point
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
RULES = """rules:
- {name: risk, kind: target_at_risk, fire_below: 0.5, resolve_at: 0.6, elapsed_min: 0}
- {name: pace, kind: behind_pace, fire_below: 0.8, resolve_at: 0.9, for_s: 86400, keep_firing_s: 3600}
- {name: thin, kind: coverage_low, fire_below: 1.5, elapsed_min: 0, for_s: 30}
- {name: slip, kind: deal_slipped}
- {name: silent, kind: source_silent, silent_for_s: 86400}
"""

#: (grain, kpi, dimension, scope, period, field)
Identity = tuple[str, str, str, str, str, str]
Contents = dict[Identity, dict[int, float]]


class MemoryHome(Home):
    """A home without a folder."""

    def __init__(self, config: Config, plan: Plan) -> None:
        self.path = self.stack_path = Path("/nowhere")
        self.config = config
        self._plan = plan

    def plan(self) -> Plan:
        return self._plan

    def catalogue(self) -> Catalogue:
        return FOUND

    def rules_text(self) -> str | None:
        return RULES


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
    """Series that may take what they are given some time later, in order; what waits dies with the process."""

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
            self._durable = max(position, self._durable)

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
    """A journal that outlives the process, which may die before or after any write."""

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
    """A tenant as a process runs it, embedded or (`stack`) as a worker does. It may die and be started again."""

    def __init__(self, world: World, *, stack: bool = False, clock: Clock | None = None) -> None:
        self.world, self.stack, self.clock = world, stack, clock
        self.fuse = Fuse()
        self.series = SlowSeries(self.fuse, slow=stack)
        self.table: dict[bytes, bytes] = {}
        self.snapshot: bytes | None = None
        self._log = MemoryLog()
        self._log.append(world.payloads)
        self._kept = FragileJournal(self.fuse)
        self._start()

    def _start(self) -> None:
        journal: Journal = ChangelogJournal(self.world.config.tenant, self.table) if self.stack else self._kept
        self.journal = journal
        parts = Parts(self._log, self.series, journal, Quarantine(journal))
        saved = self._saved()
        self.pipeline = Pipeline(
            Store(MemoryHome(self.world.config, self.world.plan), self.clock, parts),
            {},
            state=saved.state if saved else None,
            durable=self.series.durable if self.stack else None,
        )
        self.series.added(max(self.pipeline.state.position, self.pipeline.cursor.written))

    def _saved(self) -> Snapshot | None:
        found = load(self.world.config, self.snapshot) if self.snapshot else None
        return found if found and found.judged <= saved_cursor(self.journal).position else None

    def take(self, count: int) -> bool:
        """Take some messages at once. False when there are none left. Raises Crash."""
        state = self.pipeline.state
        entries = self._log.read(state.position, count)
        self.pipeline.take([Message(entry.position, decode_changes(entry.payload)) for entry in entries])
        self.series.added(state.position)
        self.publish()
        return state.position < self._log.end()

    def publish(self, count: int = 1_000_000) -> None:
        """Give the changelog what is due; only so much of it arrives."""
        if isinstance(self.journal, ChangelogJournal):
            for key, value in self.journal.take_due()[:count]:
                if value is None:
                    self.table.pop(key, None)
                else:
                    self.table[key] = value

    def save(self) -> None:
        """Keep a snapshot, once everything up to it is in the series."""
        state = self.pipeline.state
        if self.stack and state.position <= self.series.durable():
            self.snapshot = dump(state, self.pipeline.cursor.position)

    def die(self) -> None:
        """Lose what is not kept, and start again."""
        self.fuse.left = None
        self.series.die()
        self._start()

    def run(self, count: int) -> Process:
        """Take everything, so many messages at a time."""
        while self.take(count):
            pass
        return self

    def alerts(self) -> dict[str, Alert]:
        """Every alert that ever fired, by its id."""
        return {alert.id: alert for alert in self.pipeline.engine.history()}


def transitions(alerts: dict[str, Alert]) -> dict[str, tuple[object, ...]]:
    """What of alerts is a function of the log: figures and sentences are those that were last worth a write."""
    return {id: (a.state, a.pending_at, a.fired_at, a.resolved_at, a.recipient) for id, a in alerts.items()}


def known(contents: Contents) -> dict[Identity, dict[int, float | None]]:
    """What a reader sees: a ratio whose `no_value` is 1 has none."""
    found: dict[Identity, dict[int, float | None]] = {}
    for identity, points in contents.items():
        gone = contents.get((*identity[:5], "no_value"), {})
        if identity[5] == "value":
            found[identity] = {**points, **{bucket: None for bucket, flag in gone.items() if flag}}
        elif identity[5] != "no_value":
            found[identity] = dict(points)
    return found


def random_world(seed: int, messages_max: int = 12) -> World:
    """A tenant by chance: some of the targets, times spread over the year or in a few minutes of a few days."""
    draw, history = random.Random(seed), random_history(seed)
    changes = history.changes[: 2 * messages_max]
    if draw.random() < 0.6:
        changes = _crowded(draw, changes)
    if draw.random() < 0.7:
        changes = sorted(changes, key=lambda change: change.occurred_at)
        for _ in range(draw.randint(0, 4)):
            i, j = draw.randrange(len(changes)), draw.randrange(len(changes))
            changes[i], changes[j] = changes[j], changes[i]
    payloads = []
    while changes:
        size = draw.randint(1, 3)
        payloads.append(encode_changes(changes[:size]))
        changes = changes[size:]
    config = history.config.model_copy(update={"time": "log", "live_series_days": 100_000})
    plan = Plan(
        name="Random",
        horizon=("2017-01-01", "2017-12-31"),
        pacing=Pacing(kind="calendar_days"),
        targets=tuple(draw.sample(TARGETS, 3)),
    )
    return World(config, plan, payloads)


def _crowded(draw: random.Random, changes: Sequence[Change]) -> list[Change]:
    days = draw.sample(range(300), 5)
    return [
        change.model_copy(
            update={
                "occurred_at": FIRST_US
                + draw.choice(days) * DAY_US
                + draw.choice((0, 1, 3)) * MINUTE_US
                + draw.randint(0, MINUTE_US - 1)
            }
        )
        for change in changes
    ]


def one_message_a_minute(world: World) -> World:
    """The same log, with all that ends in the same minute of it in one message."""
    merged: list[list[object]] = []
    newest, minute = 0, -1
    for payload in world.payloads:
        changes = decode_changes(payload)
        newest = max(newest, *(change["occurred_at"] for change in changes))
        if newest // MINUTE_US == minute:
            merged[-1] += changes
        else:
            merged.append(list(changes))
        minute = newest // MINUTE_US
    return world._replace(payloads=[orjson.dumps(changes) for changes in merged])
