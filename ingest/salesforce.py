"""The `salesforce` door: Change Data Capture events as JSON lines, or one to a record of a topic.

Both shapes are read: the event's body alone ({"ChangeEventHeader": ..., "StageName": ...}) and the
whole message ({"schema": ..., "payload": {...}, "event": {"replayId": ...}}).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, BinaryIO, get_args

from ingest.door import Context, Received, Refused, check_time, make_change, refuse
from ingest.lines import empty_file, json_object, read_lines, record_line
from ingest.salesforce_fields import INVERTED, STANDARD
from ingest.values import Bad, Values, kind_of, show
from schemas.base import PlanwatchError
from schemas.change import Change, Entity, Op, Scalar
from schemas.mapping import Mapping

RECORDS_MAX = 1000
OPS: dict[str, Op] = {"CREATE": "create", "UPDATE": "update", "DELETE": "delete", "UNDELETE": "undelete"}
ENTITIES = get_args(Entity)


@dataclass(frozen=True)
class _Object:
    """How one Salesforce object is read."""

    entity: Entity
    fields: dict[str, str]
    ignore: bool


@dataclass(frozen=True)
class _Header:
    """The parts of a ChangeEventHeader that matter, checked."""

    object: str
    record_ids: tuple[str, ...]
    op: Op
    version: int
    sequence: int
    occurred_at: int
    key: str
    changed: tuple[str, ...]
    nulled: frozenset[str]


class SalesforceDoor:
    """Reads Change Data Capture events, one JSON object per line or record; standard fields need no mapping file."""

    def read(self, origin: str, stream: BinaryIO, context: Context) -> Iterator[Change | Refused]:
        """The changes of a stream, one per record id of an event, and a `Refused` per line that is none."""
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

    def reader(self, context: Context) -> SalesforceReader:
        """What takes the records of a topic, one event each."""
        return SalesforceReader(context)


class SalesforceReader:
    """Events to changes, one at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._mapping = context.mapping or Mapping()
        self._values = Values(context.config, self._mapping)
        self._objects = object_maps(self._mapping)

    def take(self, message: Received, origin: str, position: int) -> Sequence[Change | Refused]:
        """The changes of one event, as `ingest.door.RecordReader` says."""
        try:
            return self.changes(json_object(record_line(message.body, position), "record"))
        except Bad as bad:
            return [refuse(self._context, origin, position, message.body or b"", bad, message.headers)]

    def changes(self, body: dict[str, Any]) -> list[Change]:
        """One change per record of the event; none when the mapping ignores its object. `Bad` for what is no event."""
        if "ChangeEventHeader" not in body and isinstance(body.get("payload"), dict):
            body = body["payload"]
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
        header = _header(raw, name, self._values)
        check_time(self._context, header.occurred_at, f"commitTimestamp of {name} {header.record_ids[0]}")
        fields, nulled = self._fields(header, known, body)
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

    def _fields(
        self, header: _Header, known: _Object, body: dict[str, Any]
    ) -> tuple[dict[str, Scalar], tuple[str, ...]]:
        fields: dict[str, Scalar] = {}
        cleared: set[str] = set()
        if header.op == "delete":
            return fields, ()
        # The Pub/Sub API packs the list into bitmaps ("0x0400"), readable only with the schema: as if absent.
        packed = any(name.startswith("0x") for name in header.changed)
        listed = {name.split(".")[0] for name in header.changed} if header.op == "update" and not packed else set()
        for name, ours in known.fields.items():
            if listed and name not in listed and name not in header.nulled:
                continue
            value = body.get(name)
            if name in header.nulled or (value is None and name in listed):
                cleared.add(ours)
            elif value is None:
                if header.op == "update" and not packed and name in body:
                    cleared.add(ours)
            else:
                scalar = self._scalar(header, known.entity, name, ours, value)
                if scalar is not None:
                    fields[ours] = scalar
        return fields, tuple(sorted(cleared - fields.keys()))

    def _scalar(self, header: _Header, entity: Entity, name: str, ours: str, value: Any) -> Scalar | None:
        what = f"{header.object}.{name}"
        if isinstance(value, dict):
            value = _person_name(value, partial=header.op == "update")
        if value is None or value == "":
            return None
        if (header.object, name) in INVERTED:
            value = _inverse(self._values.number(value, what), what)
        text = self._mapping.aliases.get(ours, {}).get(value, value) if isinstance(value, str) else value
        return self._values.scalar(kind_of(self._context.config, entity, ours), text, what)


