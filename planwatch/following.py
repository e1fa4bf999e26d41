"""A follower: the state of one tenant from its log, and its alerts from their topic. It writes nothing.

What it shows is computed from the same log by the same core as a worker's figures; so the web board needs no worker's
word, and any number of boards may run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence

from ingest.refusal_states import Kept, RefusalCounts, quarantined_by_source
from planwatch.board_health import REFUSED_SHOWN, Standing
from planwatch.home import Home
from planwatch.logs import described, fields
from planwatch.pipeline import source_health
from planwatch.roles import kafka_of
from planwatch.store import Store
from planwatch.wiring import parts_of
from processors.fold import apply
from processors.state import State
from schemas.alert import Alert, SourceHealth
from schemas.base import PlanwatchError
from schemas.events import AlertEvent
from storage.backoff import jittered_s
from storage.kafka_table import TopicTable

log = logging.getLogger("planwatch.board")

READ_MESSAGES = 50
WAIT_S = 0.5
#: How often alerts and quarantine are looked at, and a page is drawn anew because time has passed.
SLOW_S = 2.0
#: How long brokers may be away before pages say so.
LOG_PATIENCE_S = 5.0
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 10.0


class AlertFeed:
    """A tenant's alerts as the alerts topic has them."""

    def __init__(self, home: Home) -> None:
        kafka = kafka_of(home)
        self._alerts: dict[bytes, Alert] = {}
        self._table = TopicTable(kafka, kafka.topic("alerts"), f"{home.config.tenant}|".encode(), self._take)

    def refresh(self) -> int:
        """Read what is new; returns how many alerts changed."""
        return self._table.refresh()

    def history(self) -> list[Alert]:
        """Every alert that has fired, newest first."""
        return sorted(self._alerts.values(), key=lambda a: -(a.fired_at or 0))

    def active(self) -> list[Alert]:
        """Those that have not resolved, newest first."""
        return [a for a in self.history() if a.state != "resolved"]

    def _take(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._alerts.pop(key, None)
            return
        try:
            self._alerts[key] = AlertEvent.model_validate_json(value).alert
        except ValueError as error:
            log.warning(
                "an alert event cannot be read", extra=fields(key=key.decode(errors="replace"), reason=str(error))
            )


class Follower:
    """What a board is drawn from: the state, kept up with the log by a thread, under `lock`."""

    def __init__(self, home: Home) -> None:
        self.store = Store(home, parts=parts_of(home, LOG_PATIENCE_S))
        self.plan, self.found = home.plan(), home.catalogue()
        self.engine = AlertFeed(home)
        self.state = self.store.snapshot() or State(home.config)
        self.lock = threading.RLock()
        self.version = 0
        self.behind: int | None = None  # messages; none: not known yet
        #: Whether the end of the log is yet to be reached. A few messages behind it later on are no lag: it moves.
        self.catching_up = True
        self.failing = ""  # why nothing new can be read; empty: it can
        self._home = home
        self._failures = 0
        self._refused: Mapping[tuple[str, str], RefusalCounts] = {}
        self._newest: Sequence[Kept] = ()

    def sources(self) -> Iterable[SourceHealth]:
        """Each source's account of every input."""
        return source_health(self.state, quarantined_by_source(self._refused))

    def standing(self) -> Standing:
        """How far the log is read, and what was refused. Deliveries are the workers' to know."""
        return Standing(self.behind, self.catching_up, self.failing, refused=self._refused, newest=self._newest)

    def behind_words(self) -> str:
        """Why what came in last is not in the state yet, for the people who look at a page; empty: it is."""
        if self.failing:
            return "The log cannot be read just now. What has happened since is not in them."
        if self.catching_up:
            count = "Messages" if self.behind is None else f"{self.behind:,} messages"
            return f"{count} of the log are still to be read."
        return ""

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set. While Kafka is away the last state is shown, and said to be old."""
        looked_at = 0.0
        while not stop.is_set():
            try:
                self._follow()
                if time.monotonic() - looked_at >= SLOW_S:
                    looked_at = time.monotonic()
                    self.engine.refresh()
                    self._look_at_refused()
                    self.version += 1
                self._went_well()
            except PlanwatchError as error:
                self._failed(str(error))
            except Exception as error:  # whatever it is: a board that no longer follows must say so
                log.exception("the log cannot be followed")
                self._failed(described(error))
            if self.failing:
                stop.wait(jittered_s(self._failures, RETRY_FIRST_S, RETRY_MAX_S))

    def _follow(self) -> None:
        entries = self.store.log.read(self.state.position, READ_MESSAGES)
        for message in self.store.decoded(entries):
            with self.lock:
                apply(self.state, message.changes)
                self.state.position = message.position
                self.version += 1
        self._say_behind(max(self.store.log.end() - self.state.position, 0) if entries else 0)
        if not entries:
            self.store.log.wait(self.state.position, WAIT_S)

    def _say_behind(self, behind: int) -> None:
        self.behind = behind
        if behind == 0 and self.catching_up:
            self.catching_up = False
            self.version += 1
        elif behind > READ_MESSAGES:
            self.catching_up = True

    def _look_at_refused(self) -> None:
        """Here and not when a page is made: brokers may take their time."""
        quarantine = self.store.quarantine
        self._refused, self._newest = quarantine.counts(), quarantine.newest(REFUSED_SHOWN)

    def _failed(self, reason: str) -> None:
        self._failures += 1
        self.catching_up, self.failing = True, reason
        if self._failures == 1:
            self.version += 1
            log.warning("the log cannot be followed", extra=fields(reason=reason))

    def _went_well(self) -> None:
        if self._failures:
            self._failures, self.failing = 0, ""
            self.version += 1
            log.warning("the log is followed again")
