"""One tenant's pipeline: log → fold → status → series and alerts. Embedded loop and Faust worker run this same one.

Messages are folded in groups that end in the same minute of the log (its running maximum of occurred_at), and a group is
cut into pieces where a day ends. Every running target is judged at the end of each day and after each group; values whose
totals moved are written then too. The last of these in a minute or a day is a function of the log, so a replay writes
the same points, however the messages arrived.

Two clocks meet here. The log's own time is what `state.now` says. Between messages time passes as well (`tick`), by
the machine's clock where the tenant is configured so. Judgements never go back behind the latest one.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from alerts.engine import FLUSH_WAIT_S, AlertEngine
from alerts.input_samples import Readings
from alerts.receivers import Receiver
from alerts.rules import DEFAULT_RULES, load_rules
from ingest.refusal_states import RefusalCounts
from planwatch.deals import slipped_event
from planwatch.directory import Directory
from planwatch.points import MINUTE_US, ValuePoints, minute_of, status_points
from planwatch.store import Store
from processors.fold import apply
from processors.state import State
from processors.status import statuses
from processors.totals import Key, Totals
from schemas.alert import Alert, DealEvent, MissedEvents, Signals, SourceHealth, SourceInputs
from schemas.status import TargetStatus
from storage.ports import Journal, Message, Point

Progress = Callable[[int, int], None]  # messages done, messages in all

DAY_US = 86_400_000_000
CURSOR = ("cursor", "pipeline")
#: A target is judged for so long after its period, so that its end (hit or missed) stands in the series too.
ENDED_DAYS = 3
#: Messages read and folded at a time.
READ_MESSAGES = 50


class Cursor(NamedTuple):
    """How far the effects of the log have gone."""

    position: int = 0  # of the last message whose alerts were judged
    at: int = 0  # the latest moment that was judged, microseconds UTC
    live: bool = False  # whether the tenant has ever caught up; before that, what fires is history
    written: int = 0  # of the last message all of whose points are in the series


def saved_cursor(journal: Journal) -> Cursor:
    """The cursor as a tenant's journal has it."""
    saved = journal.get(*CURSOR)
    return Cursor(**orjson.loads(saved)) if saved else Cursor()


class Outlet(Protocol):
    """Where else a judgement goes: event topics, records for boards."""

    def judged(self, found: Sequence[TargetStatus], at: int, position: int) -> None:
        """Take note of every running target's status at a moment."""
        ...

    def alerted(self, transitions: Sequence[Alert], position: int) -> None:
        """Take note of alerts that fired or resolved."""
        ...


