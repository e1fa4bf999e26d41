"""Whole records of Salesforce: rows of Bulk API 2.0 files, and records as its REST API gives them, become snapshots.

A row has no commit number, which orders change events. It takes that of the last commit known until the record was last
modified, and comes after everything in that commit: what was committed later wins over the row, and the row over what
came before.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Map
from pathlib import PurePath
from typing import Any, BinaryIO

from ingest.csv_door import around_of, cells_of, header_of
from ingest.csv_lines import table_text
from ingest.csv_rows import read_rows
from ingest.door import Context, Refused, check_time, make_change, refuse
from ingest.drift import nearest
from ingest.lines import text_of
from ingest.objects import ObjectMap
from ingest.rows import content_event_id
from ingest.salesforce_commits import CommitTimes
from ingest.salesforce_fields import STANDARD
from ingest.salesforce_objects import ObjectValues, salesforce_objects
from ingest.values import Bad, show
from schemas.change import SEQUENCE_MAX, Change, Scalar
from schemas.mapping import Mapping
from schemas.records import INCOMPLETE

ID = "Id"
#: The origin of a refused record that was fetched and not in a file: this and the name of its object.
FETCHED = "Salesforce "
MODIFIED = ("SystemModstamp", "LastModifiedDate")
_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_.]*", re.ASCII)
_ADDRESS = "Address"


def is_table(head: bytes, mapping: Mapping) -> bool:
    """Whether the beginning of a file is the header row of a table and not a JSON event: two names or more."""
    lines, encoding, _ = table_text(io.BytesIO(head), mapping.encoding)
    first = next((line for line in lines if line.raw.strip()), None)
    try:
        text = "" if first is None else text_of(first, encoding).strip()
        names = next(csv.reader([text], delimiter=mapping.delimiter), [])
    except (Bad, csv.Error):
        return False
    return len(names) > 1 and all(_COLUMN.fullmatch(name.strip()) for name in names)


def read_table(
    origin: str, stream: BinaryIO, context: Context, object_name: str | None, commits: Callable[[], CommitTimes]
) -> Iterator[Change | Refused]:
    """A snapshot for each row of a Bulk API file, and a `Refused` for each row that cannot be taken."""
    mapping = context.mapping or Mapping()
    text = table_text(stream, mapping.encoding)
    rows = read_rows(text, mapping.delimiter)
    head = next(rows)
    try:
        header = header_of(head)
        reader = RowReader(context)
        name = reader.object_of(object_name, PurePath(origin).name)
        if reader.ignores(name):
            return
        _check_header(header)
    except Bad as bad:
        yield refuse(context, origin, 0, head.raw, bad)
        return
    reader.note_missing(name, header)
    known = commits()
    around = around_of(head, text)
    for row in rows:
        try:
            cells = cells_of(row, len(header))
            if cells:
                yield reader.change(name, dict(zip(header, cells, strict=True)), known.until)
        except Bad as bad:
            yield refuse(context, origin, row.position, row.raw, bad, around)


class RowReader:
    """Records of one source, as a whole, to snapshots."""

    def __init__(self, context: Context) -> None:
        self._context = context
        mapping = context.mapping or Mapping()
        self.objects = salesforce_objects(mapping)
        self._values = ObjectValues(context, mapping)

    def object_of(self, given: str | None, file_name: str) -> str:
        """The object whose records a file holds: the one that is given, else the one that its name begins with."""
        if given is None:
            words = re.match(r"\w*", file_name)
            stem = words.group() if words else ""
            # "Team__c_2024.csv" is of Team__c, whatever else begins so.
            fits = [name for name in self.objects if stem == name or stem.startswith(f"{name}_")]
            given = max(fits, key=len, default=None)
        if given is None or given not in self.objects:
            raise Bad(
                "unknown_entity",
                f"{show(given or file_name)} names no object that is known; call the file OBJECT.csv or give --object, "
                "and map an object of your own under `entities` in the mapping",
            )
        return given

    def ignores(self, name: str) -> bool:
        """Whether the mapping skips an object."""
        return self.objects[name].ignore

    def columns(self, name: str) -> tuple[str, ...]:
        """What to ask of Salesforce for an object: its mapped fields under the names that whole records have."""
        mapped = [column for field in self.objects[name].fields for column in _columns(field)]
        return tuple(dict.fromkeys([ID, *MODIFIED, *mapped]))

    def note_missing(self, name: str, header: list[str]) -> None:
        """Note the mapped fields that the file has not."""
        known = self.objects[name]
        mapped = {column for field in known.fields for column in _columns(field)}
        for field, ours in known.fields.items():
            if not any(column in header for column in _columns(field)) and not _is_optional(name, field):
                near = nearest(field, (column for column in header if column not in mapped))
                self._context.drift.note("missing_field", known.entity, f"{name}.{field}", ours, near)

    def change(
        self, name: str, row: Map[str, Any], version: int | Callable[[int], int], *, whole: bool = False
    ) -> Change:
        """The snapshot of a record of an object; `Bad` for what cannot be taken. An empty field is cleared.

        `version` is that of the record, or what gives it from the time at which the record was last modified. `whole`:
        a mapped field that the row has not, the organisation has not either.
        """
        known = self.objects[name]
        record_id = str(row.get(ID) or "").strip()
        moment = self._moment(name, record_id, row)
        fields, nulled = self._fields(name, known, row, whole=whole)
        deleted = str(row.get("IsDeleted") or "").lower() == "true"
        return make_change(
            self._context,
            entity=known.entity,
            record_id=record_id,
            op="delete" if deleted else "snapshot",
            version=version if isinstance(version, int) else version(moment),
            sequence=SEQUENCE_MAX,
            occurred_at=moment,
            event_id=content_event_id(known.entity, record_id, "row", [fields, nulled, moment]),
            fields={} if deleted else fields,
            nulled=() if deleted else nulled,
        )

    def _moment(self, name: str, record_id: str, row: Map[str, Any]) -> int:
        column = next((column for column in MODIFIED if row.get(column)), None)
        if column is None:
            raise Bad("missing_date", f"{MODIFIED[0]} of {name} {show(record_id)} is empty; export it with the record")
        moment = self._values.values.moment(row[column], f"{name}.{column}")
        check_time(self._context, moment, f"{column} of {name} {show(record_id)}")
        return moment

    def _fields(
        self, name: str, known: ObjectMap, row: Map[str, Any], *, whole: bool
    ) -> tuple[dict[str, Scalar], tuple[str, ...]]:
        fields: dict[str, Scalar] = {}
        cleared: set[str] = set()
        complete = True
        for field, ours in known.fields.items():
            given, value = _value(field, row)
            if not given:
                complete = complete and (whole or _is_optional(name, field))
                continue
            scalar = self._values.scalar(name, known.entity, field, ours, value, partial=False)
            if scalar is None:
                cleared.add(ours)
            else:
                fields[ours] = scalar
        if complete:
            cleared.add(INCOMPLETE)  # whatever was missed is in here
        return fields, tuple(sorted(cleared - fields.keys()))


def _check_header(header: list[str]) -> None:
    if ID not in header:
        raise Bad("missing_id", f"the header has no column {ID}; export it with the records")
    if not any(column in header for column in MODIFIED):
        raise Bad("missing_date", f"the header has no column {' or '.join(MODIFIED)}; export it with the records")
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        raise Bad("bad_header", f"the column {show(twice)} stands twice in the header; export it once")


def _columns(field: str) -> tuple[str, ...]:
    """The columns that say what a mapped field is, in order of preference: whole records have compound fields flat."""
    parent, dot, child = field.partition(".")
    if not dot:
        return ("Name", "FirstName", "LastName") if field == "Name" else (field,)
    if parent == "Name":
        return (field, child)
    return (field, parent.removesuffix(_ADDRESS) + child) if parent.endswith(_ADDRESS) else (field,)


def _value(field: str, row: Map[str, Any]) -> tuple[bool, Any]:
    """Whether a row says anything of a mapped field, and its value."""
    if field == "Name" and "Name" not in row:
        parts = {part: row[part] for part in ("FirstName", "LastName") if part in row}
        return "LastName" in parts, parts
    column = next((column for column in _columns(field) if column in row), None)
    return column is not None, None if column is None else row[column]


def _is_optional(name: str, field: str) -> bool:
    """Whether it is a standard entry of ours for a field that not every organisation has."""
    standard = STANDARD.get(name)
    return standard is not None and field in standard.fields and (field.endswith("__c") or field == "CurrencyIsoCode")
