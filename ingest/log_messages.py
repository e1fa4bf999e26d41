"""From what a source sent to what the log holds: a door's changes encoded, and packed into messages of bounded size."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from ingest.door import Context, Received, RecordReader, Refused, refuse
from ingest.values import Bad
from schemas.message import Packing, encode_change
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing

log = logging.getLogger(__name__)

#: The version of the log message's form, in its header `schema`.
SCHEMA = b"1"


class Taking:
    """One source's messages, as changes that the log can hold. Never raises."""

    def __init__(self, context: Context, reader: RecordReader, bytes_max: int | None = None) -> None:
        """`bytes_max`: a change that is larger when encoded is refused; none: no change is too large."""
        self.context = context
        self._reader = reader
        self._bytes_max = bytes_max

    def take(self, message: Received, origin: str, position: int) -> list[bytes | Refused]:
        """Encoded changes and refusals, in order."""
        found: list[bytes | Refused] = []
        try:
            for item in self._reader.take(message, origin, position):
                found.append(item if isinstance(item, Refused) else encode_change(item))
        except Exception as error:
            # A door raises on no input. Should one do so, the message must neither be lost nor hold up those after it.
            log.exception("the door failed on a message", extra={"fields": {"origin": origin, "offset": position}})
            bad = Bad(
                "door_failed",
                f"the door failed on the record ({type(error).__name__}: {error}); report it as an error of Planwatch",
            )
            return [refuse(self.context, origin, position, message.body or b"", bad, message.headers)]
        return [self._bounded(item, message, origin, position) for item in found]

    def _bounded(self, item: bytes | Refused, message: Received, origin: str, position: int) -> bytes | Refused:
        if isinstance(item, Refused) or self._bytes_max is None or len(item) <= self._bytes_max:
            return item
        bad = Bad(
            "too_large",
            f"a change of {len(item):,} bytes is larger than the {self._bytes_max:,} that a log message holds; "
            "shorten the record's texts or raise kafka.message_bytes_max",
        )
        return refuse(self.context, origin, position, message.body or b"", bad, message.headers)


@dataclass
class _Message:
    """A message in the making."""

    packing: Packing
    newest_ms: int = 0


class LogMessages:
    """Packs changes into messages for the changes topic: as many as come, up to MESSAGE_CHANGES of one tenant in each."""

    def __init__(self, config: KafkaConfig) -> None:
        self._topic = config.topic("changes")
        self._bytes_max = config.change_bytes_max
        self._making: dict[str, _Message] = {}

    def add(self, tenant: str, encoded: bytes, produced_ms: int) -> Iterator[Outgoing]:
        """Take in a change, produced at a time (milliseconds since 1970). Gives the message that is full before it."""
        message = self._making.get(tenant)
        if message is None:
            message = self._making[tenant] = _Message(Packing(self._bytes_max))
        full = message.packing.add(encoded)
        if full is not None:
            yield self._outgoing(tenant, full, message.newest_ms)
            message.newest_ms = 0
        message.newest_ms = max(message.newest_ms, produced_ms)

    def finish(self) -> Iterator[Outgoing]:
        """The messages that are not full; it begins anew."""
        making, self._making = self._making, {}
        for tenant, message in making.items():
            last = message.packing.finish()
            if last is not None:
                yield self._outgoing(tenant, last, message.newest_ms)

    def _outgoing(self, tenant: str, payload: bytes, newest_ms: int) -> Outgoing:
        headers = [("produced_at", str(newest_ms).encode()), ("schema", SCHEMA)]
        return Outgoing(self._topic, tenant.encode(), payload, headers)