class Pipeline:
    """One tenant's pipeline over its stores. Safe to read from other threads under `lock`.

    `state` is one to go on from (a snapshot); without it the log is folded from its start. `durable` gives the position
    up to which points have reached the series, where writing them does not wait for that.
    """

    def __init__(
        self,
        store: Store,
        receivers: Mapping[str, Receiver],
        board_url: str = "",
        *,
        state: State | None = None,
        durable: Callable[[], int] | None = None,
        outlet: Outlet | None = None,
    ) -> None:
        self.store = store
        self.config = store.home.config
        self.plan = store.home.plan()
        self.found = store.home.catalogue()
        self.state = state or State(self.config)
        self.totals = Totals(self.state, self.found)
        self.lock = threading.RLock()
        self.version = 0
        self.outlet = outlet
        text = store.home.rules_text()
        self.engine = AlertEngine(
            rules=load_rules(text, str(self.config.alerts)) if text else DEFAULT_RULES,
            journal=store.journal,
            receivers=receivers,
            configs=self.config.receivers,
            directory=Directory(self.state).person,
            board_url=board_url,
        )
        self.cursor = saved_cursor(store.journal)
        #: What was judged and written needs neither again: it is only folded.
        self.known = min(self.cursor.position, self.cursor.written)
        self.delivering = False
        self.last_statuses: list[TargetStatus] = []
        self._values = ValuePoints(self.totals)
        self._slips: list[DealEvent] = []
        self._points: dict[str, list[Point]] = {"day": [], "minute": []}
        self._durable = durable
        self._saved_at = self.cursor.at
        self._totals_stand = False
        self._abreast = True  # what was there to read has been read

    def forget(self) -> None:
        """Drop what is derived: it is made anew by the next start."""
        self.store.series.clear()
        for kind in ("alert", "alert_history", "outbox", "notified"):
            self.store.journal.delete(kind, [key for key, _ in self.store.journal.items(kind)])
        self.store.journal.delete(CURSOR[0], [CURSOR[1]])

    def catch_up(self, progress: Progress | None = None) -> None:
        """Fold the whole log; judge what was not judged yet. Sends nothing: history is nobody's news."""
        end = self.store.log.end()
        while entries := self.store.log.read(self.state.position, READ_MESSAGES):
            self.take(self.store.decoded(entries))
            if progress:
                progress(self.state.position, end)
        with self.lock:
            self._stand_totals()
            if self.state.position:
                self._judge_now()
            self.version += 1

    def step(self) -> int:
        """Take in what is new in the log, live; returns how many messages there were."""
        self.delivering = True
        entries = self.store.log.read(self.state.position, READ_MESSAGES)
        self._abreast = len(entries) < READ_MESSAGES
        self.take(self.store.decoded(entries))
        return len(entries)

    def tick(self, wait_s: float = FLUSH_WAIT_S) -> None:
        """Nothing came, but time passes: paces, silence and due deliveries, which get `wait_s` to be made at once."""
        self.delivering = True
        with self.lock:
            self._stand_totals()
            if self.state.position:
                self._judge_now()
                self.version += 1
            else:
                self._judge_doors()
        self.engine.flush(self.store.clock.now(), wait_s)

    def take(self, messages: Sequence[Message]) -> None:
        """Fold messages that follow `state.position`, and judge the days and the minutes that end in them."""
        old = [message for message in messages if message.position <= self.known]
        if old:
            with self.lock:
                for message in old:
                    apply(self.state, message.changes)
                self.state.position = old[-1].position
                self._totals_stand = False
        messages = messages[len(old) :]
        if messages:
            self._stand_totals()
        for group in self._by_minute(messages):
            with self.lock:
                self._take_group(group)
                self.version += 1

    def _stand_totals(self) -> None:
        """Totals are kept from here on; what was only folded is added up at once."""
        if not self._totals_stand:
            with self.lock:
                self.totals.rebuild()
                self._totals_stand = True

    def _by_minute(self, messages: Sequence[Message]) -> Iterator[list[Message]]:
        """Messages in runs whose ends lie in the same minute of the log, cut where the cursor stands."""
        newest = self.state.now
        dated = []
        for message in messages:
            newest = max(newest, max((c["occurred_at"] for c in message.changes), default=0))
            passed = message.position <= self.cursor.position, message.position <= self.cursor.written
            dated.append(((minute_of(newest), passed), message))
        for _, run in itertools.groupby(dated, key=lambda d: d[0]):
            yield [message for _, message in run]

    def _take_group(self, group: Sequence[Message]) -> None:
        state, last = self.state, group[-1].position
        moved: set[Key] = set()
        today: set[Key] = set()  # what moved since the last end of a day
        day = state.today if state.now else None
        for _, changes in group:
            piece: list[dict[str, Any]] = []
            for change in changes:
                ahead = state.calendar.day_of(change["occurred_at"])
                if day is not None and ahead > day:
                    today |= self._fold(piece, last)
                    piece = []
                    moved |= self._write_day(today, last)
                    today = set()
                    self._judge(state.calendar.midnight(day + 1) - 1, last, grains=("day",))
                day = ahead if day is None else max(day, ahead)
                piece.append(change)
            today |= self._fold(piece, last)
        moved |= self._write_day(today, last)
        state.position = last
        if last > self.cursor.written:
            self._points["minute"] += self._values.of(moved, minute_of(state.now))
        self._judge(minute_of(state.now), last)
        self._write()
        if last > self.cursor.position or self._durable is None:
            self._save(self.cursor._replace(position=max(last, self.cursor.position)))

    def _fold(self, changes: Sequence[dict[str, Any]], position: int) -> set[Key]:
        """Apply changes of one message; gives what they moved.

        Message by message: what one moves and the next moves back is a point all the same, for an earlier life may have
        written the one between.
        """
        return self.totals.apply(changes, self._watch if position > self.cursor.position else None)[1]

    def _write_day(self, moved: set[Key], position: int) -> set[Key]:
        """The values that moved, as they stand, for the day of the log."""
        if position > self.cursor.written and moved:
            midnight = self.state.calendar.midnight(self.state.today)
            self._points["day"] += self._values.of(moved, midnight)
        return moved

    def _watch(self, change: dict[str, Any]) -> None:
        if event := slipped_event(self.state, change):
            self._slips.append(event)

    def _write(self) -> None:
        """Hand the collected points to the series: once for a group, as each write may be a commit."""
        for grain, points in self._points.items():
            if points:
                self.store.series.write(grain, points)
                points.clear()

    def _judge_now(self) -> None:
        """Judge at this moment, whatever the log last said."""
        now = self._now()
        at = max(minute_of(now) if self.config.time == "log" else now, self.cursor.at)
        transitions = self._judge(at, None)
        self._write()
        if transitions or at - self._saved_at >= MINUTE_US:
            self._save(self.cursor)

    def _judge_doors(self) -> None:
        """Before the first message of the log: what is known without it, which is what the doors have refused.

        Only where there is such: what comes first into an empty log may be history, which is judged at its own time.
        """
        at = max(self._now(), self.cursor.at)  # 0 where time comes from the log, which has not begun
        inputs = self._inputs()
        missed = any(missed_events(self.store.quarantine.counts()))
        if at and not self.cursor.position and (inputs or missed) and self._alert((), at, inputs):
            self._save(self.cursor)
            self.version += 1

    def _judge(self, at: int, position: int | None, grains: Sequence[str] = ("day", "minute")) -> list[Alert]:
        """Status of every running target at an instant → points, alerts, whoever else listens.

        Of a message that was judged before only the points are written, at the log's own time.
        """
        running = self._statuses(at)
        self.last_statuses = running
        if position is None or position > self.cursor.written:
            self._write_statuses(running, at, grains)
            if self.outlet:
                self.outlet.judged(running, at, self.state.position)
        if position is not None and position <= self.cursor.position:
            return []
        if at < self.cursor.at:  # it comes late, or again after a crash: alerts do not go back
            if "minute" not in grains:
                return []
            at = self.cursor.at
            running = self._statuses(at)
        return self._alert(running, at, self._inputs() if position is None else ())

    def _statuses(self, at: int) -> list[TargetStatus]:
        before = self.state.now
        try:
            return statuses(self.state, self.found, self.plan, at, ended_days=ENDED_DAYS)
        finally:
            self.state.now = before

    def _alert(self, running: Sequence[TargetStatus], at: int, inputs: tuple[SourceInputs, ...]) -> list[Alert]:
        signals = Signals(
            now=at,
            statuses=tuple(running),
            slipped=tuple(self._slips),
            sources=tuple(self.sources()) if self.state.position else (),  # who was never heard is not silent yet
            missed=tuple(missed_events(self.store.quarantine.counts())),
            inputs=inputs,
        )
        self._slips = []
        self.cursor = self.cursor._replace(at=at)
        beside = (*CURSOR, orjson.dumps(self.cursor._asdict()))  # the moment goes with what it brought about
        transitions = self.engine.evaluate(signals, deliver=self.delivering, beside=[beside])
        if self.outlet and transitions:
            self.outlet.alerted(transitions, self.state.position)
        return transitions

    def _write_statuses(self, running: Sequence[TargetStatus], at: int, grains: Sequence[str]) -> None:
        midnight = self.state.calendar.midnight(self.state.calendar.day_of(at))
        buckets = {"day": midnight, "minute": minute_of(at)}
        for grain in grains:
            self._points[grain] += status_points(running, buckets[grain])
        if "minute" not in grains:  # a day has ended
            self.store.series.trim("minute", at - self.config.live_series_days * DAY_US)

    def sources(self) -> Iterable[SourceHealth]:
        """Each source's account of every input."""
        return source_health(self.state, self.store.quarantine.by_source())

    def _inputs(self) -> tuple[SourceInputs, ...]:
        """Samples of what came from each source; none while the log is behind what is known of refusals."""
        if self.engine.inputs is None or not (self.delivering and self._abreast):
            return ()
        readings = input_readings(self.state, self.store.quarantine.counts())
        return self.engine.inputs.take(self.store.clock.now(), readings)

    def _now(self) -> int:
        return self.store.now(self.state)

    def _save(self, cursor: Cursor) -> None:
        written = self.state.position if self._durable is None else self._durable()
        written = max(cursor.written, written)
        self._saved_at = cursor.at
        self.cursor = cursor._replace(live=cursor.live or self.delivering, written=written)
        self.store.journal.put(*CURSOR, orjson.dumps(self.cursor._asdict()))


