"""The ChangeEventHeader of Change Data Capture, checked, whichever way its lists of fields are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ingest.avro_schemas import AvroSchema
from ingest.values import Bad, Values, show
from schemas.change import Op

RECORDS_MAX = 1000
OPS: dict[str, Op] = {"CREATE": "create", "UPDATE": "update", "DELETE": "delete", "UNDELETE": "undelete"}
GAP = "GAP_"
OVERFLOW = "GAP_OVERFLOW"
LISTS = ("changedFields", "nulledFields", "diffFields")


@dataclass(frozen=True)
class Header:
    """What matters of the header. `gap`: Salesforce could not say what changed, only in which records."""

    object: str
    record_ids: tuple[str, ...]
    op: Op
    gap: bool
    version: int
    sequence: int
    occurred_at: int
    key: str
    changed: frozenset[str]
    parents: frozenset[str]  # the compound fields that those which changed are a part of, and they themselves
    nulled: frozenset[str]
    differing: frozenset[str]  # their values are differences to the earlier text

    def nulls(self, field: str) -> bool:
        """Whether a field was cleared, by itself or with the compound field that it is a part of."""
        return field in self.nulled or ("." in field and field.partition(".")[0] in self.nulled)

    def lists(self, field: str) -> bool:
        """Whether a field is among those that changed, or a part of it, or what it is a part of."""
        if "." not in field:
            return field in self.parents
        return field in self.changed or field.partition(".")[0] in self.changed


def read_header(raw: dict[str, Any], values: Values, schema: Callable[[], AvroSchema]) -> Header:
    """The header as JSON has it, checked; `Bad` with the part that is wrong.

    `schema` finds the event's Avro schema; it is asked only where bitmaps matter.
    """
    name, kind = str(raw.get("entityName")), str(raw.get("changeType"))
    if kind == OVERFLOW:
        raise Bad(
            "gap_overflow",
            f"too much changed at once in {name} for Salesforce to say what (GAP_OVERFLOW, commit "
            f"{show(raw.get('commitNumber'))}): all its records are to be fetched again. Planwatch does so where "
            "salesforce.instance_url of the source is set; else export them with the Bulk API and ingest the file",
        )
    ids = _record_ids(raw)
    gap = kind.startswith(GAP)
    op = OPS.get(kind.removeprefix(GAP))
    if op is None:
        raise Bad("bad_event", f"changeType {show(kind)} is none of {', '.join(OPS)}")
    version = whole(raw, "commitNumber")
    sequence = whole(raw, "sequenceNumber", default=0)
    if raw.get("commitTimestamp") is None:
        raise Bad("bad_event", "commitTimestamp of the event header is missing; send the event as Salesforce wrote it")
    changed, nulled, differing = (_names(raw, part) for part in LISTS)
    if op == "update" and any(_is_bitmap(name) for name in (*changed, *nulled, *differing)):
        packed = schema()
        changed, nulled, differing = packed.names(changed), packed.names(nulled), packed.names(differing)
    return Header(
        object=name,
        record_ids=ids,
        op=op,
        gap=gap,
        version=version,
        sequence=sequence,
        occurred_at=values.moment(raw["commitTimestamp"], "commitTimestamp"),
        key=str(raw.get("transactionKey") or version),
        changed=frozenset(changed),
        parents=frozenset([name.partition(".")[0] for name in changed]),
        nulled=frozenset(nulled),
        differing=frozenset(differing),
    )


def whole(raw: dict[str, Any], name: str, default: int | None = None) -> int:
    """A whole number of the header; `Bad` for anything else."""
    value = raw.get(name, default)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Bad("bad_event", f"{name} {show(value)} of the event header is not a whole number")
    return value


def _record_ids(raw: dict[str, Any]) -> tuple[str, ...]:
    ids = raw.get("recordIds")
    if not isinstance(ids, list) or not ids or not all(isinstance(i, str) and i for i in ids):
        raise Bad("bad_event", f"recordIds {show(ids)} of the event header is not a list of ids")
    if len(ids) > RECORDS_MAX:
        raise Bad("too_large", f"recordIds names {len(ids)} records; at most {RECORDS_MAX} belong in one event")
    return tuple(dict.fromkeys(ids))


def _names(raw: dict[str, Any], name: str) -> tuple[str, ...]:
    value = raw.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Bad("bad_event", f"{name} {show(value)} of the event header is not a list of field names")
    return tuple(value)


def _is_bitmap(name: str) -> bool:
    at, dash, bits = name.partition("-")
    return (bits if dash and at.isdigit() else name)[:2] in ("0x", "0X")
