"""The Avro schemas of a source's events, from a folder: positions of fields for bitmaps, and binary events decoded.

A change event of the Pub/Sub API names its fields by bitmaps: "0x6" are the fields 1 and 2 of the schema, the least
significant bit being field 0, and "4-0x1" is the first field within field 4.
(developer.salesforce.com, Pub/Sub API: Event Deserialization Considerations)
"""

from __future__ import annotations

import datetime as dt
import io
import json
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

from ingest.values import Bad, show, to_us

#: Schemas that are remembered; an organisation has one or two for each object.
SCHEMAS_MAX = 256
SCHEMA_BYTES_MAX = 4 << 20
BITMAP_CHARS_MAX = 2_048
_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_BITMAP = re.compile(r"(?:(\d{1,5})-)?0[xX]([0-9a-fA-F]+)", re.ASCII)


class Field(NamedTuple):
    """A field of an event by its position, and the names of the fields within it."""

    name: str
    inner: tuple[str, ...] = ()


class AvroSchema(NamedTuple):
    """A schema: where it is from, its fields in order, and what decodes binary events."""

    where: str
    fields: tuple[Field, ...]
    parsed: Any

    def names(self, bitmaps: Iterable[str]) -> tuple[str, ...]:
        """The names of the fields in bitmaps, nested ones as "Parent.Child". `Bad` where the schema has no such field."""
        found: list[str] = []
        for text in bitmaps:
            matched = _BITMAP.fullmatch(text) if len(text) <= BITMAP_CHARS_MAX else None
            if matched is None:
                found.append(text)  # a name: some decoders translate the bitmaps
                continue
            at, bits = matched.groups()
            if at is None:
                found += self._set(bits, [field.name for field in self.fields], text)
            else:
                parent = self.fields[int(at)] if int(at) < len(self.fields) else None
                if parent is None or not parent.inner:
                    raise self._foreign(text)
                found += [f"{parent.name}.{name}" for name in self._set(bits, parent.inner, text)]
        return tuple(found)

    def decode(self, payload: bytes) -> dict[str, Any]:
        """A binary event as JSON has it. `Bad` when the bytes are not of this schema."""
        stream = io.BytesIO(payload)
        try:
            event = fastavro.schemaless_reader(stream, self.parsed, None)
        except Exception as error:  # the library raises whatever it stumbles over
            raise self._unreadable(type(error).__name__) from error
        if not isinstance(event, dict) or stream.tell() != len(payload):
            raise self._unreadable("bytes are left over")
        found = _plain(event)
        assert isinstance(found, dict)
        return found

    def _set(self, bits: str, names: Iterable[str], text: str) -> list[str]:
        number, names = int(bits, 16), list(names)
        if number >> len(names):
            raise self._foreign(text)
        return [name for at, name in enumerate(names) if number >> at & 1]

    def _foreign(self, text: str) -> Bad:
        return Bad(
            "wrong_schema",
            f"the bitmap {show(text)} names a field that {self.where} does not have; put the event's own schema there",
        )

    def _unreadable(self, problem: str) -> Bad:
        return Bad(
            "bad_avro",
            f"the payload cannot be read with {self.where} ({problem}); put the schema there that the event was written with",
        )


class AvroSchemas:
    """The schemas in a folder, named SCHEMA-ID.avsc or EVENTNAME.avsc. A file is read again when it changes."""

    def __init__(self, folder: Path | None, setting: str) -> None:
        """`setting` names the folder's setting, for messages. None: no folder is configured."""
        self._folder = folder
        self._setting = setting
        self._known: dict[Path, tuple[tuple[int, int], AvroSchema]] = {}

    def find(self, schema_id: str | None, event: str | None) -> AvroSchema:
        """The schema with an id, else that of an event by its name. `Bad`: neither is there, with the file to put."""
        names = [name for name in (schema_id, event) if name and _FILE_NAME.fullmatch(name)]
        wanted = " or ".join(f"{name}.avsc" for name in names) or "EVENTNAME.avsc"
        if self._folder is None:
            raise Bad(
                "no_schema",
                f"only the event's Avro schema says which fields these are; put it as {wanted} into a folder, "
                f"and name that under {self._setting} in planwatch.yaml",
            )
        for name in names:
            path = self._folder / f"{name}.avsc"
            try:
                status = path.stat()
            except OSError:
                continue
            return self._read(path, (status.st_mtime_ns, status.st_size))
        raise Bad("no_schema", f"there is no Avro schema for this event; put it as {wanted} into {self._folder}")

    def _read(self, path: Path, version: tuple[int, int]) -> AvroSchema:
        known = self._known.get(path)
        if known is not None and known[0] == version:
            return known[1]
        try:
            if version[1] > SCHEMA_BYTES_MAX:
                raise ValueError(f"it is larger than {SCHEMA_BYTES_MAX:,} bytes")
            schema = _parsed(json.loads(path.read_text(encoding="utf-8")), str(path))
        except Exception as error:  # the library raises whatever it stumbles over
            raise Bad(
                "bad_schema", f"{path} is not the Avro schema of an event ({error}); get it from Salesforce again"
            ) from error
        if len(self._known) >= SCHEMAS_MAX:
            self._known.clear()
        self._known[path] = version, schema
        return schema


def _parsed(content: Any, where: str) -> AvroSchema:
    named: dict[str, Any] = {}
    parsed = fastavro.parse_schema(content, named_schemas=named)
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise ValueError("it is no record")
    fields = tuple(
        Field(field["name"], tuple(inner["name"] for inner in _record(field["type"], named)))
        for field in parsed["fields"]
    )
    return AvroSchema(where, fields, parsed)


def _record(kind: Any, named: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of the record that a type is or admits; none for any other type."""
    for option in kind if isinstance(kind, list) else [kind]:
        found = named.get(option) if isinstance(option, str) else option
        if isinstance(found, dict) and found.get("type") == "record":
            fields: list[dict[str, Any]] = found["fields"]
            return fields
    return []


def _plain(value: Any) -> Any:
    """A value of Avro as the JSON of the streaming API has it: exact decimals, times in milliseconds."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        number = Decimal(repr(value))
        if not number.is_finite():
            raise Bad("bad_number", f"{value} is not a finite number; correct it at the source")
        return number
    if isinstance(value, dt.datetime):
        return to_us(value if value.tzinfo else value.replace(tzinfo=dt.UTC)) // 1000
    return value.isoformat() if isinstance(value, dt.date) else value
