"""The embedded pipeline: log → fold → status → series and alerts, in one process.

At the end of each day of the log (a day ends when the running maximum of occurred_at enters a later one) every target
is judged, its daily points are written and the rules are evaluated; a replay therefore writes the same points. While
the pipeline is live, the same happens after every batch, at the grain of a minute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from alerts.engine import AlertEngine
from alerts.receivers import Receiver
from alerts.rules import DEFAULT_RULES, load_rules
from planwatch.deals import slipped_events
from planwatch.directory import Directory
from planwatch.store import Store
from processors.expression import NoValue, evaluate, names_in
from processors.fold import apply, decode_changes
from processors.query import rounded
from processors.state import State
from processors.status import statuses
from processors.totals import UNDATED, Key, Totals
from schemas.alert import Alert, DealEvent, Signals, SourceHealth
from schemas.status import TargetStatus
from storage.ports import Point

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
CURSOR = ("cursor", "pipeline")


class Pipeline:
    """One tenant's pipeline over the stores of a home. Safe to read from other threads under `lock`."""

    def __init__(self, store: Store, receivers: Mapping[str, Receiver], board_url: str = "") -> None:
        self.store = store
        self.config = store.home.config
        self.plan = store.home.plan()
        self.found = store.home.catalogue()
        self.state = State(self.config)
        self.totals = Totals(self.state, self.found)
        self.lock = threading.RLock()
        self.version = 0
        text = store.home.rules_text()
        self.engine = AlertEngine(
            rules=load_rules(text, str(self.config.alerts)) if text else DEFAULT_RULES,
            journal=store.journal,
            receivers=receivers,
            configs=self.config.receivers,
            directory=Directory(self.state).person,
            board_url=board_url,
        )
        cursor = store.journal.get(*CURSOR)
        self.judged: int = orjson.loads(cursor)["position"] if cursor else 0
        self.slips: list[DealEvent] = []
        self.last_statuses: list[TargetStatus] = []

    def forget(self) -> None:
        """Drop what is derived: it is made anew by the next start."""
        self.store.series.clear()
        for kind in ("alert", "alert_history", "outbox", "notified"):
            self.store.journal.delete(kind, [key for key, _ in self.store.journal.items(kind)])
        self.store.journal.delete(CURSOR[0], [CURSOR[1]])

    def catch_up(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Fold the whole log; judge the days that were not judged yet. Sends nothing: history is nobody's news."""
        end = self.store.log.end()
        while entries := self.store.log.read(self.state.position, 50):
            with self.lock:
                for entry in entries:
                    self._fold_history(decode_changes(entry.payload), entry.position > self.judged)
                    self.state.position = entry.position
            if progress:
                progress(self.state.position, end)
        with self.lock:
            self.totals.rebuild()
            if self.state.position:
                self.judge(self._now(), "day", deliver=False)
            self._save_cursor()
            self.version += 1

    def _fold_history(self, changes: list[dict[str, Any]], new: bool) -> None:
        if not new:
            apply(self.state, changes)
            return
        day = self.state.today if self.state.now else -1
        pending: list[dict[str, Any]] = []
        for change in changes:
            changed_day = self.state.calendar.day_of(change["occurred_at"])
            if changed_day > day:
                apply(self.state, pending)
                pending = []
                if day >= 0 and self.state.now:
                    self.judge(self.state.calendar.midnight(day + 1) - 1, "day", deliver=False)
                day = changed_day
            pending.append(change)
        apply(self.state, pending)

    def step(self) -> int:
        """Take in what is new in the log, live; returns how many changes there were."""
        count = 0
        for entry in self.store.log.read(self.state.position, 50):
            changes = decode_changes(entry.payload)
            with self.lock:
                self.slips = slipped_events(self.state, changes)
                _, moved = self.totals.apply(changes)
                self.state.position = entry.position
                self._write_values(moved)
                self.judge(self._now(), "minute", deliver=True)
                self._save_cursor()
                self.version += 1
            count += len(changes)
        return count

    def tick(self) -> None:
        """Nothing came, but time passes: paces, silence and due deliveries."""
        with self.lock:
            if self.state.position:
                self.judge(self._now(), "minute", deliver=True)
                self.version += 1
        self.engine.flush(self.store.clock.now())

    def judge(self, at: int, grain: str, deliver: bool) -> list[Alert]:
        """Status of every running target at an instant → points and alerts."""
        before = self.state.now
        running = statuses(self.state, self.found, self.plan, at, running_only=True)
        self.last_statuses = running
        self._write_statuses(running, at, grain)
        signals = Signals(now=at, statuses=tuple(running), slipped=tuple(self.slips), sources=tuple(self.sources()))
        self.slips = []
        transitions = self.engine.evaluate(signals, deliver=deliver)
        if not deliver:
            self.state.now = before
        return transitions

    def sources(self) -> Iterable[SourceHealth]:
        """Each source's account of every input."""
        refused: dict[str, int] = self.store.quarantine.by_source()
        for source in sorted({*self.state.counts, *refused}):
            counts = self.state.counts.get(source, {"applied": 0, "duplicate": 0, "stale": 0})
            bad = refused.get(source, 0)
            yield SourceHealth(
                source=source,
                last_seen_at=self.state.last_seen.get(source, 0),
                received=sum(counts.values()) + bad,
                quarantined=bad,
                **counts,
            )

    def _now(self) -> int:
        return self.store.now(self.state)

    def _save_cursor(self) -> None:
        self.judged = self.state.position
        self.store.journal.put(*CURSOR, orjson.dumps({"position": self.judged}))

    def _write_statuses(self, running: Iterable[TargetStatus], at: int, grain: str) -> None:
        day = self.state.calendar.midnight(self.state.calendar.day_of(at))
        grains = {"day": day} if grain == "day" else {"day": day, "minute": at - at % MINUTE_US}

        rows = []
        for s in running:
            points = [("target", float(s.target))]
            if s.actual is not None:
                points.append(("actual", float(s.actual)))
            if s.expected is not None:
                points.append(("expected", float(s.expected)))
            if s.landing is not None:
                points += [(f"landing_{q}", float(getattr(s.landing, q))) for q in ("p10", "p50", "p90")]
            if s.probability is not None:
                points.append(("hit_probability", float(s.probability)))
            rows += [(s, name, value) for name, value in points]
        for name, bucket in grains.items():
            self.store.series.write(
                name, [Point(s.kpi, s.dimension, s.scope, s.period, bucket, field, v) for s, field, v in rows]
            )

    def _write_values(self, moved: set[Key]) -> None:
        """Absolute KPI values of the months, quarters and years whose totals moved."""
        state, bucket = self.state, self.state.now - self.state.now % MINUTE_US
        points = []
        for dim, code, month in {(d, c, m) for _, d, c, m in moved if m != UNDATED}:
            scope = "" if dim == "company" else state.names.text(code) or ""
            for kind in ("month", "quarter", "year"):
                period, months = state.calendar.span(month, kind)
                for name, kpi in self.found.kpis.items():
                    used = names_in(kpi.expression)
                    if not any((m, dim, code, month) in moved for m in used if m in self.found.measures):
                        continue
                    if not all(m in self.found.measures for m in used):
                        continue
                    sums = {m: sum(self.totals.values.get((m, dim, code, i), 0) for i in months) for m in used}
                    try:
                        value = rounded(evaluate(kpi.expression, sums), kpi.unit, self.config.currency)
                    except NoValue:
                        continue
                    points.append(Point(name, dim, scope, period.label, bucket, "value", float(value)))
        if points:
            self.store.series.write("minute", points)
            self.store.series.trim("minute", self.state.now - self.config.live_series_days * DAY_US)
