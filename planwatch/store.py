"""The stores of a home, and the state that its log folds into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from planwatch.home import Home
from planwatch.wiring import Parts, parts_of, snapshots_of
from processors.fold import Touched, apply
from processors.snapshot import ForeignSnapshot, load
from processors.state import State
from schemas.change import Change
from schemas.clock import Clock, SystemClock
from schemas.message import decode_changes, decode_message, encode_change, pack_changes
from storage.ports import Entry, Message


class Store:
    """Log, series, journal and quarantine of a home: those that its configuration names, or the given ones."""

    def __init__(self, home: Home, clock: Clock | None = None, parts: Parts | None = None) -> None:
        self.home = home
        self.clock = clock or SystemClock()
        self.log, self.series, self.journal, self.quarantine = parts or parts_of(home)

    def append(self, changes: Sequence[Change]) -> int:
        """Write changes to the log in messages of bounded size; durable when it returns."""
        kafka = self.home.config.kafka
        bytes_max = None if kafka is None else kafka.change_bytes_max
        payloads = list(pack_changes(map(encode_change, changes), bytes_max))
        return self.log.append(payloads) if payloads else self.log.end()

    def decoded(self, entries: Iterable[Entry]) -> list[Message]:
        """The changes of messages of the log. What anybody else may have put there has none: workers refuse it."""
        config = self.home.config
        if config.kafka is None:
            return [Message(entry.position, decode_changes(entry.payload)) for entry in entries]
        found = []
        for position, payload in entries:
            try:
                found.append(
                    Message(position, decode_message(payload, tenant=config.tenant, extra_fields=config.fields))
                )
            except ValueError:
                found.append(Message(position, []))
        return found

    def catch_up(
        self, state: State, until: int | None = None, progress: Callable[[int], None] | None = None
    ) -> Touched:
        """Fold what the log holds after `state.position`; `until` (microseconds UTC) leaves out what came later."""
        total = Touched()
        while entries := self.log.read(state.position, 200):
            for message in self.decoded(entries):
                touched = apply(state, message.changes, until)
                for outcome, count in touched.outcomes.items():
                    total.outcomes[outcome] += count
                state.position = message.position
            if progress:
                progress(state.position)
        return total

    def state(self, as_of: int | None = None) -> State:
        """The state at a moment: every change that occurred until then, with `now` set to it."""
        state = self.snapshot() if as_of is None else None
        state = state or State(self.home.config)
        self.catch_up(state, as_of)
        state.now = as_of if as_of is not None else self.now(state)
        return state

    def snapshot(self) -> State | None:
        """The state as a worker last saved it; none where there is no worker or nothing that can be used."""
        if self.home.config.kafka is None:
            return None
        saved = snapshots_of(self.home).latest()
        try:
            # One that says more than the log was made with another log.
            return load(self.home.config, saved[1]).state if saved and saved[0] <= self.log.end() else None
        except ForeignSnapshot:
            return None

    def now(self, state: State) -> int:
        """Now, as configured: the machine's clock, or the newest change."""
        return state.now if self.home.config.time == "log" else max(state.now, self.clock.now())
