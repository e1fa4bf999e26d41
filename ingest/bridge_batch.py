"""What the bridge makes of the records that it has read: messages for the log and refusals, bounded in size."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ingest.door import PAYLOAD_BYTES_MAX, Context, Received, RecordDoor, Refused, refuse
from ingest.topic_quarantine import quarantine_record
from ingest.values import Bad
from schemas.change import Change
from schemas.message import MESSAGE_CHANGES, encode_change, join_changes
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing

log = logging.getLogger(__name__)

#: The version of the log message's form, in its header `schema`.
SCHEMA = b"1"


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


@dataclass
class _Message:
    """A log message in the making."""

    encoded: list[bytes] = field(default_factory=list)
    size: int = 0
    newest_ms: int = 0


class Translator:
    """Records of sources' topics to records of our topics."""

    def __init__(self, config: KafkaConfig, routes: Mapping[str, Route]) -> None:
        self._config = config
        self._routes = routes
        self._readers = {topic: route.door.reader(route.context) for topic, route in routes.items()}
        #: Well below what the topic takes, so that a message is never refused for its size.
        self._size_max = config.message_bytes_max // 2

    def translate(self, records: Iterable[Any], tally: Tally) -> Iterator[Outgoing]:
        """Log messages and refusals of records (kafka-python's), in order per tenant; counts them in `tally`.

        Messages hold up to MESSAGE_CHANGES changes of one tenant: as many as came.
        """
        making: dict[str, _Message] = {}
        for record in records:
            context = self._routes[record.topic].context
            source = (context.tenant, context.source)
            tally.records[source] += 1
            for item in self._take(record):
                if isinstance(item, Refused):
                    tally.refused[source] += 1
                    yield self._refusal(context, item)
                    continue
                encoded = encode_change(item)
                if len(encoded) > self._size_max:
                    tally.refused[source] += 1
                    yield self._refusal(context, self._too_large(record, context.source, len(encoded)))
                    continue
                message = making.setdefault(context.tenant, _Message())
                if len(message.encoded) == MESSAGE_CHANGES or message.size + len(encoded) > self._size_max:
                    yield self._finished(context.tenant, message, tally)
                    message = making[context.tenant] = _Message()
                message.encoded.append(encoded)
                message.size += len(encoded) + 1
                message.newest_ms = max(message.newest_ms, self._produced_ms(record, context))
        for tenant, message in making.items():
            yield self._finished(tenant, message, tally)

    @staticmethod
    def _produced_ms(record: Any, context: Context) -> int:
        """When the record was produced; now, where a very old producer has not said it."""
        return int(record.timestamp) if record.timestamp > 0 else context.clock.now() // 1000

    def _take(self, record: Any) -> Sequence[Change | Refused]:
        origin = f"{record.topic}[{record.partition}]"
        try:
            return self._readers[record.topic].take(received(record), origin, record.offset)
        except Exception as error:
            # A door raises on no input. Should one do so, its record must neither be lost nor hold up those after it.
            log.exception(
                "the door failed on a record",
                extra={"fields": {"topic": record.topic, "partition": record.partition, "offset": record.offset}},
            )
            bad = Bad(
                "door_failed",
                f"the door failed on the record ({type(error).__name__}: {error}); report it as an error of Planwatch",
            )
            context = self._routes[record.topic].context
            return [refuse(context, origin, record.offset, record.value or b"", bad)]

    def _too_large(self, record: Any, source: str, size: int) -> Refused:
        reason = (
            f"a change of {size:,} bytes is larger than the {self._size_max:,} that a log message holds; "
            "shorten the record's texts or raise kafka.message_bytes_max"
        )
        payload = record.value or b""
        cut = len(payload) > PAYLOAD_BYTES_MAX
        origin = f"{record.topic}[{record.partition}]"
        return Refused(source, origin, record.offset, payload[:PAYLOAD_BYTES_MAX], "too_large", reason, cut=cut)

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

    def _finished(self, tenant: str, message: _Message, tally: Tally) -> Outgoing:
        tally.messages += 1
        tally.changes[tenant] += len(message.encoded)
        headers = [("produced_at", str(message.newest_ms).encode()), ("schema", SCHEMA)]
        return Outgoing(self._config.topic("changes"), tenant.encode(), join_changes(message.encoded), headers)


def received(record: Any) -> Received:
    """A record of kafka-python as a door takes it. A header that is not text is left out."""
    headers: dict[str, str] = {}
    for name, value in record.headers or ():
        with suppress(UnicodeDecodeError, AttributeError):
            headers[name.lower()] = value.decode()
    return Received(record.value, record.key, headers)
