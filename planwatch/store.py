"""The embedded stores of a home, and the state that its log folds into."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingest.quarantine import Quarantine
from planwatch.home import Home
from processors.fold import Touched, apply, decode_changes, encode_changes
from processors.state import State
from schemas.change import Change
from schemas.clock import Clock, SystemClock
from storage.sqlite_journal import SqliteJournal
from storage.sqlite_log import SqliteLog
from storage.sqlite_series import SqliteSeries

#: Changes in one log message: enough to make per-message costs vanish, few enough to read piece by piece.
MESSAGE_CHANGES = 500


class Store:
    """Log, series, journal and quarantine of a home on SQLite."""

    def __init__(self, home: Home, clock: Clock | None = None) -> None:
        self.home = home
        self.clock = clock or SystemClock()
        self.log = SqliteLog(home.data / "log.sqlite")
        self.series = SqliteSeries(home.data / "series.sqlite")
        self.journal = SqliteJournal(home.data / "journal.sqlite")
        self.quarantine = Quarantine(self.journal)

    def append(self, changes: Sequence[Change]) -> int:
        """Write changes to the log in messages of bounded size; durable when it returns."""
        payloads = [encode_changes(changes[i : i + MESSAGE_CHANGES]) for i in range(0, len(changes), MESSAGE_CHANGES)]
        return self.log.append(payloads) if payloads else self.log.end()

    def catch_up(
        self, state: State, until: int | None = None, progress: Callable[[int], None] | None = None
    ) -> Touched:
        """Fold what the log holds after `state.position`; `until` (microseconds UTC) leaves out what came later."""
        total = Touched()
        while entries := self.log.read(state.position, 200):
            for entry in entries:
                touched = apply(state, decode_changes(entry.payload), until)
                for outcome, count in touched.outcomes.items():
                    total.outcomes[outcome] += count
                state.position = entry.position
            if progress:
                progress(state.position)
        return total

    def state(self, as_of: int | None = None) -> State:
        """The state at a moment: every change that occurred until then, with `now` set to it."""
        state = State(self.home.config)
        self.catch_up(state, as_of)
        state.now = as_of if as_of is not None else self.now(state)
        return state

    def now(self, state: State) -> int:
        """Now, as configured: the machine's clock, or the newest change."""
        return state.now if self.home.config.time == "log" else max(state.now, self.clock.now())
