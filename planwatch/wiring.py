"""Which adapters a home uses: SQLite beside it, or the servers that its configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from ingest.door import Refused
from ingest.quarantine import Quarantine
from ingest.refusal_states import Kept, RefusalCounts
from planwatch.home import Home
from schemas.events import Disposition
from storage.file_snapshots import FileSnapshots
from storage.ports import Journal, Log, Series
from storage.sqlite_journal import SqliteJournal
from storage.sqlite_log import SqliteLog
from storage.sqlite_series import SqliteSeries


class QuarantineStore(Protocol):
    """Where refused input is kept."""

    def add(self, refused: Sequence[Refused]) -> int:
        """Keep these; returns how many."""
        ...

    def settle(self, dispositions: Sequence[Disposition]) -> None:
        """Keep what became of refusals."""
        ...

    def count(self) -> int:
        """How many inputs are in quarantine, open or dropped."""
        ...

    def by_source(self) -> dict[str, int]:
        """How many inputs of each source are in quarantine, open or dropped."""
        ...

    def counts(self) -> dict[tuple[str, str], RefusalCounts]:
        """(source, code) → how many refusals stand in which state."""
        ...

    def newest(self, count: int) -> list[Kept]:
        """The last ones that came, in whatever state, at most `count`, the newest first."""
        ...

    def kept(self) -> Iterator[Kept]:
        """Everything that was refused and what became of it, in the order in which it came."""
        ...


class Parts(NamedTuple):
    """The adapters behind a tenant's stores."""

    log: Log
    series: Series
    journal: Journal
    quarantine: QuarantineStore


def parts_of(home: Home, log_patience_s: float | None = None) -> Parts:
    """The adapters for a command that asks or takes files in. Connections are made here and on first use.

    `log_patience_s`: how long a log in Kafka bears with brokers that are away; none: as long as a command may take.
    """
    return _stack(home, log_patience_s) if home.config.kafka is not None else _embedded(home)


def snapshots_of(home: Home) -> FileSnapshots:
    """Where the workers keep a tenant's snapshots."""
    return FileSnapshots(home.stack_path / home.config.worker.snapshots / home.config.tenant)


def _embedded(home: Home) -> Parts:
    journal = SqliteJournal(home.data / "journal.sqlite")
    return Parts(
        SqliteLog(home.data / "log.sqlite"),
        SqliteSeries(home.data / "series.sqlite"),
        journal,
        Quarantine(journal),
    )


def _stack(home: Home, log_patience_s: float | None) -> Parts:
    # Read only where there is a stack: these clients take longer to import than all of the rest.
    from ingest.topic_quarantine import TopicQuarantine
    from storage.influx_connect import connect, settings_of
    from storage.influx_reader import InfluxReader
    from storage.influx_series import InfluxSeries
    from storage.kafka_log import PATIENCE_S, KafkaLog
    from storage.memory import MemoryJournal

    config, kafka = home.config, home.config.kafka
    assert kafka is not None
    settings = settings_of(config)
    reader = InfluxReader(settings, lambda: connect(config, "board", home.stack_path))
    series = InfluxSeries(settings, config.tenant, reader=reader)
    log = KafkaLog(kafka, config.tenant, log_patience_s or PATIENCE_S)
    return Parts(log, series, MemoryJournal(), TopicQuarantine(kafka, config.tenant))
