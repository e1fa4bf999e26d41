"""What doors did not know, kept in the journal of a home: each finding once, with when it was first seen."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from ingest.drift import Finding
from schemas.events import DriftEvent
from storage.ports import Journal

KIND = "drift"


def drift_event(tenant: str, source: str, finding: Finding, at: int) -> DriftEvent:
    """A finding as it is kept."""
    return DriftEvent(tenant=tenant, source=source, first_seen=at, **finding._asdict())


def drift_events(values: Sequence[bytes]) -> list[DriftEvent]:
    """Kept findings, the oldest first; what cannot be read is passed over."""
    found = []
    for value in values:
        try:
            found.append(DriftEvent.model_validate_json(value))
        except ValidationError:
            continue  # somebody else's, or of another version: it is noticed again where it still holds
    return sorted(found, key=lambda event: (event.first_seen, event.key))


class JournalDrift:
    """The findings of one tenant."""

    def __init__(self, journal: Journal, tenant: str) -> None:
        self._journal, self._tenant = journal, tenant

    def add(self, source: str, findings: Sequence[Finding], at: int) -> list[Finding]:
        """Keep findings of a source; returns those that were not known yet. `at`: microseconds since 1970-01-01 UTC."""
        new = []
        for finding in findings:
            event = drift_event(self._tenant, source, finding, at)
            if self._journal.record(KIND, event.key, event.model_dump_json().encode()):
                new.append(finding)
        return new

    def noted(self) -> list[DriftEvent]:
        """Everything that was found, the oldest first."""
        return drift_events([value for _, value in self._journal.items(KIND)])

    def forget(self, events: Sequence[DriftEvent]) -> None:
        """Forget findings; those that still hold are found again."""
        self._journal.delete(KIND, [event.key for event in events])
