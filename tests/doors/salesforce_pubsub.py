"""The story as Salesforce's Pub/Sub API tells it: events in Avro, the fields that changed as bitmaps over their schema."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import fastavro

from tests.doors import story
from tests.doors.salesforce import IDS, OBJECTS, fields_of, header, message
from tests.doors.story import Step, milliseconds
from tests.doors.wire import Message, Wire

#: After the header, which is field 0.
FIELDS = {
    "User": {"Name": "string"},
    "Account": {"Name": "string", "Industry": "string"},
    "Opportunity": {
        "Name": "string",
        "StageName": "string",
        "Amount": "double",
        "OwnerId": "string",
        "AccountId": "string",
        "CloseDate": "long",
        "CreatedDate": "long",
        "LastModifiedDate": "long",
    },
}
_TEXTS = ("entityName", "changeOrigin", "transactionKey", "commitUser")
_LISTS = ("recordIds", "nulledFields", "diffFields", "changedFields")
_CHANGE_TYPES = ["CREATE", "UPDATE", "DELETE", "UNDELETE"]


def schema(name: str) -> dict[str, Any]:
    """The Avro schema of an object's events; every field but the header may be null."""
    kinds: dict[str, Any] = {
        **dict.fromkeys(_TEXTS, "string"),
        **{each: {"type": "array", "items": "string"} for each in _LISTS},
        "changeType": {"type": "enum", "name": "ChangeType", "symbols": _CHANGE_TYPES},
        "sequenceNumber": "int",
        "commitTimestamp": "long",
        "commitNumber": "long",
    }
    inner = {
        "type": "record",
        "name": "ChangeEventHeader",
        "fields": [{"name": each, "type": kind} for each, kind in kinds.items()],
    }
    fields = [{"name": each, "type": ["null", kind], "default": None} for each, kind in FIELDS[name].items()]
    return {
        "type": "record",
        "name": f"{name}ChangeEvent",
        "namespace": "com.sforce.eventbus",
        "fields": [{"name": "ChangeEventHeader", "type": inner}, *fields],
    }


def consumed(step: Step) -> Message:
    """The ConsumerEvent in JSON, its payload base64 of Avro. Of the bad one the payload breaks off."""
    name = OBJECTS[step.kind]
    bad = step is story.BAD
    fields = {**fields_of(step), **({"Amount": None} if bad else {})}
    if step.what == "changed":
        fields["LastModifiedDate"] = step.iso
    for each, value in fields.items():
        if each.endswith("Date"):
            fields[each] = milliseconds(value)
    bits = sum(1 << at for at, each in enumerate(FIELDS[name], 1) if each in fields)
    changed = [f"0x{bits:X}"] if step.what == "changed" else []
    stream = io.BytesIO()
    event = {"ChangeEventHeader": header(step, changedFields=changed), **dict.fromkeys(FIELDS[name]), **fields}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema(name)), event)
    payload = stream.getvalue()[: 40 if bad else None]
    body = {
        "event": {
            "id": f"{step.ms:012x}-0000-4000-8000-000000000000",
            "schemaId": f"{name}-schema-1",
            "payload": base64.b64encode(payload).decode(),
        },
        "replayId": base64.b64encode((step.ms // 1000).to_bytes(8, "big")).decode(),
    }
    return message(body, step)


def pubsub() -> Wire:
    """Every event in Avro; the schemas are files beside the configuration."""
    sent = ([consumed(step) for step in story.FIRST], [consumed(step) for step in story.THEN])
    schemas = {f"avro/{name}-schema-1.avsc": json.dumps(schema(name)) for name in FIELDS}
    settings = {"salesforce": {"avro_schemas": "avro"}}
    return Wire(
        "salesforce", IDS["ada"], (11, 1, 1), "bad_avro", settings=settings, beside=schemas, messages=sent, records=sent
    )
