"""Taking files in: door → quarantine or log → counts that account for every input."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ingest import DOORS
from ingest.door import Context, Refused
from ingest.mapping import load_mapping
from planwatch.home import Home
from planwatch.store import Store
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.mapping import Mapping

#: Changes that are sorted by time before they are appended: bounds memory, and keeps history in order for files
#: of usual size. The end state does not depend on it.
CHUNK_CHANGES = 200_000


class Summary:
    """received = applied + duplicate + stale + quarantined; files that gave nothing at all are named."""

    def __init__(self) -> None:
        self.received = self.applied = self.duplicate = self.stale = self.quarantined = 0
        self.refused: list[Refused] = []
        self.seconds = 0.0

    def as_json(self) -> dict[str, float | int]:
        """As `planwatch ingest --json` prints it."""
        return {
            "received": self.received,
            "applied": self.applied,
            "duplicate": self.duplicate,
            "stale": self.stale,
            "quarantined": self.quarantined,
            "seconds": round(self.seconds, 3),
        }


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


def ingest(store: Store, kind: str, paths: Sequence[str], mapping: Path | None, source: str | None) -> Summary:
    """Take in files (`-`: standard input; a folder: its files). Bad input goes to the quarantine, the rest goes in."""
    started = time.perf_counter()
    name = find_source(store, kind, source)
    config = store.home.config
    context = Context(config.tenant, name, config, find_mapping(store.home, name, mapping), store.clock)
    state = store.state()
    summary = Summary()
    chunk: list[Change] = []

    def flush() -> None:
        chunk.sort(key=lambda c: c.occurred_at)
        store.append(chunk)
        touched = store.catch_up(state)
        summary.applied += touched.outcomes["applied"]
        summary.duplicate += touched.outcomes["duplicate"]
        summary.stale += touched.outcomes["stale"]
        chunk.clear()

    for origin, stream in _streams(paths):
        with stream:
            for item in DOORS[kind].read(origin, stream, context):
                summary.received += 1
                if isinstance(item, Refused):
                    summary.quarantined += 1
                    summary.refused.append(item)
                else:
                    chunk.append(item)
                    if len(chunk) >= CHUNK_CHANGES:
                        flush()
    flush()
    store.quarantine.add(summary.refused)
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
