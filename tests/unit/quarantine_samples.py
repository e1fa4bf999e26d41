"""A home with refused input: a history of deals whose amounts are written as its mapping does not read them yet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from ingest.quarantine import Quarantine
from planwatch.home import Home
from planwatch.ingesting import Intake, find_mapping
from planwatch.pipeline import source_health
from planwatch.store import Store
from planwatch.wiring import Parts
from schemas.alert import SourceHealth
from schemas.clock import ManualClock
from storage.memory import MemoryJournal, MemoryLog, MemorySeries
from storage.ports import Journal

NOW = 1_790_000_000_000_000  # 2026-09-21
HEAD = "OpportunityId,CreatedDate,Field,NewValue"
STRICT = "decimal_mark: '.'\n"
MENDED = "decimal_mark: ','\nthousands: '.'\n"
CONFIG = """
company: Acme Ltd
tenant: acme
stages:
  - { name: Offer, probability: 50 }
  - { name: Won, kind: won }
sources:
  crm: { kind: field-history, mapping: mapping.yaml }
  sf: { kind: salesforce, topic: crm.events }
"""


def row(number: int, amount: str) -> str:
    """A deal's amount changed; every deal is another one."""
    return f'D-{number},2026-03-{number % 28 + 1:02d}T10:00:00Z,Amount,"{amount}"'


class Sample:
    """A home on disk whose stores are in memory. `mend` writes the mapping that reads amounts as they are written."""

    def __init__(self, path: Path, journal: Journal | None = None) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        (path / "planwatch.yaml").write_text(CONFIG, encoding="utf-8")
        self.map(STRICT)
        self.clock = ManualClock(NOW)
        self.journal = journal or MemoryJournal()
        self.log = MemoryLog()
        self.store = self.opened()

    def opened(self) -> Store:
        """The stores as a process of its own has them."""
        parts = Parts(self.log, MemorySeries(), self.journal, Quarantine(self.journal, self.clock))
        return Store(Home(self.path), self.clock, parts)

    def map(self, text: str) -> None:
        """Write the mapping."""
        (self.path / "mapping.yaml").write_text(text, encoding="utf-8")

    def mend(self) -> None:
        """Write the mapping that reads the amounts."""
        self.map(MENDED)

    def ingest(self, rows: Sequence[str], name: str = "history.csv") -> None:
        """Take in a file."""
        intake = Intake(self.store, "field-history", "crm", find_mapping(self.store.home, "crm", None), counted=False)
        intake.take(name, io.BytesIO("\n".join([HEAD, *rows, ""]).encode()))
        intake.finish()

    def health(self, source: str = "crm") -> SourceHealth:
        """The source's account, from the log and the quarantine."""
        found = source_health(self.store.state(), self.store.quarantine.by_source())
        return next(s for s in found if s.source == source)

    def amounts(self) -> dict[str, str]:
        """Deal → amount, as the log has them."""
        return {
            change["record_id"]: str(change["fields"]["amount"])
            for message in self.store.decoded(self.log.read(0, 10_000))
            for change in message.changes
        }
