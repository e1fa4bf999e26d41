"""The doors: each turns the wire format of one source into changes, and says what it could not take.

To add a door, write a module with a class that has `read(origin, stream, context)` (see `ingest.door.Door`),
and name it in `DOORS` below. Inside:

- read the stream with `ingest.lines.read_lines`, which bounds a line and numbers it;
- turn raw values into canonical scalars with `ingest.values.Values`, so that a date or an amount means the same
  from every source; whatever cannot be taken raises `ingest.values.Bad` with a code and a sentence;
- build changes with `ingest.door.make_change`; the version is the source's own order, and the event id the
  same whenever the same event comes again (`ingest.rows.content_event_id` where the source has none);
- catch `Bad` per line and yield `ingest.door.refuse(...)`: a door never raises on bad input and goes on.

A source that comes through a topic, one event to a record, has a `reader(context)` too (`ingest.door.RecordDoor`) and
is named in `RECORD_DOORS`.

A source whose events can be of any shape, mapped by file, is an `ingest.event_door.MappedReader`: it takes an event's
envelope off, and `ingest.event_mapping` does the rest.

Then add its kind to `schemas.sources.SourceKind` and its tests beside those of the other doors.
"""

from __future__ import annotations

from ingest.cloudevents import CloudEventsReader
from ingest.csv_door import CsvDoor
from ingest.debezium import DebeziumReader
from ingest.door import DOORS, RECORD_DOORS, Context, Door, RecordDoor, Refused
from ingest.event_door import EventDoor
from ingest.field_history import FieldHistoryDoor
from ingest.hubspot import HubSpotReader
from ingest.mapping import load_mapping
from ingest.salesforce import SalesforceDoor
from ingest.webhook_door import WebhookReader

_MAPPED = {reader.kind: EventDoor(reader) for reader in (CloudEventsReader, DebeziumReader, WebhookReader)}
_EVENTS = {"hubspot": EventDoor(HubSpotReader), **_MAPPED}
DOORS.update({"csv": CsvDoor(), "field-history": FieldHistoryDoor(), "salesforce": SalesforceDoor(), **_EVENTS})
RECORD_DOORS.update({"salesforce": SalesforceDoor(), **_EVENTS})

__all__ = ["DOORS", "RECORD_DOORS", "Context", "Door", "RecordDoor", "Refused", "load_mapping"]