def object_maps(mapping: Mapping) -> dict[str, _Object]:
    """The standard objects, with what the mapping adds; `PlanwatchError` for an object without entity."""
    objects = {name: _Object(item.entity, dict(item.fields), ignore=False) for name, item in STANDARD.items()}
    for name, custom in mapping.entities.items():
        standard = objects.get(name)
        entity = custom.entity or (standard.entity if standard else None)
        if entity is None and not custom.ignore:
            raise PlanwatchError(
                f"the mapping's entities.{name}: say which `entity` it is; one of {', '.join(ENTITIES)}"
            )
        # A field that the mapping names takes the place of the standard one for the same thing.
        replaced = set(custom.fields.values())
        kept = {k: v for k, v in (standard.fields if standard else {}).items() if v not in replaced}
        objects[name] = _Object(entity or "opportunity", {**kept, **custom.fields}, ignore=custom.ignore)
    return objects


def _header(raw: dict[str, Any], name: str, values: Values) -> _Header:
    kind = str(raw.get("changeType"))
    ids = raw.get("recordIds")
    if not isinstance(ids, list) or not ids or not all(isinstance(i, str) and i for i in ids):
        raise Bad("bad_event", f"recordIds {show(ids)} of the event header is not a list of ids")
    if len(ids) > RECORDS_MAX:
        raise Bad("too_large", f"recordIds names {len(ids)} records; at most {RECORDS_MAX} belong in one event")
    if kind.startswith("GAP_"):
        raise Bad(
            "gap",
            f"{kind} for {name} {', '.join(ids[:5])}: Salesforce could not say what changed; "
            "export these records and ingest the file",
        )
    if kind not in OPS:
        raise Bad("bad_event", f"changeType {show(kind)} is none of {', '.join(OPS)}")
    version = _whole(raw, "commitNumber")
    sequence = _whole(raw, "sequenceNumber", default=0)
    if raw.get("commitTimestamp") is None:
        raise Bad("bad_event", "commitTimestamp of the event header is missing; send the event as Salesforce wrote it")
    return _Header(
        object=name,
        record_ids=tuple(dict.fromkeys(ids)),
        op=OPS[kind],
        version=version,
        sequence=sequence,
        occurred_at=values.moment(raw["commitTimestamp"], "commitTimestamp"),
        key=str(raw.get("transactionKey") or version),
        changed=_names(raw, "changedFields"),
        nulled=frozenset(_names(raw, "nulledFields")),
    )


def _whole(raw: dict[str, Any], name: str, default: int | None = None) -> int:
    value = raw.get(name, default)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Bad("bad_event", f"{name} {show(value)} of the event header is not a whole number")
    return value


def _names(raw: dict[str, Any], name: str) -> tuple[str, ...]:
    value = raw.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Bad("bad_event", f"{name} {show(value)} of the event header is not a list of field names")
    return tuple(value)


def _person_name(value: dict[str, Any], *, partial: bool) -> str | None:
    """The name in a compound field. An update brings only the parts that changed: without both, no name."""
    first, last = value.get("FirstName"), value.get("LastName")
    if partial and not (first and last):
        return None
    return " ".join(str(part) for part in (first, last) if part) or None


def _inverse(rate: Decimal, what: str) -> Decimal:
    if not rate > 0:
        raise Bad("bad_number", f"{what} {show(str(rate))} is not above zero; correct it at the source")
    return Decimal(1) / rate
