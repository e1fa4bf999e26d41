"""The state as bytes and back: a JSON header and columns of 64-bit integers, nothing that runs when it is read.

    magic · format · length of the header · header · columns, little-endian, in the order of the header

The header names what the state was made with (`made_with`): a snapshot of another tenant, time zone or set of field
kinds would decode into nonsense, so it is refused and the log is read instead. Whoever stores the bytes adds a
checksum (storage/file_snapshots.py does).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import orjson

from processors.state import Cells, Ints, Order, State, Table
from schemas.config import Config
from schemas.records import FIELDS

MAGIC = b"PLANWSTA"
FORMAT = 1
PREFIX = struct.Struct("<8sHQ")


class ForeignSnapshot(Exception):
    """The bytes are no snapshot that this configuration can use; the message says why."""


def made_with(config: Config) -> str:
    """A digest of the settings that decide how changes become columns."""
    settings = {
        "tenant": config.tenant,
        "kinds": [FIELDS, config.fields],
        "calendar": config.calendar.model_dump(mode="json"),
    }
    return hashlib.blake2b(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


class _Writer:
    """Columns under names, and the sources' names as numbers."""

    def __init__(self) -> None:
        self.columns: dict[str, Ints] = {}
        self.sources: dict[str, int] = {}

    def put(self, name: str, values: Iterable[int]) -> None:
        self.columns[name] = np.fromiter(values, dtype=np.int64)

    def orders(self, name: str, orders: Iterable[Order]) -> None:
        rows = np.array(
            [(o.version, o.tie, o.occurred_at, self.sources.setdefault(o.source, len(self.sources))) for o in orders],
            dtype=np.int64,
        ).reshape(-1, 4)
        for i, part in enumerate(("version", "tie", "at", "source")):
            self.columns[f"{name}.{part}"] = rows[:, i]


class _Reader:
    """The same, read back."""

    def __init__(self, header: dict[str, Any], body: bytes) -> None:
        self.sources: list[str] = header["sources"]
        self.columns: dict[str, Ints] = {}
        at = 0
        for name, length in header["columns"]:
            self.columns[name] = np.frombuffer(body, dtype="<i8", count=length, offset=at)
            at += 8 * length

    def get(self, name: str) -> list[int]:
        found: list[int] = self.columns[name].tolist()
        return found

    def orders(self, name: str) -> Iterator[Order]:
        parts = [self.get(f"{name}.{part}") for part in ("version", "tie", "at", "source")]
        for version, tie, at, source in zip(*parts, strict=True):
            yield Order(version, tie, at, self.sources[source])


def dump(state: State, judged: int = 0) -> bytes:
    """The state with its position. The same state gives the same bytes.

    `judged` goes with it: up to which message alerts must have been judged wherever the snapshot is used.
    """
    writer = _Writer()
    columns = {}
    for entity, table in state.tables.items():
        columns[entity] = sorted(table.columns)
        _dump_table(writer, entity, table)
    header = {
        "made_with": made_with(state.config),
        "position": state.position,
        "judged": judged,
        "now": state.now,
        "names": state.names.texts,
        "counts": state.counts,
        "last_seen": state.last_seen,
        "tables": columns,
        "sources": list(writer.sources),
        "columns": [[name, len(values)] for name, values in writer.columns.items()],
    }
    head = orjson.dumps(header)
    body = b"".join(values.astype("<i8").tobytes() for values in writer.columns.values())
    return PREFIX.pack(MAGIC, FORMAT, len(head)) + head + body


class Snapshot(NamedTuple):
    """A state read back, and what was said of it."""

    state: State
    judged: int


def load(config: Config, payload: bytes) -> Snapshot:
    """What `dump` was given. Raises ForeignSnapshot where these bytes are something else."""
    if len(payload) < PREFIX.size:
        raise ForeignSnapshot("it is too short")
    magic, version, length = PREFIX.unpack_from(payload)
    if (magic, version) != (MAGIC, FORMAT):
        raise ForeignSnapshot(f"it has the format {version} of {magic!r}; this Planwatch reads {FORMAT}")
    try:
        header = orjson.loads(payload[PREFIX.size : PREFIX.size + length])
        if header["made_with"] != made_with(config):
            raise ForeignSnapshot("it was made with another tenant, calendar or other kinds of fields")
        reader = _Reader(header, payload[PREFIX.size + length :])
    except (ValueError, KeyError, TypeError) as error:
        raise ForeignSnapshot(f"it is damaged: {error}") from error
    state = State(config)
    state.position, state.now = header["position"], header["now"]
    state.names.texts = header["names"]
    state.names.codes = {text: code for code, text in enumerate(state.names.texts)}
    state.counts, state.last_seen = header["counts"], header["last_seen"]
    for entity, names in header["tables"].items():
        _load_table(reader, entity, state.tables[entity], names)
    return Snapshot(state, header["judged"])


