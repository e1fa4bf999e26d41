"""A tenant as a worker runs it: the pipeline over Kafka and InfluxDB, its alert state, its snapshots."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from alerts.receivers import Receiver
from ingest.topic_quarantine import TopicQuarantine
from planwatch.home import Home
from planwatch.logs import fields
from planwatch.metrics import Metrics
from planwatch.outlet import StackOutlet
from planwatch.pipeline import Pipeline, saved_cursor
from planwatch.store import Store
from planwatch.wiring import Parts, snapshots_of
from processors.runners.owned import Event
from processors.snapshot import ForeignSnapshot, dump, load
from processors.state import State
from schemas.base import PlanwatchError
from schemas.clock import Clock
from schemas.stack import InfluxConfig, KafkaConfig
from storage.changelog_journal import ChangelogJournal, Due
from storage.influx_series import InfluxSeries
from storage.influx_writer import PointWriter
from storage.memory import MemoryLog
from storage.ports import Message

log = logging.getLogger("planwatch.worker")

#: A snapshot takes time; no more than this share of it is spent on them.
SNAPSHOT_SHARE = 0.02
#: Messages whose way to the series is still measured, at most.
TIMED_MAX = 10_000


class Shared(NamedTuple):
    """What all tenants of a worker share."""

    kafka: KafkaConfig
    writer: PointWriter
    metrics: Metrics
    clock: Clock
    board_url: str


class _Snapshot(NamedTuple):
    position: int
    payload: bytes


class LiveTenant:
    """One tenant. `changelog` is what the alert state's table holds, `log_end` where the tenant's partition ends.

    Its messages are brought to it (it has no log of its own). All but `settled` is run by the fold's thread.
    """

    def __init__(
        self,
        home: Home,
        shared: Shared,
        changelog: Mapping[bytes, bytes],
        receivers: Mapping[str, Receiver],
        log_end: int,
    ) -> None:
        self.home, self.name = home, home.config.tenant
        self._shared = shared
        self._journal = ChangelogJournal(self.name, changelog)
        self._series = InfluxSeries(_influx(home), self.name, writer=shared.writer)
        self._quarantine = TopicQuarantine(shared.kafka, self.name, fresh=False)
        self._quarantine.refresh()
        self._snapshots = snapshots_of(home)
        self._check_log(log_end)
        self._outlet = StackOutlet(self.name, self._series, shared.metrics)
        parts = Parts(MemoryLog(), self._series, self._journal, self._quarantine)
        self.pipeline = Pipeline(
            Store(home, shared.clock, parts),
            receivers,
            shared.board_url,
            state=self._saved_state(log_end),
            durable=self.durable,
            outlet=self._outlet,
        )
        self.pipeline.delivering = self.pipeline.cursor.live
        shared.writer.clear_overflow(self.name)
        start = max(self.pipeline.state.position, self.pipeline.cursor.written)
        shared.writer.advance(self.name, start)
        self._timed: deque[tuple[int, int]] = deque(maxlen=TIMED_MAX)
        self._live = False
        self._series.patient = True  # until it is live: a replay goes as fast as InfluxDB takes it
        self._pending: _Snapshot | None = None
        self._saved = self.pipeline.state.position
        self._next_snapshot_s = time.monotonic() + home.config.worker.snapshot_every_s
        self._outlet.retell(self.pipeline)

    @property
    def position(self) -> int:
        """Everything up to here is applied."""
        return self.pipeline.state.position

    def take(self, messages: Sequence[Message]) -> None:
        """Fold messages that follow the position."""
        started = time.perf_counter()
        before = _outcomes(self.pipeline.state)
        self._series.position = messages[-1].position
        self.pipeline.take(messages)
        self._shared.writer.advance(self.name, self.position)
        after = _outcomes(self.pipeline.state)
        moved = {outcome: after[outcome] - before[outcome] for outcome in after}
        self._shared.metrics.observe_batch(self.name, moved, time.perf_counter() - started, len(messages))

    def produced(self, position: int, produced_at: int) -> None:
        """The message at a position comes from a source event of that time (milliseconds UTC)."""
        if self._live:
            self._timed.append((position, produced_at))

    def advance(self, position: int) -> None:
        """There is nothing of this tenant up to a position."""
        state = self.pipeline.state
        state.position = max(state.position, position)
        self._shared.writer.advance(self.name, state.position)

    def go_live(self) -> None:
        """The end of the log is reached: what fires from now on is news."""
        self._live = True
        self.tick()
        self._series.patient = False
        log.info("tenant is live", extra=fields(tenant=self.name, position=self.position))

    def tick(self) -> None:
        """Time passes."""
        self._series.position = self.position
        self.pipeline.tick(wait_s=0.0)
        self._refresh()
        self._shared.metrics.set_notifications_waiting(self.pipeline.engine.waiting)

    def _refresh(self) -> None:
        self._outlet.refresh(self.pipeline, self._quarantine, self._shared.clock.now())

    def chore(self) -> bool:
        """One piece of slow work for the boards, if one is due; whether there was."""
        self._series.position = self.position
        return self._live and self._outlet.chore(self.pipeline, time.monotonic())

    def take_due(self) -> list[Due]:
        """Changes of the alert state that the table has not been given yet."""
        return self._journal.take_due()

    def give_back(self, due: Iterable[Due]) -> None:
        """These did not get there."""
        self._journal.give_back(due)

    def take_events(self) -> list[Event]:
        """Status and alert events that were not published yet."""
        return self._outlet.take_events()

    def return_events(self, events: Iterable[Event]) -> None:
        """These were not published."""
        self._outlet.return_events(events)

    def durable(self) -> int:
        """The position up to which every point is in InfluxDB."""
        return self._shared.writer.durable(self.name)

    def lost_points(self) -> bool:
        """Whether points were dropped, and InfluxDB is there again to take them."""
        writer = self._shared.writer
        return writer.overflowed(self.name) and not writer.failing

    def settled(self, durable: int) -> None:
        """Points up to a position are readable: how long did they take? Called by the writer's thread."""
        now_ms = self._shared.clock.now() // 1000
        while self._timed and self._timed[0][0] <= durable:
            _, produced_at = self._timed.popleft()
            self._shared.metrics.observe_freshness(max(now_ms - produced_at, 0) / 1000)

    def save(self, now_s: float) -> None:
        """Take a snapshot when it is time; store it once everything up to it is in InfluxDB."""
        if self._pending is None and now_s >= self._next_snapshot_s and self.position > self._saved:
            self._pending = self._taken()
        if self._pending is not None and self._pending.position <= self.durable():
            self._snapshots.save(*self._pending)
            self._saved, self._pending = self._pending.position, None

    def _taken(self) -> _Snapshot:
        started = time.monotonic()
        with self.pipeline.lock:
            taken = _Snapshot(self.position, dump(self.pipeline.state, self.pipeline.cursor.position))
        every_s = self.home.config.worker.snapshot_every_s
        self._next_snapshot_s = time.monotonic() + max(every_s, (time.monotonic() - started) / SNAPSHOT_SHARE)
        return taken

    def close(self, save: bool) -> None:
        """Let go; with `save` after storing a snapshot, if InfluxDB has everything by then."""
        if save and self.position > self._saved:
            self._shared.writer.flush(_influx(self.home).timeout_s)
            self._pending = self._taken()
            self.save(0.0)
        self._quarantine.close()
        if not save:
            self._shared.writer.discard(self.name)
        self._shared.metrics.forget_tenant(self.name)

    def _check_log(self, log_end: int) -> None:
        """The alert state must not say more than the log. Raises PlanwatchError."""
        judged = saved_cursor(self._journal).position
        if judged > log_end:
            raise PlanwatchError(
                f"tenant {self.name}: its alerts were judged up to position {judged:,}, and its log ends at {log_end:,}: the "
                f"topic {self._shared.kafka.topic('changes')} was made anew, or lost records. Stop the workers and run "
                "`planwatch rebuild`."
            )

    def _saved_state(self, log_end: int) -> State | None:
        """The newest snapshot, unless it is foreign or says more than the log and the alert state do."""
        found = self._snapshots.latest()
        if found is None:
            return None
        cursor = saved_cursor(self._journal)
        try:
            state, judged = load(self.home.config, found[1])
            if state.position > log_end or judged > cursor.position:
                raise ForeignSnapshot(f"it says more than the log, or than the alert state at {cursor.position}")
        except ForeignSnapshot as reason:
            facts = fields(tenant=self.name, position=found[0], reason=str(reason))
            log.warning("a snapshot is not used, the log is read instead", extra=facts)
            return None
        return state


def _influx(home: Home) -> InfluxConfig:
    assert home.config.influx is not None
    return home.config.influx


def _outcomes(state: State) -> dict[str, int]:
    totals = {"applied": 0, "duplicate": 0, "stale": 0}
    for counts in state.counts.values():
        for outcome, count in counts.items():
            totals[outcome] += count
    return totals
