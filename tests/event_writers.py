"""Our changes written as the events of other systems: what a sender of each kind would have sent for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from schemas.change import Change, Entity
from schemas.records import FIELDS

ENTITIES: tuple[Entity, ...] = ("opportunity", "account", "lead", "product")
Message = tuple[bytes | None, list[tuple[str, bytes]]]  # (value, headers of the record)


def webhook_events(changes: Iterable[Change]) -> Iterator[Message]:
    """A system of one's own: what happened, to what, and the fields that changed."""
    for change in changes:
        yield json.dumps(_told(change)).encode(), []


def cloud_events(changes: Iterable[Change]) -> Iterator[Message]:
    """Structured and binary events in turn, with the data as JSON and in base64."""
    for number, change in enumerate(changes):
        attributes = {
            "specversion": "1.0",
            "type": f"com.example.{change.entity}.{change.op}",
            "source": "/crm",
            "subject": change.record_id,
            "id": change.event_id,
        }
        data = json.dumps(_told(change)).encode()
        if number % 2:
            headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
            yield data, [*headers, ("content-type", b"application/json")]
        else:
            yield json.dumps({**attributes, "data": _told(change)}).encode(), []


def _told(change: Change) -> dict[str, Any]:
    return {
        "object": change.entity,
        "what": change.op,
        "id": change.record_id,
        "revision": change.version,
        "at_us": change.occurred_at,
        "key": change.event_id,
        "set": {**change.fields, **dict.fromkeys(change.nulled)},
    }


def debezium_events(changes: Iterable[Change]) -> Iterator[Message]:
    """A PostgreSQL table for each entity, with REPLICA IDENTITY FULL, and a tombstone after each deletion."""
    tables: dict[Entity, dict[str, dict[str, Any]]] = {entity: {} for entity in ENTITIES}
    for change in changes:
        rows = tables[change.entity]
        before = rows.get(change.record_id)
        empty = {"id": change.record_id, **dict.fromkeys(FIELDS[change.entity])}
        after = {**(before or empty), **change.fields, **dict.fromkeys(change.nulled)}
        op = "d" if change.op == "delete" else "c" if before is None else "u"
        if op == "d":
            rows.pop(change.record_id, None)
        else:
            rows[change.record_id] = after
        source = {
            "connector": "postgresql",
            "schema": "public",
            "table": change.entity,
            "lsn": change.version,
            "ts_us": change.occurred_at,
        }
        body = {"before": before, "after": None if op == "d" else after, "source": source, "op": op}
        yield json.dumps(body).encode(), []
        if op == "d":
            yield None, []


WRITERS: dict[str, Callable[[Iterable[Change]], Iterator[Message]]] = {
    "cloudevents": cloud_events,
    "debezium": debezium_events,
    "webhook": webhook_events,
}


def mapping(kind: str) -> dict[str, Any]:
    """What a user would write in the mapping file for these events."""
    return {"events": [_ENTRIES[kind](entity) for entity in ENTITIES]}


def _told_entry(entity: Entity, match: dict[str, str]) -> dict[str, Any]:
    return {
        "match": match,
        "entity": entity,
        "id": "id",
        "op": {"column": "what"},
        "time": {"column": "at_us", "unit": "us"},
        "version": "revision",
        "event_id": "key",
        "fields": {name: f"set.{name}" for name in FIELDS[entity]},
    }


_ENTRIES: dict[str, Callable[[Entity], dict[str, Any]]] = {
    "cloudevents": lambda entity: _told_entry(entity, {"type": f"com.example.{entity}.*"}),
    "webhook": lambda entity: _told_entry(entity, {"object": entity}),
    "debezium": lambda entity: {
        "match": {"table": entity},
        "entity": entity,
        "id": "id",
        "fields": {name: name for name in FIELDS[entity]},
    },
}
