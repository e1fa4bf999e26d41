"""Refused input read once more, through its source's door with today's mapping and configuration. Writes nothing."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ingest import DOORS, RECORD_DOORS
from ingest.csv_door import file_of
from ingest.door import Context, Door, Received, RecordReader, Refused
from ingest.salesforce_rows import FETCHED
from planwatch.ingesting import DOOR, OBJECT, context_of, door_of
from planwatch.store import Store
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.message import encode_change

log = logging.getLogger(__name__)

#: Sources of refusals that came through no door: messages of the log, and records of the quarantine topic itself.
NO_DOOR = {
    "log": "a worker refused this message of the change log itself, and no door wrote it; find out what else writes to "
    "the log's topic, then drop it",
    "quarantine": "this record of the quarantine topic is no refusal; find out what else writes to the topic, then drop it",
}
#: The notice that events are lost, which is no input.
EXPIRED = "replay_expired"
#: Kinds whose lines say nothing without the header line of their file.
TABLES = frozenset({"csv", "field-history"})
_RECORD = re.compile(r"\[\d+\]$")

Result = Literal["readable", "still_refused", "impossible"]


class Reread(NamedTuple):
    """What an input is today. `readable`: its changes, and what of it is refused still, as refusals of their own."""

    result: Result
    changes: Sequence[Change] = ()
    parts: Sequence[Refused] = ()
    code: str = ""
    reason: str = ""  # why it is refused still, or cannot be read again and what to do instead


class Rereader:
    """Reads refusals of any source again. A source's mapping is loaded once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._config = store.home.config
        self._contexts: dict[str, Context | PlanwatchError] = {}
        self._readers: dict[str, RecordReader] = {}
        self._doors: dict[tuple[str, str, str | None], Door] = {}
        kafka = self._config.kafka
        self._bytes_max = None if kafka is None else kafka.change_bytes_max  # none: a change may be of any size

    def read(self, item: Refused) -> Reread:
        """What the input gives today. Never raises on what is in the input."""
        if why := self._impossible(item):
            return Reread("impossible", reason=why)
        try:
            found = self._found(item)
        except PlanwatchError as error:  # the mapping or the configuration is not good
            return Reread("impossible", reason=str(error))
        except Exception as error:
            # A door raises on no input. One that does, and did so at first, must not hold up what comes after it.
            log.exception("the door failed on a refused input")
            return Reread(
                "still_refused", code="door_failed", reason=f"the door failed: {type(error).__name__}: {error}"
            )
        return self._judged(item, found)

    def _kind(self, item: Refused) -> str | None:
        """The kind of the door: the source's, unless its file came in by another one. A source that is not configured
        has the name of its kind, as `planwatch ingest` gives it, or none."""
        configured = self._config.sources.get(item.source)
        if configured is None:
            return item.source if item.source in DOORS else None
        return configured.kind if self._is_message(item) else item.around.get(DOOR, configured.kind)

    def _impossible(self, item: Refused) -> str:
        """Why an input cannot be read again, and what to do; empty where it can."""
        kind = self._kind(item)
        if kind is None:
            return NO_DOOR.get(item.source) or (
                f"planwatch.yaml has no source «{item.source}»; add it under `sources` with its kind and mapping"
            )
        if item.code == EXPIRED:
            return item.reason
        if kind == "salesforce" and item.origin.startswith(FETCHED) and item.payload.startswith(b"{"):
            return "the record is fetched again until it can be taken; mend the mapping or the record, then drop this"
        if self._is_message(item):
            if kind not in RECORD_DOORS:
                return f"source {item.source} is of kind {kind}, which takes no single messages; correct its `kind`"
            return "only its beginning was kept; send it again from its source" if item.cut else ""
        if kind not in DOORS:
            return f"source {item.source} is of kind {kind}, which reads no files; correct its `kind`"
        command = f"`planwatch ingest {kind} {item.origin} --source {item.source}`"
        if item.position == 0:
            return f"the whole file was refused; mend it, then run {command}"
        if item.cut:
            return f"only the line's beginning was kept; run {command} again"
        if "head" not in item.around and kind in TABLES and not item.payload.lstrip().startswith(b"{"):
            return f"its file's header line was not kept; run {command} again"
        return ""

    def _is_message(self, item: Refused) -> bool:
        """Whether it came as a record of a topic, by request or through a channel, and not in a file."""
        if _RECORD.search(item.origin) is not None or item.origin == f"hooks/{item.source}":
            return True
        configured = self._config.sources.get(item.source)
        return configured is not None and item.origin in configured.salesforce.channels

    def _found(self, item: Refused) -> list[Change | Refused]:
        context = self._context(item.source)
        kind = self._kind(item)
        assert kind is not None
        if not self._is_message(item):
            text = file_of(item) if "head" in item.around else item.payload
            return list(self._door(kind, item).read(item.origin, io.BytesIO(text), context))
        reader = self._readers.get(item.source)
        if reader is None:
            reader = self._readers[item.source] = RECORD_DOORS[kind].reader(context)
        return list(reader.take(Received(item.payload or None, None, item.around), item.origin, item.position))

    def _door(self, kind: str, item: Refused) -> Door:
        named = item.around.get(OBJECT)
        key = (kind, item.source, named)
        if key not in self._doors:
            self._doors[key] = door_of(self._store, kind, item.source, named)
        return self._doors[key]

    def _context(self, source: str) -> Context:
        """What the source's door knows today. Raises PlanwatchError, each time, where its mapping cannot be read."""
        known = self._contexts.get(source)
        if known is None:
            try:
                known = context_of(self._store.home, source, self._store.clock)
            except PlanwatchError as error:
                known = error
            self._contexts[source] = known
        if isinstance(known, PlanwatchError):
            raise known
        return known

    def _judged(self, item: Refused, found: Sequence[Change | Refused]) -> Reread:
        changes = [each for each in found if not isinstance(each, Refused)]
        parts = [each for each in found if isinstance(each, Refused)]
        # A part of a batch may be refused for itself; as long as these very bytes are refused, nothing is gained.
        if parts and (not changes or any(part.payload == item.payload for part in parts)):
            return Reread("still_refused", code=parts[0].code, reason=parts[0].reason)
        size = max((len(encode_change(change)) for change in changes), default=0) if self._bytes_max else 0
        if self._bytes_max and size > self._bytes_max:
            reason = (
                f"a change of {size:,} bytes is larger than the {self._bytes_max:,} that a log message holds; "
                "raise kafka.message_bytes_max"
            )
            return Reread("still_refused", code="too_large", reason=reason)
        return Reread("readable", changes, parts)
