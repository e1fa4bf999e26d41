"""Changes written as HubSpot's webhook events: the hubspot door the other way round.

HubSpot has no event with several properties, so a change becomes as many events as it has fields, and it knows
milliseconds only. Custom objects and properties carry what HubSpot has no standard one for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from ingest.hubspot_fields import LIFECYCLE, SHARES, STANDARD, TYPE_IDS
from schemas.change import Change, Entity, Scalar
from schemas.mapping import EntityMapping, Mapping
from schemas.records import FIELDS

#: What HubSpot has standard objects for. Others of the simulated company go by custom ones, or another way: an event
#: with one property cannot say from when on a rep is in a team.
OBJECTS: tuple[Entity, ...] = ("opportunity", "account", "lead", "product")
#: The simulated company's sales process.
STAGES = [
    {"name": "Prospecting", "probability": 10},
    {"name": "Qualified", "probability": 25},
    {"name": "Proposal", "probability": 50},
    {"name": "Negotiation", "probability": 75},
    {"name": "Won", "kind": "won"},
    {"name": "Lost", "kind": "lost"},
]

_TYPE_OF = {name: type_id for type_id, name in TYPE_IDS.items()}
_STANDARD = {item.entity: name for name, item in STANDARD.items()}
_LIFE = {True: "customer", False: "lead"}
_ACTIONS = {"delete": "deletion", "undelete": "restore"}


def object_of(entity: Entity) -> str:
    """The standard object, else a custom one: HubSpot calls it by its type id."""
    return _STANDARD.get(entity) or f"2-{zlib.crc32(entity.encode())}"


def writer_mapping() -> Mapping:
    """The mapping with which the door reads what the writer writes."""
    entities = {}
    for entity, fields in FIELDS.items():
        name = object_of(entity)  # type: ignore[arg-type]
        known = set(STANDARD[name].fields.values()) if name in STANDARD else set()
        extra = {f"pw_{field}": field for field in fields if field not in known}
        entities[name] = EntityMapping(entity=entity, fields=extra)  # type: ignore[arg-type]
    return Mapping(entities=entities)


def events(change: Change, *, generic: bool = False) -> Iterator[dict[str, Any]]:
    """The events of a change. `generic`: as `object.propertyChange` with a type id, and not `deal.propertyChange`."""
    name = object_of(change.entity)
    if change.op in _ACTIONS:
        yield _event(change, name, _ACTIONS[change.op], generic)
        if change.op == "delete":
            return
    elif change.op in ("create", "snapshot"):
        yield _event(change, name, "creation", generic)
    properties = {ours: theirs for theirs, ours in STANDARD[name].fields.items()} if name in STANDARD else {}
    for ours, value in {**change.fields, **dict.fromkeys(change.nulled, "")}.items():
        theirs = properties.get(ours, f"pw_{ours}")
        said = {"propertyName": theirs, "propertyValue": _written(name, theirs, value)}
        yield _event(change, name, "propertyChange", generic, said)


def bodies(changes: Iterable[Change], size: int = 100, *, generic: bool = False) -> Iterator[bytes]:
    """Bodies of requests: arrays of at most so many events."""
    batch: list[dict[str, Any]] = []
    for change in changes:
        for event in events(change, generic=generic):
            batch.append(event)
            if len(batch) == size:
                yield json.dumps(batch).encode()
                batch = []
    if batch:
        yield json.dumps(batch).encode()


def signed_headers(secret: bytes, uri: str, body: bytes, now_ms: int) -> dict[str, str]:
    """The headers of a POST as HubSpot signs it today."""
    signed = f"POST{uri}".encode() + body + str(now_ms).encode()
    signature = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "X-HubSpot-Signature-v3": signature,
        "X-HubSpot-Request-Timestamp": str(now_ms),
    }


def _event(change: Change, name: str, action: str, generic: bool, said: dict[str, Any] | None = None) -> dict[str, Any]:
    subscription = f"{name}.{action}:{(said or {}).get('propertyName', '')}"
    event: dict[str, Any] = {
        "eventId": zlib.crc32(change.event_id.encode()),
        "subscriptionId": zlib.crc32(subscription.encode()),
        "portalId": 62515,
        "appId": 54321,
        "occurredAt": change.occurred_at // 1000,
        "subscriptionType": f"{name}.{action}",
        "attemptNumber": 0,
        "objectId": change.record_id,
        "changeSource": "CRM",
        **(said or {}),
    }
    if generic or name not in STANDARD:
        event |= {"subscriptionType": f"object.{action}", "objectTypeId": _TYPE_OF.get(name, name)}
    return event


def _written(name: str, theirs: str, value: Scalar) -> str:
    if (name, theirs) == LIFECYCLE and isinstance(value, bool):
        return _LIFE[value]
    if (name, theirs) in SHARES and value != "":
        return str(Decimal(value) / 100)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
