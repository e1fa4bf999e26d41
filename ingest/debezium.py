"""The `debezium` door: change events of a database's tables, mapped by file.

An event is read with its schema around it ({"schema", "payload"}) or without; a record without a value (the tombstone
after a deletion) is skipped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ingest.debezium_mongodb import document_of, id_of
from ingest.debezium_position import position_of
from ingest.debezium_types import Schema, columns_of, plain_row
from ingest.door import Received
from ingest.event_door import MappedReader, key_of
from ingest.event_paths import Event
from ingest.json_events import Piece, json_of, object_of, pieces_of
from ingest.values import Bad, show
from schemas.change import Change, Op

OPS: dict[str, Op] = {"c": "create", "u": "update", "d": "delete", "r": "snapshot"}


@dataclass(frozen=True)
class _Rows:
    """The rows of an event and what their columns are."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None
    before_columns: dict[str, Schema]
    after_columns: dict[str, Schema]


class DebeziumReader(MappedReader):
    """Change events to changes. The version is the position in the database's log."""

    kind = "debezium"

    def pieces(self, message: Received, what: str) -> list[Piece]:
        """The events of a message; nothing where it is a tombstone."""
        if message.body is None:
            return []
        return pieces_of(message, what)

    def change(self, piece: Piece, message: Received) -> Change | None:
        """The change of one event; none for a tombstone and for a logical message."""
        if piece.value is None:
            return None
        payload, schema = _unwrapped(object_of(piece.value))
        if payload is None:
            return None
        raw_op, source = payload.get("op"), payload.get("source")
        if raw_op == "m":
            return None
        if not isinstance(source, dict) or not isinstance(raw_op, str):
            raise Bad(
                "bad_event",
                "there is no `op` and `source`; send the events as Debezium writes them, without a transform that "
                "takes the envelope off (ExtractNewRecordState)",
            )
        about = _about(source, raw_op)
        if raw_op == "t":
            if self.mapper.program(Event(data={}, about=about)) is None:
                return None
            raise _truncated(about)
        if raw_op not in OPS:
            raise Bad("bad_event", f"op {show(raw_op)} is none of {', '.join(OPS)}, t, m")
        return self._change(payload, schema, about, _key(key_of(message), source))

    def _change(
        self, payload: dict[str, Any], schema: Any, about: dict[str, Any], key: dict[str, Any] | None
    ) -> Change | None:
        op, source = OPS[about["op"]], payload["source"]
        rows = _Rows(
            document_of(payload.get("before"), "before"),
            document_of(payload.get("after"), "after"),
            columns_of(schema, "before"),
            columns_of(schema, "after"),
        )
        row, columns = (rows.before, rows.before_columns) if op == "delete" else (rows.after, rows.after_columns)
        if row is None and op != "delete":
            raise Bad(
                "bad_event",
                "there is no row in `after`; have the connector send whole rows "
                "(MongoDB: capture.mode=change_streams_update_full)",
            )
        event = Event(data=row or {}, about=about, op=op, key=key, complete=op != "delete")
        program = self.mapper.program(event)
        if program is None:
            return None
        wanted = program.columns()
        position = position_of(source, payload.get("transaction"), snapshot=op == "snapshot")
        return program.run(
            replace(
                event,
                data=plain_row(row or {}, columns, wanted),
                before=_before(rows, wanted, {*(key or {}), *program.ids}) if op == "update" else None,
                occurred_at=_occurred_at(source, payload),
                version=None if position is None else position.version,
                sequence=0 if position is None else position.sequence,
            )
        )


def _before(rows: _Rows, wanted: Iterable[str], key: Collection[str]) -> dict[str, Any] | None:
    """The row as it was, where it was sent whole (REPLICA IDENTITY FULL); not where it is the key alone."""
    before = rows.before
    if not before or all(value is None or name in key for name, value in before.items()):
        return None
    try:
        return plain_row(before, rows.before_columns, wanted)
    except Bad:
        return None


def _unwrapped(body: dict[str, Any]) -> tuple[dict[str, Any] | None, Any]:
    """An event's payload and its schema, if it came with it; no payload where it is a tombstone with a schema."""
    if "payload" not in body or "op" in body:
        return body, None
    payload = body["payload"]
    return None if payload is None else object_of(payload), body.get("schema")


def _about(source: dict[str, Any], op: str) -> dict[str, Any]:
    """The envelope: the members of `source` under their names, `collection` under `table` too, and `op`."""
    about = {**source, "op": op}
    if "table" not in about and "collection" in about:
        about["table"] = about["collection"]
    return about


def _truncated(about: dict[str, Any]) -> Bad:
    table = show(about.get("table"))
    return Bad(
        "truncate",
        f"the table {table} was emptied (TRUNCATE) and the event does not say which records were in it; send their "
        "deletions, or stop the connector from sending truncations (skipped.operations=t) and delete the records "
        "another way",
    )


def _key(raw: str | None, source: dict[str, Any]) -> dict[str, Any] | None:
    """The columns of a record's key; none where it is not JSON. With its schema around it dates are plain too."""
    if raw is None:
        return None
    try:
        value = json_of(raw, "the key")
        columns: dict[str, Schema] = {}
        if isinstance(value, dict) and value.keys() == {"schema", "payload"}:
            columns, value = columns_of(value["schema"], ""), value["payload"]
        if not isinstance(value, dict):
            return None
        return id_of(value) if source.get("connector") == "mongodb" else plain_row(value, columns, columns)
    except Bad:
        return None


def _occurred_at(source: dict[str, Any], payload: dict[str, Any]) -> int | None:
    """When the change was made in the database, in microseconds; when it was captured where the source does not say."""
    for where in (source, payload):
        for name, per_us in (("ts_us", (1, 1)), ("ts_ms", (1_000, 1)), ("ts_ns", (1, 1_000))):
            value = where.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value * per_us[0] // per_us[1]
    return None
