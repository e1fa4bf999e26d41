"""Change events as Salesforce's documentation shows them, and what a door needs to take them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping as Map
from pathlib import Path
from typing import Any

import fastavro

from ingest import Context
from ingest.door import Received, Refused
from ingest.salesforce import SalesforceDoor
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping

NOW = 1_750_000_000_000_000
TIME_MS = 1_709_633_730_123

#: An event's schema, cut down: field 0 is the header, 1 Name, 2 StageName, 3 Amount, 4 CloseDate, 5 BillingAddress (with
#: 0 Street, 1 City, 2 Country), 6 Description.
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "OpportunityChangeEvent",
    "namespace": "com.sforce.eventbus",
    "fields": [
        {
            "name": "ChangeEventHeader",
            "type": {
                "type": "record",
                "name": "ChangeEventHeader",
                "fields": [
                    {"name": "entityName", "type": "string"},
                    {"name": "recordIds", "type": {"type": "array", "items": "string"}},
                    {"name": "changeType", "type": {"type": "enum", "name": "ChangeType", "symbols": [
                        "CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE",
                        "GAP_OVERFLOW", "SNAPSHOT"]}},
                    {"name": "changeOrigin", "type": "string"},
                    {"name": "transactionKey", "type": "string"},
                    {"name": "sequenceNumber", "type": "int"},
                    {"name": "commitTimestamp", "type": "long"},
                    {"name": "commitNumber", "type": "long"},
                    {"name": "commitUser", "type": "string"},
                    {"name": "nulledFields", "type": {"type": "array", "items": "string"}},
                    {"name": "diffFields", "type": {"type": "array", "items": "string"}},
                    {"name": "changedFields", "type": {"type": "array", "items": "string"}},
                ],
            },
        },
        {"name": "Name", "type": ["null", "string"], "default": None},
        {"name": "StageName", "type": ["null", "string"], "default": None},
        {"name": "Amount", "type": ["null", "double"], "default": None},
        {"name": "CloseDate", "type": ["null", "long"], "default": None},
        {
            "name": "BillingAddress",
            "type": ["null", {"type": "record", "name": "Address", "fields": [
                {"name": "Street", "type": ["null", "string"], "default": None},
                {"name": "City", "type": ["null", "string"], "default": None},
                {"name": "Country", "type": ["null", "string"], "default": None},
            ]}],
            "default": None,
        },
        {"name": "Description", "type": ["null", "string"], "default": None},
    ],
}  # fmt: skip
FIELDS = {field["name"]: None for field in SCHEMA["fields"][1:]}


def header(**given: Any) -> dict[str, Any]:
    """A header with every field that the schema has."""
    return {
        "entityName": "Opportunity",
        "recordIds": ["006A"],
        "changeType": "UPDATE",
        "changeOrigin": "com/salesforce/api/soap/62.0;client=Test",
        "transactionKey": "0002",
        "sequenceNumber": 2,
        "commitTimestamp": TIME_MS,
        "commitNumber": 10_585_193_272_713,
        "commitUser": "005A",
        "nulledFields": [],
        "diffFields": [],
        "changedFields": [],
        **given,
    }


def packed(given: dict[str, Any] | None = None, /, **fields: Any) -> dict[str, Any]:
    """An event as decoded from Avro: every field is there, unchanged ones are null."""
    return {"ChangeEventHeader": header(**(given or {})), **FIELDS, **fields}


def binary(event: Map[str, Any]) -> bytes:
    """The event in Avro's binary form."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(SCHEMA), dict(event))
    return stream.getvalue()


def put_schema(folder: Path, name: str = "OpportunityChangeEvent", schema: object = SCHEMA) -> Path:
    """The schema where a source finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.avsc"
    path.write_text(json.dumps(schema), encoding="utf-8")
    return path


def context(home: Path = Path(), mapping: Map[str, Any] | None = None, **config: Any) -> Context:
    """A source `sf` whose Avro schemas are in the folder `avro`."""
    given = {"sources": {"sf": {"kind": "salesforce", "salesforce": {"avro_schemas": "avro"}}}, **config}
    found = None if mapping is None else Mapping.model_validate(mapping)
    return Context("acme", "sf", Config.model_validate(given), found, ManualClock(NOW), home)


def take(ctx: Context, body: Map[str, Any]) -> list[Change | Refused]:
    """What an event gives, sent as a message of its own."""
    return list(SalesforceDoor().reader(ctx).take(Received(json.dumps(body).encode()), "crm[0]", 1))


def one(ctx: Context, body: Map[str, Any]) -> Change:
    """The change that an event gives."""
    (change,) = take(ctx, body)
    assert isinstance(change, Change), change
    return change


def refusal(ctx: Context, body: Map[str, Any]) -> Refused:
    """The refusal that an event gives."""
    (refused,) = take(ctx, body)
    assert isinstance(refused, Refused), refused
    return refused