def source_health(state: State, refused: Mapping[str, int]) -> Iterator[SourceHealth]:
    """Each source's account of every input: what the state counts, and what was refused at the doors."""
    for source in sorted({*state.counts, *refused}):
        counts = state.counts.get(source, {"applied": 0, "duplicate": 0, "stale": 0})
        bad = refused.get(source, 0)
        yield SourceHealth(
            source=source,
            last_seen_at=state.last_seen.get(source, 0),
            received=sum(counts.values()) + bad,
            quarantined=bad,
            **counts,
        )


def missed_events(refused: Mapping[tuple[str, str], RefusalCounts]) -> Iterator[MissedEvents]:
    """The sources that have ever lost events, by the notices in the quarantine."""
    for (source, code), counts in sorted(refused.items()):
        if code == "replay_expired":
            yield MissedEvents(source=source, open=counts.open)


def input_readings(state: State, refused: Mapping[tuple[str, str], RefusalCounts]) -> Readings:
    """How much each source ever sent: what is in the log by the state's account, and by code what was ever refused."""
    codes: dict[str, dict[str, int]] = {source: {} for source in state.counts}
    for (source, code), counts in refused.items():
        codes.setdefault(source, {})[code] = counts.refused
    return {source: (sum(state.counts.get(source, {}).values()), found) for source, found in codes.items()}
