"""What is known of every record once some changes have been seen: last writer wins, field by field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from schemas.change import Change, tie
from tests.oracle.days import Days, parse_day

#: entity → its field that holds from a day on. It is kept as "team@<day>".
DATED = {"rep": "team", "team": "territory"}
EXISTS = "?exists"

Fields = dict[str, Any]
Key = tuple[str, str]  # entity, record id


class Write(NamedTuple):
    """A value with its place in the order of its source."""

    version: int
    tie: int
    occurred_at: int
    value: Any


class Records:
    """The winners among the writers of each field. Changes may come in any order and more than once."""

    def __init__(self, days: Days, changes: Iterable[Change] = ()) -> None:
        self._days = days
        self._writes: dict[Key, dict[str, dict[str, Write]]] = {}  # record → field → source → its last write
        self._plain: dict[Key, tuple[bool, Fields]] = {}
        for change in changes:
            self.apply(change)

    def apply(self, change: Change) -> None:
        """Take in a change: of two writers of one source, the greater (version, tie) stays."""
        key = (change.entity, change.record_id)
        self._plain.pop(key, None)
        record = self._writes.setdefault(key, {})
        order = (change.version, tie(change.sequence, change.event_id), change.occurred_at)
        for field, value in self._written(change).items():
            by_source = record.setdefault(field, {})
            known = by_source.get(change.source)
            if known is None or known[:2] < order[:2]:
                by_source[change.source] = Write(*order, value)

    def _written(self, change: Change) -> Fields:
        """Every field that a change writes: a nulled one is written as None, and existence is one more."""
        fields: Fields = {**change.fields, **dict.fromkeys(change.nulled)}
        if change.entity in DATED:
            effective = fields.pop("effective_from", None)
            dated = DATED[change.entity]
            if dated in fields:
                day = parse_day(str(effective)) if effective else self._days.day_of(change.occurred_at)
                fields[f"{dated}@{day}"] = fields.pop(dated)
        fields[EXISTS] = change.op != "delete"
        return fields

    def _merged(self, key: Key) -> tuple[bool, Fields]:
        """Whether a record exists, and its fields: among the sources' winners the latest by (time, source)."""
        if key not in self._plain:
            fields = {}
            for field, by_source in self._writes[key].items():
                latest = max(by_source, key=lambda source: (by_source[source].occurred_at, source))
                fields[field] = by_source[latest].value
            self._plain[key] = (fields.pop(EXISTS), fields)
        return self._plain[key]

    def get(self, entity: str, record_id: str | None) -> Fields:
        """The fields of a record; empty for one that is unknown or deleted."""
        if record_id is None or (entity, record_id) not in self._writes:
            return {}
        exists, fields = self._merged((entity, record_id))
        return fields if exists else {}

    def raw(self, entity: str, record_id: str) -> tuple[bool | None, Fields]:
        """Whether a record exists (None: never heard of) and its fields even when it is deleted."""
        return self._merged((entity, record_id)) if (entity, record_id) in self._writes else (None, {})

    def present(self, entity: str) -> list[tuple[str, Fields]]:
        """All existing records of an entity, by id."""
        ids = sorted(i for e, i in self._writes if e == entity)
        return [(i, self._merged((entity, i))[1]) for i in ids if self._merged((entity, i))[0]]

    def on_day(self, entity: str, record_id: str | None, day: int) -> str | None:
        """A rep's team or a team's territory on a day; before the first assignment the first one holds."""
        prefix = DATED[entity] + "@"
        dated = [
            (int(f.removeprefix(prefix)), v) for f, v in self.get(entity, record_id).items() if f.startswith(prefix)
        ]
        if not dated:
            return None
        dated.sort(key=lambda item: item[0])
        begun = [value for start, value in dated if start <= day]
        value = begun[-1] if begun else dated[0][1]
        return None if value is None else str(value)
