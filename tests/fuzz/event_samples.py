"""Valid messages of each door for events, the contexts that they are read in, and which of them may be skipped."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ingest import Context
from ingest.door import Received
from ingest.hubspot_fields import CONVERTED, STANDARD
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from tests.fuzz.checks import CONFIGS, NOW, TENANT
from tests.fuzz.mutate import Mutator
from tests.property.test_event_doors import FIELDS, ROW, VALID
from tests.unit.hubspot_samples import association, event, generic, merge, prop
from tests.unit.salesforce_samples import SCHEMA, TIME_MS, binary, header, packed, put_schema

Kind = Literal["salesforce", "hubspot", "debezium", "cloudevents", "webhook"]
IGNORED = "ignored"


@dataclass(frozen=True)
class Samples:
    """What a door is fed with. A body may be made by chance, where it is not JSON all the way down."""

    bodies: Sequence[dict[str, Any] | list[Any] | Callable[[Mutator], Any]]
    mappings: Sequence[dict[str, Any] | None]
    skips: Callable[[Any, Received], bool]  # whether an event (as the standard library reads it) may be skipped
    headers: Sequence[dict[str, str]] = ({},)
    batches: Callable[[Received], bool] = lambda _message: True  # whether the elements of an array are events


@contextmanager
def contexts(kind: Kind) -> Iterator[Sequence[Context]]:
    """The contexts of a door: its mappings under each of the configurations."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        put_schema(home / "avro")
        put_schema(home / "avro", "5GiC-KFwBGmSyDn8mqrXgg", SCHEMA)
        source = {kind: {"kind": kind, "salesforce": {"avro_schemas": "avro"}}}
        configs = [Config.model_validate({**config.model_dump(), "sources": source}) for config in CONFIGS]
        yield [
            Context(
                TENANT,
                kind,
                config,
                None if mapping is None else Mapping.model_validate(mapping),
                ManualClock(NOW),
                home,
            )
            for mapping in SAMPLES[kind].mappings
            for config in configs
        ]


def _consumer_event(mutator: Mutator) -> dict[str, Any]:
    """An event of the Pub/Sub API whose Avro bytes may be damaged."""
    payload = binary(packed({"changedFields": ["0x1E"]}, StageName="Won", Amount=1000.25, CloseDate=TIME_MS))
    if mutator.often(0.7):
        payload = mutator.raw(payload)
    inner = {"schemaId": "5GiC-KFwBGmSyDn8mqrXgg", "payload": base64.b64encode(payload).decode()}
    return {"event": inner, "replayId": "AAAAAAAKXQ8AAA=="}


def _salesforce_skips(value: Any, _message: Received) -> bool:
    if not isinstance(value, dict):
        return False
    found = value.get("ChangeEventHeader") or (value.get("payload") or {}).get("ChangeEventHeader")
    return isinstance(found, dict) and found.get("entityName") == IGNORED


def _hubspot_skips(value: Any, _message: Received) -> bool:
    """Of an object to ignore, of a property that is not mapped, or of an association that is not a deal's company."""
    if not isinstance(value, dict):
        return False
    prefix, _, action = str(value.get("subscriptionType", value.get("eventType"))).partition(".")
    if prefix == "line_item" or (
        prefix == "object" and str(value.get("objectTypeId", value.get("fromObjectTypeId"))).strip() == "0-8"
    ):
        return True
    if action == "associationChange":
        ids = [_identifier(value.get(name)) for name in ("fromObjectTypeId", "toObjectTypeId")]
        ends = ids if all(ids) else str(value.get("associationType")).lower().split("_to_", 1)
        return value.get("isPrimaryAssociation") is False or {*ends} not in ({"0-3", "0-2"}, {"deal", "company"})
    name = value.get("propertyName")
    if action != "propertyChange":
        return False
    mapped = {field for known in STANDARD.values() for field in known.fields} | {"won_reason"}
    odd_stage = name == "lifecyclestage" and str(value.get("propertyValue")) not in CONVERTED
    return (
        odd_stage
        or name not in mapped
        or name not in STANDARD.get(_hubspot_object(prefix, value), STANDARD["deal"]).fields
    )


def _identifier(raw: Any) -> str:
    return str(raw).strip() if isinstance(raw, str) or type(raw) is int else ""


def _hubspot_object(prefix: str, value: dict[str, Any]) -> str:
    ids = {"0-1": "contact", "0-2": "company", "0-3": "deal", "0-7": "product"}
    return (
        ids.get(str(value.get("objectTypeId") or value.get("fromObjectTypeId")).strip(), prefix)
        if prefix == "object"
        else prefix
    )


