"""Keeping what doors did not know: in the journal of a home, or in the topic of the stack."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ingest.door import Context
from ingest.drift import Finding
from ingest.drift_journal import JournalDrift
from planwatch.home import Home
from planwatch.logs import fields
from planwatch.store import Store
from schemas.base import PlanwatchError
from schemas.events import DriftEvent
from storage.sqlite_journal import SqliteJournal

log = logging.getLogger("planwatch.drift")


class DriftStore(Protocol):
    """Where findings are kept."""

    def add(self, source: str, findings: Sequence[Finding], at: int) -> list[Finding]:
        """Keep findings of a source; returns those that were not known yet."""
        ...

    def noted(self) -> list[DriftEvent]:
        """Everything that was found, the oldest first."""
        ...

    def forget(self, events: Sequence[DriftEvent]) -> None:
        """Forget findings."""
        ...


def drift_of(store: Store) -> DriftStore:
    """The findings of a store's home."""
    config = store.home.config
    return JournalDrift(store.journal, config.tenant) if config.kafka is None else drift_at(store.home)


def keep_drift(context: Context, store: DriftStore) -> list[Finding]:
    """Keep what a door has noted since the last call; returns what is new.

    Never fails: what cannot be kept now is given back, and kept at the next call.
    """
    findings = context.drift.take()
    if not findings:
        return []
    try:
        return store.add(context.source, findings, context.clock.now())
    except PlanwatchError as error:
        context.drift.give_back(findings)
        log.warning("what a source brought anew cannot be kept now", extra=fields(reason=str(error)))
        return []


def say_drift(context: Context, findings: Iterable[Finding]) -> None:
    """Log new findings, a line each."""
    for finding in findings:
        log.warning(
            "a source brought what is not known: see planwatch sources check",
            extra=fields(tenant=context.tenant, source=context.source, **finding._asdict()),
        )


def drift_keeper(home: Home, contexts: Iterable[Context]) -> Callable[[], None]:
    """What a role of a home and its tenants calls every few seconds to keep and log what its doors have noted."""
    tenants = home.tenants()
    stores = [(context, drift_at(tenants[context.tenant])) for context in contexts]

    def keep() -> None:
        for context, store in stores:
            say_drift(context, keep_drift(context, store))

    return keep


def drift_at(home: Home) -> DriftStore:
    """The findings of a home, without its other stores."""
    config = home.config
    if config.kafka is None:
        return JournalDrift(SqliteJournal(home.data / "journal.sqlite"), config.tenant)
    from ingest.drift_topic import TopicDrift  # Kafka's client takes long to import

    return TopicDrift(config.kafka, config.tenant)
