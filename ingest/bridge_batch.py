"""What the bridge makes of the records that it has read: messages for the log and refusals, bounded in size."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ingest.door import Context, Received, RecordDoor, Refused
from ingest.log_messages import LogMessages, Taking
from ingest.topic_quarantine import quarantine_record
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing

log = logging.getLogger(__name__)


class Route(NamedTuple):
    """Whose a source's topic is, and through which door its records come."""

    context: Context
    door: RecordDoor


@dataclass
class Tally:
    """What came out of a batch of records."""

    records: Counter[tuple[str, str]] = field(default_factory=Counter)  # (tenant, source) → records read
    changes: Counter[str] = field(default_factory=Counter)  # tenant → changes for the log
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)  # (tenant, source) → refusals
    messages: int = 0  # log messages


class Translator:
    """Records of sources' topics to records of our topics."""

    def __init__(self, config: KafkaConfig, routes: Mapping[str, Route]) -> None:
        self._config = config
        self._sources = {
            topic: Taking(route.context, route.door.reader(route.context), config.change_bytes_max)
            for topic, route in routes.items()
        }

    def translate(self, records: Iterable[Any], tally: Tally) -> Iterator[Outgoing]:
        """Log messages and refusals of records (kafka-python's), in order per tenant; counts them in `tally`.

        Messages hold up to MESSAGE_CHANGES changes of one tenant: as many as came.
        """
        messages = LogMessages(self._config)
        for record in records:
            source = self._sources[record.topic]
            tenant, name = source.context.tenant, source.context.source
            tally.records[tenant, name] += 1
            for item in source.take(received(record), f"{record.topic}[{record.partition}]", record.offset):
                if isinstance(item, Refused):
                    tally.refused[tenant, name] += 1
                    yield self._refusal(source.context, item)
                    continue
                tally.changes[tenant] += 1
                for message in messages.add(tenant, item, self._produced_ms(record, source.context)):
                    tally.messages += 1
                    yield message
        for message in messages.finish():
            tally.messages += 1
            yield message

    @staticmethod
    def _produced_ms(record: Any, context: Context) -> int:
        """When the record was produced; now, where a very old producer has not said it."""
        return int(record.timestamp) if record.timestamp > 0 else context.clock.now() // 1000

    def _refusal(self, context: Context, item: Refused) -> Outgoing:
        log.warning(
            "record refused",
            extra={
                "fields": {
                    "tenant": context.tenant,
                    "source": item.source,
                    "origin": item.origin,
                    "offset": item.position,
                    "code": item.code,
                    "reason": item.reason,
                }
            },
        )
        return quarantine_record(self._config, context.tenant, item)


def received(record: Any) -> Received:
    """A record of kafka-python as a door takes it. A header that is not text is left out."""
    headers: dict[str, str] = {}
    for name, value in record.headers or ():
        with suppress(UnicodeDecodeError, AttributeError):
            headers[name.lower()] = value.decode()
    return Received(record.value, record.key, headers)
