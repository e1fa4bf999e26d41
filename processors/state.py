"""The state of a tenant after a prefix of its log: records in columns, last writer wins per field.

Within one source the writer with the greatest (version, tie) wins a field; where several sources write the
same field of the same record, their winners are compared by (time of occurrence, source name). Both are
functions of the set of changes, so the order of arrival does not matter.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.calendar import Calendar
from schemas.config import Config
from schemas.records import DECIMAL_SCALE, FIELDS, Kind

Ints = npt.NDArray[np.int64]

#: The value of a field that is absent or cleared.
NULL = int(np.iinfo(np.int64).min)
#: Encoded scalars remembered, at most.
ENCODED_MAX = 200_000
EPOCH = dt.date(1970, 1, 1).toordinal()
APPLIED, DUPLICATE, STALE = 4, 2, 1
#: Fields that hold from a date on, by entity.
EFFECTIVE = {"rep": "team", "team": "territory"}


def day_number(text: str) -> int:
    """Days since 1970-01-01 of an ISO date."""
    return dt.date.fromisoformat(text).toordinal() - EPOCH


def day_text(day: int) -> str:
    """The ISO date of a day number."""
    return dt.date.fromordinal(day + EPOCH).isoformat()


class Names:
    """Text as integers: each distinct text has one code, in order of first sight."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.codes: dict[str, int] = {}

    def code(self, text: str) -> int:
        """The code of a text, a new one if it was never seen."""
        code = self.codes.get(text)
        if code is None:
            code = self.codes[text] = len(self.texts)
            self.texts.append(text)
        return code

    def text(self, code: int) -> str | None:
        """The text of a code; none for NULL."""
        return None if code == NULL else self.texts[code]


class Order(NamedTuple):
    """What orders writes: within a source (version, tie), across sources (occurred_at, source)."""

    version: int
    tie: int
    occurred_at: int
    source: str


class Cells:
    """A column: one value per slot with the order of its last writer."""

    def __init__(self) -> None:
        self.values: Ints = np.full(64, NULL, dtype=np.int64)
        self.orders: dict[int, Order] = {}
        self.rivals: dict[int, dict[str, tuple[Order, int]]] = {}

    def write(self, slot: int, new: Order, value: int) -> int:
        """Offer a value; APPLIED, DUPLICATE or STALE as far as this field goes."""
        old = self.orders.get(slot)
        if old is not None:
            if old.source != new.source or slot in self.rivals:
                return self._write_among_sources(slot, old, new, value)
            if new[:2] <= old[:2]:
                return DUPLICATE if new[:2] == old[:2] else STALE
        self._set(slot, new, value)
        return APPLIED

    def _write_among_sources(self, slot: int, old: Order, new: Order, value: int) -> int:
        rivals = self.rivals.setdefault(slot, {old.source: (old, int(self.values[slot]))})
        own = rivals.get(new.source)
        if own is not None and new[:2] <= own[0][:2]:
            return DUPLICATE if new[:2] == own[0][:2] else STALE
        rivals[new.source] = (new, value)
        self._set(slot, *max(rivals.values(), key=lambda w: (w[0].occurred_at, w[0].source)))
        return APPLIED

    def _set(self, slot: int, order: Order, value: int) -> None:
        if slot >= len(self.values):
            grown = np.full(max(slot + 1, 2 * len(self.values)), NULL, dtype=np.int64)
            grown[: len(self.values)] = self.values
            self.values = grown
        self.orders[slot] = order
        self.values[slot] = value

    def take(self, slots: Ints) -> Ints:
        """The values at some slots, NULL where nothing was written."""
        inside = slots < len(self.values)
        return np.where(inside, self.values[np.where(inside, slots, 0)], NULL)


@dataclass
class Table:
    """The records of one entity. The field "exists" is 1 or 0 and follows creates and deletes."""

    kinds: dict[str, Kind]
    ids: list[int] = field(default_factory=list)  # slot → code of the record id
    slots: dict[int, int] = field(default_factory=dict)  # code of the record id → slot
    columns: dict[str, Cells] = field(default_factory=dict)
    effective: dict[int, dict[int, Cells]] = field(default_factory=dict)  # slot → day → one-slot column
    events: dict[int, dict[Order, dict[str, int]]] = field(default_factory=dict)  # opportunities only: slot → writes
    generation: int = 0  # grows with every write: what is derived from the table is cached under it

    def slot(self, code: int) -> int:
        """The slot of a record id, a new one if it was never seen."""
        slot = self.slots.get(code)
        if slot is None:
            slot = self.slots[code] = len(self.ids)
            self.ids.append(code)
        return slot

    def column(self, name: str) -> Cells:
        """The column of a field."""
        cells = self.columns.get(name)
        if cells is None:
            cells = self.columns[name] = Cells()
        return cells

    def all_slots(self) -> Ints:
        """Every slot, deleted records too."""
        return np.arange(len(self.ids), dtype=np.int64)

    def value(self, name: str, slot: int) -> int:
        """One value."""
        values = self.column(name).values
        return int(values[slot]) if slot < len(values) else NULL


class State:
    """Everything known of a tenant after a prefix of its log."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.calendar = Calendar(config.calendar)
        self.names = Names()
        self.tables = {
            entity: Table(kinds={**kinds, **config.fields.get(entity, {})}) for entity, kinds in FIELDS.items()
        }
        self.now = 0  # the running maximum of occurred_at, or later where the caller says so
        self.position = 0  # of the last log message that is in here
        self.counts: dict[str, dict[str, int]] = {}  # source → applied, duplicate, stale
        self.last_seen: dict[str, int] = {}  # source → newest occurred_at
        self.cache: dict[object, object] = {}
        self._encoded: dict[tuple[Kind, str | bool | int], int] = {}

    @property
    def today(self) -> int:
        """The day number of `now` in the tenant's zone."""
        return self.calendar.day_of(self.now)

    def encode(self, kind: Kind, value: str | bool | int) -> int:
        """A scalar of a change as a column holds it. Raises ValueError where it does not fit its kind."""
        key = (kind, value)
        known = self._encoded.get(key)
        if known is None:
            if len(self._encoded) > ENCODED_MAX:
                self._encoded.clear()
            known = self._encoded[key] = self._encode(kind, value)
        return known

    def _encode(self, kind: Kind, value: str | bool | int) -> int:
        if kind == "text":
            return self.names.code(str(value))
        if kind == "decimal":
            if isinstance(value, int):
                return value * DECIMAL_SCALE
            return int((Decimal(value) * DECIMAL_SCALE).to_integral_value())
        if kind == "flag":
            return 1 if value in (True, "true", 1) else 0
        if kind == "date":
            return day_number(str(value)[:10])
        return int(dt.datetime.fromisoformat(str(value)).timestamp() * 1_000_000)