def _debezium_skips(value: Any, message: Received) -> bool:
    """A tombstone, a logical message, a table to ignore, or a row that says to be skipped."""
    if message.body is None or value is None:
        return True
    if not isinstance(value, dict):
        return False
    payload = value if "payload" not in value or "op" in value else value["payload"]
    if not isinstance(payload, dict):
        return payload is None  # a tombstone with its schema around it
    rows = [
        row for row in (payload.get("source"), payload.get("after"), payload.get("before")) if isinstance(row, dict)
    ]
    tables = {str(row.get(name)).strip() for row in rows for name in ("table", "collection")}
    return (
        payload.get("op") == "m"
        or IGNORED in tables
        or any(_says_skip(payload.get(name)) for name in ("after", "before"))
    )


def _says_skip(row: Any) -> bool:
    if isinstance(row, str):
        row = json.loads(row) if "noop" in row else None
    return isinstance(row, dict) and str(row.get("do")).strip() == "noop"


def _cloudevents_skips(value: Any, message: Received) -> bool:
    types = {message.headers.get(f"{prefix}type", "").strip() for prefix in ("ce-", "ce_")}
    if isinstance(value, dict):
        types.add(str(value.get("type")).strip())
    return IGNORED in types or b"noop" in (message.body or b"") or "noop" in base64_of(value)


def base64_of(value: Any) -> str:
    """The text in an event's `data_base64`; empty where there is none."""
    try:
        return base64.b64decode(value["data_base64"]).decode("utf-8", "replace")
    except (TypeError, KeyError, ValueError):
        return ""


def _webhook_skips(value: Any, _message: Received) -> bool:
    return isinstance(value, dict) and (str(value.get("kind")).strip() == IGNORED or _says_skip(value))


def _is_batch(message: Received) -> bool:
    """Whether a message of CloudEvents is in a mode in which an array is a batch."""
    media = message.headers.get("content-type", "").partition(";")[0].strip().lower()
    binary_mode = any(f"{prefix}specversion" in message.headers for prefix in ("ce-", "ce_"))
    return media.startswith("application/cloudevents") or not binary_mode


ENTRIES = [
    {
        "match": {"kind": "lead"},
        "entity": "lead",
        "id": ["id", "part"],
        "time": {"column": "at", "unit": "ms"},
        "event_id": "uuid",
        "op": {"column": "do", "values": {"gone": "delete", "noop": "skip"}},
        "fields": FIELDS,
    },
    {"entity": "opportunity", "id": "id", "time": "at", "version": "v", "fields": FIELDS, "empty": "absent"},
]
#: A mapping that names no time and no version: they are the event's own.
PLAIN = [
    {
        "entity": "opportunity",
        "id": ["id"],
        "fields": {"stage": "stage", "amount": "terms.amount", "account": "items.0.id"},
    }
]
DEAL = {**ROW, "kind": "deal", "items": [{"id": "A"}], "do": "noop"}
ATTRIBUTES = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/crm",
    "ce-type": "deal",
    "ce-time": "2024-05-01T00:00:00Z",
}


def _events(path: str) -> list[dict[str, Any]]:
    """The mappings of a door whose events are mapped by file."""
    ignore = {"match": {path: IGNORED}, "ignore": True}
    return [
        {"events": [ignore, *ENTRIES], "aliases": {"stage": {"2": "Won"}}},
        {"events": [ignore, *PLAIN], "dates": ["%d/%m/%Y"]},
    ]


