"""Where a worker's judgements go beside the series: events for the topics, records for the boards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ingest.refusal_states import RefusalCounts
from planwatch.board_records import (
    MOVING,
    alert_records,
    curve_records,
    deal_records,
    landing_records,
    movement_records,
    refusal_records,
    scope_records,
    source_records,
    windows,
)
from planwatch.metrics import Metrics
from planwatch.pipeline import Pipeline
from processors.runners.owned import Event
from schemas.alert import Alert
from schemas.events import AlertEvent, StatusEvent
from schemas.status import TargetStatus
from storage.ports import Records

US_PER_MS = 1000
#: Records that take long to compute are made at most this often, seconds; the longer the window, the rarer.
REFRESH_S = {"deal": 60.0, "day": 15.0, "week": 60.0, "quarter": 600.0}
#: Alerts that are told again after a restart: a crash may have come between keeping and telling them.
RETOLD = 500


def moment_of(pipeline: Pipeline) -> int:
    """The tenant's present, microseconds UTC: not behind what was judged."""
    return max(pipeline.store.now(pipeline.state), pipeline.cursor.at)


class Counts(Protocol):
    """What is known of refused input."""

    def refresh(self) -> int:
        """Read what is new."""
        ...

    def counts(self) -> dict[tuple[str, str], RefusalCounts]:
        """How many of each source and code stand in which state."""
        ...


class StackOutlet:
    """One tenant's events and records. Run by the fold's thread."""

    def __init__(self, tenant: str, records: Records, metrics: Metrics) -> None:
        self._tenant, self._records, self._metrics = tenant, records, metrics
        self._events: list[Event] = []
        self._told: dict[str, tuple[object, ...]] = {}
        self._made_at: dict[str, float] = {}
        self._changed: set[str] = set()
        self._moving: list[tuple[str, str | None]] = []  # windows and dimensions whose movement is to be written
        self._named: tuple[int, ...] = ()
        self._curves: tuple[object, ...] = ()

    def judged(self, found: Sequence[TargetStatus], at: int, position: int) -> None:
        """A status event for each target whose figures changed."""
        for status in found:
            figures = (status.actual, status.target, status.expected, status.landing, status.probability, status.status)
            if self._told.get(status.key) == figures:
                continue
            self._told[status.key] = figures
            event = StatusEvent(tenant=self._tenant, position=position, produced_at=at // US_PER_MS, status=status)
            self._events.append(Event("status", event.key.encode(), event.model_dump_json().encode()))
        self._changed.update(REFRESH_S)

    def alerted(self, transitions: Sequence[Alert], position: int) -> None:
        """An event and a record for each alert that fired or resolved."""
        for alert in transitions:
            self._metrics.alert(alert.rule, alert.state)
        self._tell(transitions, position)

    def retell(self, pipeline: Pipeline) -> None:
        """After a restart: the newest alerts once more, under the same keys."""
        self._tell(pipeline.engine.history()[:RETOLD], pipeline.state.position)

    def _tell(self, alerts: Sequence[Alert], position: int) -> None:
        for alert in alerts:
            at = max(alert.updated_at, 0) // US_PER_MS
            event = AlertEvent(tenant=self._tenant, position=position, produced_at=at, alert=alert)
            self._events.append(Event("alerts", event.key.encode(), event.model_dump_json().encode()))
        self._records.write_records("day", alert_records(alerts))

    def take_events(self) -> list[Event]:
        """What was not published yet."""
        events, self._events = self._events, []
        return events

    def return_events(self, events: Iterable[Event]) -> None:
        """These were not published."""
        self._events = [*events, *self._events]

    def refresh(self, pipeline: Pipeline, counts: Counts, wall: int) -> None:
        """Records that cost little. `wall` is the machine's time, microseconds UTC."""
        counts.refresh()
        at = moment_of(pipeline)
        write = self._records.write_records
        write("minute", source_records(pipeline.sources(), at, wall))
        write("minute", refusal_records(counts.counts(), wall))
        write("day", landing_records(pipeline.state, pipeline.last_statuses))
        self._refresh_names(pipeline)
        self._refresh_curves(pipeline, at)

    def chore(self, pipeline: Pipeline, now_s: float) -> bool:
        """One piece of what costs more, if one is due; whether there was. `now_s` is monotonic."""
        at, write = moment_of(pipeline), self._records.write_records
        if self._is_due("deal", now_s):
            write("day", deal_records(pipeline.state, pipeline.last_statuses, at))
            return True
        for window in windows(pipeline.state, at):
            if self._is_due(window, now_s):
                self._moving += [(window, by) for by in MOVING]
        if self._moving:
            window, by = self._moving.pop(0)
            write("day", movement_records(pipeline.state, window, by, at))
            return True
        return False

    def _is_due(self, name: str, now_s: float) -> bool:
        made_at = self._made_at.get(name)
        if name not in self._changed or (made_at is not None and now_s - made_at < REFRESH_S[name]):
            return False
        self._made_at[name] = now_s
        self._changed.discard(name)
        return True

    def _refresh_names(self, pipeline: Pipeline) -> None:
        tables = pipeline.state.tables
        named = tuple(tables[e].generation for e in ("territory", "team", "rep", "account", "product"))
        if named != self._named:
            self._named = named
            self._records.write_records("day", scope_records(pipeline.state))

    def _refresh_curves(self, pipeline: Pipeline, at: int) -> None:
        targets = tuple((s.key, s.target) for s in pipeline.last_statuses)
        if targets != self._curves:
            self._curves = targets
            records = curve_records(pipeline.state, pipeline.found, pipeline.plan, at)
            self._records.write_records("day", records)
