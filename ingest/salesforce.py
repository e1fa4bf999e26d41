"""The `salesforce` door: Change Data Capture events as JSON lines or one to a record of a topic, and Bulk API files.

These shapes of an event are read:

- its body alone, {"ChangeEventHeader": ..., "StageName": ...};
- the message of the Streaming API, {"schema": ..., "payload": {...}, "event": {"replayId": ...}};
- either of them as decoded from the Pub/Sub API, with bitmaps in the header and null for every unchanged field;
- the Pub/Sub API's ConsumerEvent, {"event": {"schemaId": ..., "payload": "base64 of Avro"}, "replayId": "base64"}.

A file of the Bulk API 2.0 is known by its header row; see `ingest.salesforce_rows`.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from ingest.avro_schemas import AvroSchema, AvroSchemas
from ingest.door import Context, Received, Refused, check_time, make_change, refuse
from ingest.drift import FieldWatch
from ingest.lines import empty_file, json_object, read_lines, record_line
from ingest.objects import ObjectMap
from ingest.salesforce_commits import CommitTimes
from ingest.salesforce_header import OVERFLOW, Header, read_header, whole
from ingest.salesforce_objects import ObjectValues, nested, salesforce_objects
from ingest.salesforce_rows import is_table, read_table
from ingest.values import Bad, show
from schemas.change import Change, Scalar
from schemas.mapping import Mapping
from schemas.records import INCOMPLETE
from schemas.sources import SourceConfig

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


#: What is looked at to tell events from a table.
HEAD_BYTES = 1 << 16


class SalesforceDoor:
    """Reads Change Data Capture events and Bulk API files; standard fields need no mapping file.

    `object_name`: of which object the rows of a Bulk API file are; none: the file's name says so. `commits` gives what
    the log knows of this source's commits; it is asked only for such a file,
    and once.
    """

    def __init__(self, object_name: str | None = None, commits: Callable[[], CommitTimes] = CommitTimes) -> None:
        self._object = object_name
        self._commits = cache(commits)

    def read(self, origin: str, stream: BinaryIO, context: Context) -> Iterator[Change | Refused]:
        """The changes of a stream, one per record id of an event or per row, and a `Refused` for what is none."""
        head = stream.read(HEAD_BYTES)
        joined = cast("BinaryIO", io.BufferedReader(_Rejoined(head, stream)))
        if is_table(head, context.mapping or Mapping()):
            yield from read_table(origin, joined, context, self._object, self._commits)
        else:
            yield from self._events(origin, joined, context)

    def reader(self, context: Context) -> SalesforceReader:
        """What takes the records of a topic, one event each."""
        return SalesforceReader(context)

    @staticmethod
    def _events(origin: str, stream: BinaryIO, context: Context) -> Iterator[Change | Refused]:
        reader = SalesforceReader(context)
        line = None
        for line in read_lines(stream):
            try:
                changes = reader.changes(json_object(line))
            except Bad as bad:
                yield refuse(context, origin, line.position, line.raw, bad)
            else:
                yield from changes
        if line is None:
            yield refuse(context, origin, 0, b"", empty_file())


class Overflow(NamedTuple):
    """Of an object so much changed in one commit that there are no events of it."""

    object: str
    version: int
    occurred_at: int  # microseconds UTC


class SalesforceReader:
    """Events to changes, one at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        mapping = context.mapping or Mapping()
        self._objects = salesforce_objects(mapping)
        self._values = ObjectValues(context, mapping)
        self._schemas = schemas_of(context)
        self._watch = FieldWatch(context.drift)
        self._parts = {name: tuple(f for f in item.fields if "." in f) for name, item in self._objects.items()}
        self._named = {name: tuple(custom.fields) for name, custom in mapping.entities.items()}

    def take(self, message: Received, origin: str, position: int) -> Sequence[Change | Refused]:
        """The changes of one event, as `ingest.door.RecordReader` says."""
        try:
            return self.changes(json_object(record_line(message.body, position), "record"))
        except Bad as bad:
            return [refuse(self._context, origin, position, message.body or b"", bad, message.headers)]

    def overflow(self, body: bytes) -> Overflow | None:
        """What an event of a GAP_OVERFLOW, such as was refused, is about; none where it is no such event."""
        try:
            event, _ = self._unwrapped(json_object(record_line(body, 0), "record"))
            raw = event.get("ChangeEventHeader")
            if not isinstance(raw, dict) or raw.get("changeType") != OVERFLOW:
                return None
            at = self._values.values.moment(raw.get("commitTimestamp"), "commitTimestamp")
            return Overflow(str(raw.get("entityName")), whole(raw, "commitNumber"), at)
        except Bad:
            return None

    def changes(self, body: dict[str, Any]) -> list[Change]:
        """One change per record of the event; none when the mapping ignores its object. `Bad` for what is no event."""
        body, schema_id = self._unwrapped(body)
        raw = body.get("ChangeEventHeader")
        if not isinstance(raw, dict):
            raise Bad("bad_event", "there is no ChangeEventHeader; send Change Data Capture events")
        name = str(raw.get("entityName"))
        known = self._objects.get(name)
        if known is None:
            raise Bad(
                "unknown_entity",
                f"entityName {show(name)} is not known; map it under `entities` in the mapping, "
                "with `ignore: true` to skip its events",
            )
        if known.ignore:
            return []
        header = read_header(raw, self._values.values, partial(self._schema, body, name, schema_id))
        check_time(self._context, header.occurred_at, f"commitTimestamp of {name} {header.record_ids[0]}")
        fields, nulled = self._fields(header, known, body)
        if header.op != "delete" and not header.gap:
            parts = [field for field in self._parts.get(name, ()) if nested(body, field)[0]]
            names = {*body, *parts} if parts else body.keys()
            full = header.op == "create"
            self._watch.saw(name, known.entity, names, known.fields, self._named.get(name, ()), full=full)
        return [
            make_change(
                self._context,
                entity=known.entity,
                record_id=record_id,
                op=header.op,
                version=header.version,
                sequence=header.sequence,
                occurred_at=header.occurred_at,
                event_id=f"{header.key}:{header.sequence}:{record_id}",
                fields=fields,
                nulled=nulled,
            )
            for record_id in header.record_ids
        ]

    def _unwrapped(self, body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        """The event without what is around it, and the id of its schema where that is known."""
        if "ChangeEventHeader" in body:
            return body, None
        event, payload = body.get("event"), body.get("payload")
        if isinstance(payload, dict):
            return payload, next((text for text in (body.get("schemaId"), body.get("schema")) if _is_text(text)), None)
        if isinstance(event, dict) and _is_text(event.get("payload")):
            schema_id = event.get("schemaId")
            if not _is_text(schema_id):
                raise Bad("bad_event", f"schemaId {show(schema_id)} is not text; send the ConsumerEvent as it came")
            return self._schemas.find(schema_id, None).decode(_bytes(event["payload"])), schema_id
        return body, None

    def _schema(self, body: dict[str, Any], name: str, schema_id: str | None) -> AvroSchema:
        """The schema that the bitmaps of an event go by. `Bad` where it is not there, or is another version's."""
        event = f"{name.removesuffix('c')}ChangeEvent" if name.endswith("__c") else f"{name}ChangeEvent"
        schema = self._schemas.find(schema_id, event)
        strange = next(iter(body.keys() - {field.name for field in schema.fields}), None)
        if strange is not None:
            raise Bad(
                "wrong_schema",
                f"the event has a field {show(strange)} and {schema.where} has none; put its own schema there",
            )
        return schema

    def _fields(
        self, header: Header, known: ObjectMap, body: dict[str, Any]
    ) -> tuple[dict[str, Scalar], tuple[str, ...]]:
        fields: dict[str, Scalar] = {}
        cleared: set[str] = set()
        if header.op == "delete":
            return fields, ()
        if header.gap:
            return {INCOMPLETE: True}, ()
        update = header.op == "update"
        listed = update and bool(header.changed)
        # Beside a list of what changed, an empty one too, null says that a field did not.
        nulls_clear = update and body["ChangeEventHeader"].get("changedFields") is None
        for name, ours in known.fields.items():
            changed = listed and header.lists(name)
            if listed and not changed and not header.nulls(name):
                continue
            given, value = nested(body, name)
            if name in header.differing:
                fields[INCOMPLETE] = True  # the value is a difference: only Salesforce has the text
            elif header.nulls(name) or (value is None and changed):
                cleared.add(ours)
            elif value is None:
                if nulls_clear and given:
                    cleared.add(ours)
            else:
                scalar = self._values.scalar(header.object, known.entity, name, ours, value, partial=update)
                if scalar is not None:
                    fields[ours] = scalar
        return fields, tuple(sorted(cleared - fields.keys()))


def schemas_of(context: Context) -> AvroSchemas:
    """The Avro schemas of a source."""
    source = context.config.sources.get(context.source, SourceConfig(kind="salesforce"))
    folder = source.salesforce.avro_schemas
    setting = f"sources.{context.source}.salesforce.avro_schemas"
    return AvroSchemas(None if folder is None else context.home / folder, setting)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _bytes(text: str) -> bytes:
    """Bytes as proto3 JSON writes them: base64, of either alphabet, padded or not."""
    try:
        return base64.b64decode(text.translate(_STANDARD) + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Bad("bad_event", f"the payload is not base64 ({error}); send the ConsumerEvent as it came") from error


_STANDARD = str.maketrans("-_", "+/")


class _Rejoined(io.RawIOBase):
    """A stream whose beginning was read already, from its beginning."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        into = memoryview(buffer).cast("B")
        data = self._head[: len(into)] or self._rest.read(len(into))
        self._head = self._head[len(into) :]
        into[: len(data)] = data
        return len(data)