SAMPLES: dict[Kind, Samples] = {
    "salesforce": Samples(
        bodies=[
            {"ChangeEventHeader": header(changedFields=["StageName"]), "StageName": "Won"},
            {"schema": "s", "payload": {"ChangeEventHeader": header(changeType="CREATE", recordIds=["006A", "006B"]), "Name": "A",
             "StageName": "New", "Amount": 12.5, "CloseDate": "2024-05-31"}, "event": {"replayId": 13}},
            {"schema": "5GiC-KFwBGmSyDn8mqrXgg", "payload": packed({"changedFields": ["0x0C", "5-0x2"]}, StageName="Won", Amount=7.5)},
            packed({"changedFields": ["0x0C"], "nulledFields": ["0x08", "5-0x1"], "diffFields": ["0x40"]}, StageName="Won"),
            packed({"changedFields": ["0x1E"]}, Name="A", CloseDate=TIME_MS),
            {"ChangeEventHeader": header(changeType="GAP_UPDATE"), "LastModifiedDate": "2024-03-05T10:15:30.000Z"},
            {"ChangeEventHeader": header(changeType="GAP_OVERFLOW", recordIds=["000000000000000AAA"])},
            {"ChangeEventHeader": header(changeType="UNDELETE", sequenceNumber="3"), "Name": "B"},
            {"ChangeEventHeader": header(entityName="User", changedFields=["Name.LastName"]), "Name": {"LastName": "Bell"}},
            {"ChangeEventHeader": header(entityName="CurrencyType", changeType="CREATE"), "IsoCode": "EUR", "ConversionRate": 0.9},
            {"ChangeEventHeader": header(entityName=IGNORED), "Name": "C"},
            _consumer_event,
        ],
        mappings=[
            {"entities": {IGNORED: {"ignore": True}}},
            {
                "entities": {
                    IGNORED: {"ignore": True},
                    "Opportunity": {"fields": {"BillingAddress.City": "region", "Description": "notes", "Seen__c": "seen"}},
                    "User": {"fields": {"Name.LastName": "name"}},
                },
                "aliases": {"stage": {"Won": "Closed Won"}},
                "decimal_mark": ",",
            },
        ],
        skips=_salesforce_skips,
        batches=lambda _message: False,
    ),
    "hubspot": Samples(
        bodies=[
            event(),
            event("company.creation", objectId="7"),
            event("deal.deletion"),
            event("contact.restore"),
            event("contact.privacyDeletion", eventId=None),
            event("line_item.creation"),
            prop("amount", "1054.50"),
            prop("closedate", "1749900000123"),
            prop("hs_deal_stage_probability", "0.2"),
            prop("lifecyclestage", "opportunity", "contact"),
            prop("dealstage", "closedwon", attemptNumber=3),
            prop("hs_primary_associated_company", ""),
            generic(prop("dealname", "Acme")),
            generic(event("company.deletion")),
            merge(1, [2, 3], 4),
            merge(1, [1, 2], None),
            association("DEAL_TO_COMPANY", 1, 2, associationRemoved=False, isPrimaryAssociation=True),
            association("COMPANY_TO_DEAL", 2, 1, associationRemoved=True),
            association("DEAL_TO_CONTACT", 1, 2),
            {**association("DEAL_TO_COMPANY", 1, 2), "fromObjectTypeId": "0-3", "toObjectTypeId": "0-2"},
        ],
        mappings=[
            {"entities": {"line_item": {"ignore": True}}},
            {
                "entities": {"0-8": {"ignore": True}, "deal": {"fields": {"won_reason": "reason", "dealname": "seen"}}},
                "aliases": {"converted": {"mql": "true"}, "stage": {"closedwon": "Won"}},
                "thousands": ",",
            },
        ],
        skips=_hubspot_skips,
    ),
    "debezium": Samples(
        bodies=[
            *VALID["debezium"],
            {"payload": {"op": "m", "source": {"lsn": 1}, "message": {"prefix": "p", "content": "AA=="}}},
            {"op": "t", "source": {"table": "deals", "lsn": 5}},
            {"op": "c", "after": ROW, "source": {"table": IGNORED, "lsn": 5, "ts_ms": 5}},
            {"op": "c", "after": {**DEAL, "kind": "lead"}, "source": {"table": "deals", "lsn": 5, "ts_ms": 5}},
            {"op": "u", "before": {**DEAL, "do": 1}, "after": {**DEAL, "do": 2}, "source": {"ord": 3, "ts_ms": 5_000}},
        ],
        mappings=_events("table"),
        skips=_debezium_skips,
    ),
    "cloudevents": Samples(
        bodies=[
            *VALID["cloudevents"],
            {"specversion": "1.0", "type": IGNORED, "source": "/crm", "id": "3", "data": {}},
            {"specversion": "1.0", "type": "deal", "source": "/crm", "id": "4", "time": "2024-05-01T00:00:00Z", "data": DEAL},
            ROW,
            DEAL,
        ],
        mappings=_events("type"),
        skips=_cloudevents_skips,
        headers=[
            {},
            {"content-type": "application/cloudevents+json; charset=UTF-8"},
            {"content-type": "application/cloudevents-batch+json"},
            {**ATTRIBUTES, "content-type": "application/json"},
            {**ATTRIBUTES, "ce-subject": '"Acme \\"%20renewal"', "ce-time": "2024-05-01T00:00:00%2B02:00"},
            {name.replace("-", "_"): text for name, text in ATTRIBUTES.items()},
        ],
        batches=_is_batch,
    ),
    "webhook": Samples(
        bodies=[ROW, DEAL, {**ROW, "kind": IGNORED}, [ROW, {**DEAL, "kind": "lead"}], {**ROW, "at": 1_714_521_600_123}],
        mappings=_events("kind"),
        skips=_webhook_skips,
        headers=[{}, {"webhook-id": "msg_1", "subject": "s"}, {"webhook-id": "x" * 500, "row": "3"}],
    ),
}  # fmt: skip
