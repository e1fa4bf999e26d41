"""Taking files in: door → quarantine or log → counts that account for every input."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ingest import DOORS
from ingest.door import Context, Door, Refused
from ingest.drift import Finding
from ingest.mapping import load_mapping
from ingest.salesforce import SalesforceDoor
from planwatch.commits import commit_times
from planwatch.drifting import drift_of, keep_drift
from planwatch.home import Home
from planwatch.store import Store
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.clock import Clock, SystemClock
from schemas.mapping import Mapping

#: Changes that are sorted by time before they are appended: bounds memory, and keeps history in order for files
#: of usual size. The end state does not depend on it.
CHUNK_CHANGES = 50_000
#: Refusals that wait to be written to the quarantine, and those that a summary names.
REFUSED_AT_ONCE, REFUSED_SHOWN = 500, 20
#: What stands around a refusal out of a file: the door that refused it, where that is not the source's own, and the
#: object that `planwatch ingest --object` named.
DOOR, OBJECT = "door", "object"


class Summary:
    """received = taken + quarantined, and taken = applied + duplicate + stale where these are counted.

    Also the first refusals, and what was not known before.
    """

    def __init__(self, *, counted: bool = True) -> None:
        self.counted = counted
        self.received = self.applied = self.duplicate = self.stale = self.quarantined = 0
        self.refused: list[Refused] = []  # the first REFUSED_SHOWN
        self.drift: list[Finding] = []
        self.seconds = 0.0

    @property
    def taken(self) -> int:
        """Inputs whose changes are in the log."""
        return self.received - self.quarantined

    @property
    def outcomes(self) -> dict[str, int]:
        """What became of what was received; together these are all of it."""
        counted = {"applied": self.applied, "duplicate": self.duplicate, "stale": self.stale}
        return {**(counted if self.counted else {"taken": self.taken}), "quarantined": self.quarantined}

    def as_json(self) -> dict[str, float | int]:
        """As `planwatch ingest --json` prints it."""
        return {"received": self.received, **self.outcomes, "seconds": round(self.seconds, 3)}


class Intake:
    """Takes streams in through the door of one source, in memory that does not grow with them.

    `counted`: what becomes of the changes (applied, duplicate, stale) is found out by folding them, which takes the
    whole state; otherwise the summary has how many were taken, and whoever follows the log counts the rest. Bad input goes to the
    quarantine, the rest into the log, at the latest when `finish` returns.
    """

    def __init__(
        self,
        store: Store,
        kind: str,
        source: str,
        mapping: Mapping | None,
        *,
        counted: bool,
        object_name: str | None = None,
    ) -> None:
        config = store.home.config
        self._store, self._door = store, door_of(store, kind, source, object_name)
        self._context = Context(config.tenant, source, config, mapping, store.clock, store.home.path)
        configured = config.sources.get(source)
        # What the configuration does not say about a refusal, and is needed to read it again.
        self._around = {DOOR: kind} if configured is not None and configured.kind != kind else {}
        self._around |= {OBJECT: object_name} if object_name is not None else {}
        self._state = store.state() if counted else None
        self._chunk: list[Change] = []
        self._refused: list[Refused] = []
        self.summary = Summary(counted=counted)

    def take(self, origin: str, stream: BinaryIO) -> None:
        """Take in a stream to its end."""
        summary = self.summary
        for item in self._door.read(origin, stream, self._context):
            summary.received += 1
            if isinstance(item, Refused):
                summary.quarantined += 1
                if self._around:
                    item = replace(item, around={**item.around, **self._around})
                if len(summary.refused) < REFUSED_SHOWN:
                    summary.refused.append(item)
                self._refused.append(item)
                if len(self._refused) >= REFUSED_AT_ONCE:
                    self._quarantine()
            else:
                self._chunk.append(item)
                if len(self._chunk) >= CHUNK_CHANGES:
                    self._append()

    def finish(self) -> Summary:
        """Write what is still to be written."""
        self._append()
        self._quarantine()
        self.summary.drift += keep_drift(self._context, drift_of(self._store))
        return self.summary

    def _append(self) -> None:
        self._chunk.sort(key=lambda c: c.occurred_at)
        self._store.append(self._chunk)
        self._chunk.clear()
        if self._state is not None:
            outcomes = self._store.catch_up(self._state).outcomes
            self.summary.applied += outcomes["applied"]
            self.summary.duplicate += outcomes["duplicate"]
            self.summary.stale += outcomes["stale"]

    def _quarantine(self) -> None:
        self._store.quarantine.add(self._refused)
        self._refused.clear()


def find_source(store: Store, kind: str, name: str | None) -> str:
    """The configured source of a kind; its kind itself where none is configured."""
    sources = store.home.config.sources
    if name is not None:
        return name
    return next((n for n, s in sources.items() if s.kind == kind), kind)


def find_mapping(home: Home, source: str, mapping: Path | None) -> Mapping | None:
    """The mapping named on the command line, else the configured one."""
    configured = home.config.sources.get(source)
    if mapping is None and configured is not None and configured.mapping is not None:
        mapping = home.path / configured.mapping
    return load_mapping(mapping) if mapping is not None else None


def context_of(home: Home, source: str, clock: Clock | None = None) -> Context:
    """What the door of a configured source needs to know. Raises PlanwatchError where its mapping cannot be read."""
    config = home.config
    return Context(config.tenant, source, config, find_mapping(home, source, None), clock or SystemClock(), home.path)


def door_of(store: Store, kind: str, source: str, object_name: str | None = None) -> Door:
    """The door for files of a source, with what it needs to know of the log. `object_name`: see `SalesforceDoor`."""
    if kind == "salesforce":
        return SalesforceDoor(object_name, lambda: commit_times(store, source))
    return DOORS[kind]


def ingest(
    store: Store,
    kind: str,
    paths: Sequence[str],
    mapping: Path | None,
    source: str | None,
    object_name: str | None = None,
    *,
    counted: bool = True,
) -> Summary:
    """Take in files (`-`: standard input; a folder: its files). Bad input goes to the quarantine, the rest goes in.

    `counted`: see `Intake`.
    """
    started = time.perf_counter()
    name = find_source(store, kind, source)
    known = find_mapping(store.home, name, mapping)
    intake = Intake(store, kind, name, known, counted=counted, object_name=object_name)
    for origin, stream in _streams(paths):
        with stream:
            intake.take(origin, stream)
    summary = intake.finish()
    summary.seconds = time.perf_counter() - started
    return summary


def _streams(paths: Sequence[str]) -> Iterator[tuple[str, BinaryIO]]:
    files: list[Path] = []
    for text in paths:
        if text == "-":
            yield "-", sys.stdin.buffer
            continue
        path = Path(text)
        if path.is_dir():
            files += sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        elif path.is_file():
            files.append(path)
        else:
            raise PlanwatchError(f"{path}: there is no such file or folder.")
    for path in files:
        yield str(path), path.open("rb")