def _dump_table(writer: _Writer, entity: str, table: Table) -> None:
    writer.put(f"{entity}.ids", table.ids)
    for i, name in enumerate(sorted(table.columns)):  # by number: a mapped field may have any name
        _dump_cells(writer, f"{entity}.{i}", table.columns[name], len(table.ids))
    dated = [(slot, day, cells) for slot, days in table.effective.items() for day, cells in days.items()]
    name = f"{entity}.dated"
    writer.put(f"{name}.slot", (slot for slot, _, _ in dated))
    writer.put(f"{name}.day", (day for _, day, _ in dated))
    writer.put(f"{name}.value", (int(cells.values[0]) for _, _, cells in dated))
    writer.orders(name, (cells.orders[0] for _, _, cells in dated))
    _dump_rivals(writer, name, ((i, cells.rivals[0]) for i, (_, _, cells) in enumerate(dated) if cells.rivals))
    events = [(slot, order, writes) for slot, found in table.events.items() for order, writes in found.items()]
    name = f"{entity}.event"
    fields = sorted({field for _, _, writes in events for field in writes})
    codes = {field: i for i, field in enumerate(fields)}
    writer.put(f"{name}.slot", (slot for slot, _, _ in events))
    writer.orders(name, (order for _, order, _ in events))
    writer.put(f"{name}.size", (len(writes) for _, _, writes in events))
    writer.put(f"{name}.field", (codes[field] for _, _, writes in events for field in writes))
    writer.put(f"{name}.value", (value for _, _, writes in events for value in writes.values()))
    writer.put(f"{name}.names", orjson.dumps(fields))


def _load_table(reader: _Reader, entity: str, table: Table, names: list[str]) -> None:
    table.ids = reader.get(f"{entity}.ids")
    table.slots = {code: slot for slot, code in enumerate(table.ids)}
    for i, name in enumerate(names):
        table.columns[name] = _load_cells(reader, f"{entity}.{i}")
    name = f"{entity}.dated"
    dated = []
    rows = zip(reader.get(f"{name}.slot"), reader.get(f"{name}.day"), reader.get(f"{name}.value"), strict=True)
    for (slot, day, value), order in zip(rows, reader.orders(name), strict=True):
        cells = table.effective.setdefault(slot, {}).setdefault(day, Cells())
        cells.values[0], cells.orders[0] = value, order
        dated.append(cells)
    for i, rivals in _load_rivals(reader, name).items():
        dated[i].rivals[0] = rivals
    name = f"{entity}.event"
    fields = orjson.loads(bytes(reader.get(f"{name}.names")))
    writes = zip(reader.get(f"{name}.field"), reader.get(f"{name}.value"), strict=True)
    sizes = zip(reader.get(f"{name}.slot"), reader.orders(name), reader.get(f"{name}.size"), strict=True)
    for slot, order, size in sizes:
        table.events.setdefault(slot, {})[order] = {
            fields[field]: value for field, value in (next(writes) for _ in range(size))
        }


def _dump_cells(writer: _Writer, name: str, cells: Cells, slots: int) -> None:
    writer.put(f"{name}.value", cells.values[:slots])
    writer.put(f"{name}.slot", cells.orders)
    writer.orders(name, cells.orders.values())
    _dump_rivals(writer, name, cells.rivals.items())


def _load_cells(reader: _Reader, name: str) -> Cells:
    cells = Cells()
    values = reader.columns[f"{name}.value"]
    if len(values) > len(cells.values):
        cells.values = values.astype(np.int64)
    else:
        cells.values[: len(values)] = values
    cells.orders = dict(zip(reader.get(f"{name}.slot"), reader.orders(name), strict=True))
    cells.rivals = _load_rivals(reader, name)
    return cells


def _dump_rivals(writer: _Writer, name: str, rivals: Iterable[tuple[int, dict[str, tuple[Order, int]]]]) -> None:
    rows = [(slot, order, value) for slot, sources in rivals for order, value in sources.values()]
    writer.put(f"{name}.rival.slot", (slot for slot, _, _ in rows))
    writer.orders(f"{name}.rival", (order for _, order, _ in rows))
    writer.put(f"{name}.rival.value", (value for _, _, value in rows))


def _load_rivals(reader: _Reader, name: str) -> dict[int, dict[str, tuple[Order, int]]]:
    found: dict[int, dict[str, tuple[Order, int]]] = {}
    rows = zip(
        reader.get(f"{name}.rival.slot"),
        reader.orders(f"{name}.rival"),
        reader.get(f"{name}.rival.value"),
        strict=True,
    )
    for slot, order, value in rows:
        found.setdefault(slot, {})[order.source] = (order, value)
    return found
