"""The `field-history` door: one row per changed field (record, time, field, new value), in any order.

The shape of Salesforce's OpportunityFieldHistory and of Pipedrive's change logs, as CSV or as JSON lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

from ingest.csv_door import around_of, cells_of, header_of
from ingest.csv_lines import TableText, table_text
from ingest.csv_rows import divided_by, read_rows
from ingest.door import Context, Refused, check_time, make_change, refuse
from ingest.lines import Line, empty_file, json_object
from ingest.mapping import check_twice
from ingest.rows import content_event_id
from ingest.salesforce_fields import STANDARD
from ingest.values import Bad, Values, kind_of, show
from schemas.change import Change, Entity, Op, Scalar
from schemas.mapping import Mapping
from schemas.records import FIELDS

#: The record column's usual names, the surest first, with the entity that they speak of.
RECORD_COLUMNS: dict[str, Entity | None] = {
    "opportunityid": "opportunity",
    "leadid": "lead",
    "contractid": "contract",
    "accountid": "account",
    "deal_id": "opportunity",
    "object_id": None,
    "parentid": None,
    "record_id": None,
    "record": None,
    "id": None,
}
TIME_COLUMNS = ("createddate", "log_time", "timestamp", "time", "changed_at", "occurred_at")
FIELD_COLUMNS = ("field", "field_key", "field_name")
NEW_COLUMNS = ("newvalue", "new_value", "new", "value")

#: Field names beyond Salesforce's API names: its history tables' own, and Pipedrive's.
OTHER_NAMES: dict[str, dict[str, str]] = {
    "opportunity": {
        "owner": "owner",
        "account": "account",
        "title": "name",
        "value": "amount",
        "user_id": "owner",
        "org_id": "account",
        "stage_id": "stage",
        "expected_close_date": "close_date",
        "add_time": "created_date",
    }
}
#: Fields that are no field but say that the record itself began, ended or came back.
EVENTS: dict[str, Op] = {"created": "create", "deleted": "delete", "undeleted": "undelete"}
LOOKUPS = frozenset({"owner", "account"})
_SALESFORCE_ID = re.compile(r"(005|00G|001)[A-Za-z0-9]{12}([A-Za-z0-9]{3})?", re.ASCII)


class _Columns(NamedTuple):
    record: str
    time: str
    field: str
    new: str
    entity: Entity


class FieldHistoryDoor:
    """Reads field histories. Rows may come in any order: the time of a change is its version."""

    def read(self, origin: str, stream: BinaryIO, context: Context) -> Iterator[Change | Refused]:
        """One change per row, and a `Refused` for a row that cannot be taken."""
        reader = _Reader(context)
        text = table_text(stream, (context.mapping or Mapping()).encoding)
        first = next((line for line in text.lines if line.raw.strip()), None)
        if first is None:
            yield refuse(context, origin, 0, b"", empty_file())
            return
        text = text._replace(lines=chain([first], text.lines))
        if first.raw.lstrip().startswith(b"{"):
            yield from _read_json(reader, origin, text.lines, context)
        else:
            yield from _read_csv(reader, origin, text, context)


def _read_json(reader: _Reader, origin: str, lines: Iterator[Line], context: Context) -> Iterator[Change | Refused]:
    for line in lines:
        if not line.raw.strip():
            continue
        try:
            change = reader.change(json_object(line))
        except Bad as bad:
            yield refuse(context, origin, line.position, line.raw, bad)
        else:
            yield change


def _read_csv(reader: _Reader, origin: str, text: TableText, context: Context) -> Iterator[Change | Refused]:
    delimiter = (context.mapping or Mapping()).delimiter
    rows = read_rows(text, delimiter)
    header_row = next(rows)  # there is a first line
    try:
        header = header_of(header_row)
        columns = reader.columns(header)
        check_twice(columns[:4], header)
    except Bad as bad:
        said = divided_by(header_row, text, delimiter, reader.fits)
        yield refuse(context, origin, 0, header_row.raw, said or bad)
        return
    around = around_of(header_row, text)
    for row in rows:
        try:
            cells = cells_of(row, len(header))
            change = reader.change(dict(zip(header, cells, strict=True)), columns) if cells else None
        except Bad as bad:
            yield refuse(context, origin, row.position, row.raw, bad, around)
        else:
            if change is not None:
                yield change


class _Reader:
    """One stream's rows to changes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._mapping = context.mapping or Mapping()
        self._values = Values(context.config, self._mapping)
        self._known: dict[tuple[str, ...], _Columns] = {}
        self._names: dict[str, dict[str, str]] = {}

    def columns(self, header: list[str]) -> _Columns:
        """Which column is what: by the mapping, else by the usual names; `Bad` names the ones that are missing."""
        given = self._mapping.history.columns
        lower = {name.lower(): name for name in reversed(header)}
        found = {
            "record": given.record or _first(lower, RECORD_COLUMNS),
            "time": given.time or _first(lower, TIME_COLUMNS),
            "field": given.field or _first(lower, FIELD_COLUMNS),
            "new": given.new or _first(lower, NEW_COLUMNS),
        }
        missing = [part for part, name in found.items() if name not in header]
        if missing:
            raise Bad(
                "missing_column",
                f"no column for {', '.join(missing)} among {', '.join(header[:20])}; name them under "
                "history.columns in the mapping (record, time, field, new)",
            )
        record = str(found["record"])
        entity = self._mapping.history.entity or RECORD_COLUMNS.get(record.lower()) or "opportunity"
        return _Columns(record, str(found["time"]), str(found["field"]), str(found["new"]), entity)

    def fits(self, header: list[str]) -> bool:
        """Whether a header has every column."""
        try:
            self.columns(header)
        except Bad:
            return False
        return True

    def change(self, row: dict[str, Any], columns: _Columns | None = None) -> Change:
        """The change of a row."""
        if columns is None:
            shape = tuple(row)
            if shape not in self._known:
                if len(self._known) >= 100:
                    self._known.clear()  # lines of ever new shapes must not fill the memory
                self._known[shape] = self.columns(list(row))
            columns = self._known[shape]
        entity = columns.entity
        record_id = str(self._values.text(row[columns.record], columns.record)).strip()
        source_field = str(self._values.text(row[columns.field], columns.field)).strip()
        if not source_field:
            raise Bad("missing_value", f"{columns.field} is empty; every row names the field that changed")
        raw_time = row[columns.time]
        moment = self._values.moment(raw_time, columns.time)
        check_time(self._context, moment, f"{columns.time} {show(raw_time)}")
        new = row[columns.new]
        new = new.strip() if isinstance(new, str) else new
        op, fields, nulled, sequence = self._content(entity, source_field, new, moment)
        # The row as written stands in the id, so that rows of fields that are not mapped stay apart too.
        written = None if new is None else self._values.text(new, columns.new)
        return make_change(
            self._context,
            entity=entity,
            record_id=record_id,
            op=op,
            version=moment,
            sequence=sequence,
            occurred_at=moment,
            event_id=content_event_id(entity, record_id, "history", [moment, source_field, written or ""]),
            fields=fields,
            nulled=nulled,
        )

    def _content(
        self, entity: Entity, source_field: str, new: Any, moment: int
    ) -> tuple[Op, dict[str, Scalar], tuple[str, ...], int]:
        """What a row says: op, fields, nulled, and its rank among rows of the same time."""
        event = EVENTS.get(source_field.lower())
        if event is not None:
            fields: dict[str, Scalar] = {}
            if event == "create" and "created_date" in FIELDS[entity]:
                fields["created_date"] = self._values.day_of(moment, "the creation's time")
            return event, fields, (), 0
        ours = self._names_of(entity).get(source_field.lower())
        if ours is None:
            return "update", {}, (), 0  # a field that nothing needs: the change counts, and alters nothing
        new = self._mapping.aliases.get(ours, {}).get(new, new) if isinstance(new, str) else new
        if new is None or new == "":
            return "update", {}, (ours,), 0
        value = self._values.scalar(kind_of(self._context.config, entity, ours), new, source_field)
        # Salesforce logs a lookup twice at one time, by name and by id; the id is what other records refer to.
        by_id = ours in LOOKUPS and isinstance(value, str) and _SALESFORCE_ID.fullmatch(value)
        return "update", {ours: value}, (), 1 if by_id else 0

    def _names_of(self, entity: Entity) -> dict[str, str]:
        """The source's field names in lower case, and ours."""
        if entity not in self._names:
            names = {field: field for field in FIELDS[entity]}
            names.update(OTHER_NAMES.get(entity, {}))
            for item in STANDARD.values():
                if item.entity == entity:
                    names.update({theirs.lower(): ours for theirs, ours in item.fields.items()})
            names.update({theirs.lower(): ours for theirs, ours in self._mapping.history.fields.items()})
            self._names[entity] = names
        return self._names[entity]


def _first(lower: dict[str, str], candidates: Any) -> str | None:
    return next((lower[name] for name in candidates if name in lower), None)
