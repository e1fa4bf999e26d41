"""The story as Debezium tells it of a PostgreSQL database: with the schema around each event and without."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.doors import story
from tests.doors.story import ROWS, Step
from tests.doors.wire import Message, Messages, Wire

IDS = {"ada": 7, "northwind": 31, "rack": 101, "cloud": 102, "support": 103, "bad": 104}
TABLES = {"rep": "reps", "account": "accounts", "deal": "deals"}
MAPPING = """events:
  - match: {schema: crm, table: reps}
    entity: rep
    id: id
    fields: {name: name}
  - match: {schema: crm, table: accounts}
    entity: account
    id: id
    fields: {name: name, segment: segment}
  - match: {schema: crm, table: deals}
    entity: opportunity
    id: id
    fields:
      name: name
      stage: stage
      amount: amount
      owner: owner_id
      account: account_id
      close_date: {column: closes, unit: days}
      created_date: {column: created_at, unit: us}
"""
_TEXT = {"type": "string", "optional": True}
_WHOLE = {"type": "int32", "optional": True}
_DATE = {"type": "int32", "optional": True, "name": "io.debezium.time.Date", "version": 1}
_TIME = {"type": "int64", "optional": True, "name": "io.debezium.time.MicroTimestamp", "version": 1}
_DECIMAL = {
    "type": "bytes",
    "optional": True,
    "name": "org.apache.kafka.connect.data.Decimal",
    "version": 1,
    "parameters": {"scale": "2", "connect.decimal.precision": "12"},
}
COLUMNS: dict[str, dict[str, dict[str, Any]]] = {
    "rep": {"id": _WHOLE, "name": _TEXT},
    "account": {"id": _WHOLE, "name": _TEXT, "segment": _TEXT},
    "deal": {
        "id": _WHOLE,
        "name": _TEXT,
        "stage": _TEXT,
        "amount": _DECIMAL,
        "owner_id": _WHOLE,
        "account_id": _WHOLE,
        "closes": _DATE,
        "created_at": _TIME,
    },
}


def _amount(text: str, precise: bool) -> str:
    """decimal.handling.mode: `precise` is the unscaled number in base64 of its bytes, else `string`."""
    if text == story.BAD.fields["amount"] or not precise:
        return text
    return base64.b64encode(int(Decimal(text) * 100).to_bytes(4, "big", signed=True)).decode()


def table_row(step: Step, row: Mapping[str, str] | None, precise: bool) -> dict[str, Any] | None:
    """A row of a table as its columns are written."""
    if row is None:
        return None
    found: dict[str, Any] = {"id": IDS[step.record]}
    for name, value in row.items():
        if name in ("owner", "account"):
            found[f"{name}_id"] = IDS[value]
        elif name == "closes":
            found["closes"] = (dt.date.fromisoformat(value) - dt.date(1970, 1, 1)).days
        else:
            found[name] = _amount(value, precise) if name == "amount" else value
    if step.kind == "deal":
        created = next(s for s in (*story.FIRST, story.BAD) if s.record == step.record)
        found["created_at"] = created.ms * 1000
    return found


def _source(step: Step) -> dict[str, Any]:
    lsn = 24_023_128 + step.ms // 60_000 * 8
    return {
        "version": "2.7.0.Final",
        "connector": "postgresql",
        "name": "crm",
        "ts_ms": step.ms,
        "ts_us": step.ms * 1000,
        "ts_ns": step.ms * 1_000_000,
        "snapshot": "false",
        "db": "crm",
        "sequence": json.dumps([str(lsn - 8), str(lsn)]),
        "schema": "crm",
        "table": TABLES[step.kind],
        "txId": 555 + step.ms // 60_000 % 1000,
        "lsn": lsn,
        "xmin": None,
    }


def change(step: Step, full: bool) -> dict[str, Any]:
    """The envelope of a change. `full`: REPLICA IDENTITY FULL and precise decimals; else only the key is told of a row
    as it was. A row that comes back is inserted again."""
    before = table_row(step, ROWS[step].before, full)
    after = table_row(step, ROWS[step].after, full)
    op = "d" if after is None else "c" if before is None else "u"
    if not full and before is not None:
        before = {**dict.fromkeys(COLUMNS[step.kind]), "id": IDS[step.record]} if op == "d" else None
    return {"before": before, "after": after, "source": _source(step), "transaction": None, "op": op, "ts_ms": step.ms}


def _struct(columns: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    return {"type": "struct", "fields": [{**kind, "field": name} for name, kind in columns.items()], **more}


def _schema(step: Step) -> dict[str, Any]:
    table = f"crm.crm.{TABLES[step.kind]}"
    row = _struct(COLUMNS[step.kind], optional=True, name=f"{table}.Value")
    members = {"before": row, "after": row, "op": {"type": "string", "optional": False}}
    return _struct(members, optional=False, name=f"{table}.Envelope", version=2)


def _event(step: Step, full: bool) -> Message:
    key: dict[str, Any] = {"id": IDS[step.record]}
    value = change(step, full)
    if full:
        key = {"schema": _struct({"id": _WHOLE}, optional=False, name="crm.Key"), "payload": key}
        value = {"schema": _schema(step), "payload": value}
    return Message(json.dumps(value).encode(), json.dumps(key).encode())


def _messages(full: bool, tombstones: bool) -> Messages:
    def told(steps: Sequence[Step]) -> list[Message]:
        found: list[Message] = []
        for step in steps:
            found.append(_event(step, full))
            if tombstones and step.what == "deleted":
                found.append(Message(None, found[-1].key))
        return found

    return told(story.FIRST), told(story.THEN)


def _wire(full: bool) -> Wire:
    return Wire(
        "debezium",
        str(IDS["ada"]),
        (11, 1, 1),
        settings={"mapping": "mapping.yaml"},
        beside={"mapping.yaml": MAPPING},
        messages=_messages(full, tombstones=False),
        records=_messages(full, tombstones=True),
    )


def with_schema() -> Wire:
    """Events with their schema around them; a tombstone in the topic after the deletion."""
    return _wire(full=True)


def without_schema() -> Wire:
    """The same with value.converter.schemas.enable=false, the default replica identity and decimals as text."""
    return _wire(full=False)
