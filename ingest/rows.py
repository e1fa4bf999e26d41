"""Rows to changes: an entry of the mapping, compiled once for a file's header, run once per row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass
from decimal import Decimal
from string import Formatter
from typing import Any

from ingest.door import ID_CHARS_MAX, Context, check_time, make_change
from ingest.drift import nearest
from ingest.mapping import id_columns
from ingest.values import Bad, Values, kind_of, show
from schemas.change import Change, Op, Scalar
from schemas.mapping import Empty, FileMapping, Mapping, Value
from schemas.records import Kind

Cells = Sequence[str]


class Null:
    """The mark of a field that is cleared."""


NULL = Null()
Result = Scalar | Null | None  # none: the field is absent
Getter = Callable[[Cells, int], Result]  # (cells, moment of the change) → value


def content_event_id(entity: str, record_id: str, name: str, content: object) -> str:
    """A stable event id: the same content has the same id, wherever it comes from and however often."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    digest = hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()
    event_id = f"{entity}:{record_id}:{name}:{digest}"
    if len(event_id) > ID_CHARS_MAX:
        record_digest = hashlib.blake2b(record_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return f"{entity}:{record_digest}:{name}:{digest}"
    return event_id


def unknown_value(what: str, value: str, allowed: Sequence[str], near: str) -> Bad:
    """The refusal of a value that is not on the list, with the nearest one that is."""
    hint = f"did you mean {show(near)}? " if near else f"known are {', '.join(allowed[:12])}. "
    return Bad(
        "unknown_value", f"{what} {show(value)} is not a known value; {hint}Correct it, or add it to the mapping"
    )


def value_parser(values: Values, kind: Kind, value: Value, field: str) -> Callable[[Any, str], Scalar]:
    """How a raw value that is not empty becomes a canonical scalar. `Bad` for a setting that its kind cannot have."""
    unit, factor = value.unit, value.factor
    if unit is not None and kind not in ("date", "time"):
        raise Bad(
            "bad_mapping", f"{field}: `unit` is for dates and times, and this is a {kind}; set its `kind`, or remove it"
        )
    if factor is not None and kind != "decimal":
        raise Bad(
            "bad_mapping", f"{field}: `factor` is for decimals, and this is a {kind}; set its `kind`, or remove it"
        )
    if unit is not None:
        return lambda raw, what: values.counted(kind, raw, unit, what)
    if factor is not None:
        return lambda raw, what: values.decimal(values.number(raw, what) * factor, what)
    return lambda raw, what: values.scalar(kind, raw, what)


def value_reader(
    value: Value,
    what: str,
    aliases: Map[str, str],
    empty: Empty,
    parse: Callable[[Any, str], Scalar],
    unknown: Callable[[str], Bad],
) -> Callable[[Any], Result]:
    """What reads a raw value (text, or a JSON scalar) as the mapping says: aliases, emptiness, allowed values, kind.

    `what` names the field in messages; `unknown` makes the refusal of a value that is not allowed.
    """
    known = frozenset(value.allowed)
    nothing: Result = NULL if empty == "null" else None

    def read(raw: Any) -> Result:
        if isinstance(raw, str):
            raw = aliases.get(raw, raw)
        if raw is None or raw == "":
            if value.required:
                raise Bad("missing_value", f"{what} is empty; fill it in")
            return nothing
        if known and raw not in known:
            raise unknown(raw)
        return parse(raw, what)

    return read


@dataclass(frozen=True)
class _Step:
    """A milestone, compiled. `index` keeps the order of milestones that fall on one moment."""

    index: int
    name: str
    op: Op
    date: str
    date_at: int
    conditions: tuple[tuple[int, frozenset[str]], ...]
    date_required: bool
    getters: tuple[tuple[str, Getter], ...]

    def holds(self, cells: Cells) -> bool:
        return all(cells[at].strip() in values for at, values in self.conditions)


class RowProgram:
    """One entry of the mapping for one header. `run` gives the changes of a row, all of them or `Bad`."""

    def __init__(self, spec: FileMapping, header: Sequence[str], context: Context, values: Values) -> None:
        self._spec = spec
        self._context = context
        self._mapping = context.mapping or Mapping()
        self._values = values
        self._at = {column: at for at, column in enumerate(header)}
        self._id_at = tuple(self._at[column] for column in id_columns(spec))
        self._expect = tuple((column, self._at[column], allowed) for column, allowed in spec.expect.items())
        self._fields = self._compile(spec.fields)
        self._undated = self._compile(spec.undated.set)
        self._steps = tuple(
            _Step(
                index=index,
                name=milestone.name,
                op=milestone.op,
                date=milestone.date,
                date_at=self._at[milestone.date],
                conditions=tuple((self._at[c], frozenset(allowed)) for c, allowed in milestone.when.items()),
                date_required=milestone.date_required,
                getters=self._compile(milestone.set),
            )
            for index, milestone in enumerate(spec.milestones)
        )
        self._version_at = None if spec.version is None else self._at[spec.version]

    def run(self, cells: Cells) -> list[Change]:
        """The changes of a row; `Bad` refuses it as a whole."""
        record_id = self._record_id(cells)
        for column, at, allowed in self._expect:
            if cells[at].strip() not in allowed:
                raise self._unknown(column, column, cells[at].strip(), allowed)
        held = self._held(cells)
        if not held:
            moment = self._snapshot_at()
            return [self._change(cells, record_id, "snapshot", "snapshot", 0, moment, self._fields + self._undated)]
        changes: list[Change] = []
        for step, moment in held:
            # What a row knows besides its milestones is true from its first date on.
            getters = self._fields + step.getters if not changes else step.getters
            changes.append(self._change(cells, record_id, step.name, step.op, step.index, moment, getters))
        return changes

    def _unknown(self, name: str, what: str, value: str, allowed: Sequence[str]) -> Bad:
        near = nearest(value, allowed)
        self._context.drift.note("unknown_value", self._spec.entity, f"{name}={value}", value, near)
        return unknown_value(what, value, allowed, near)

    def _held(self, cells: Cells) -> list[tuple[_Step, int]]:
        held: list[tuple[_Step, int]] = []
        for step in self._steps:
            if not step.holds(cells):
                continue
            raw = cells[step.date_at].strip()
            if not raw:
                if step.date_required:
                    raise Bad("missing_date", f"{step.date} is empty, but the row is {step.name}; fill it in")
                continue
            moment = self._values.moment(raw, step.date)
            if held and moment < held[-1][1]:
                earlier = held[-1][0].date
                raise Bad("bad_order", f"{step.date} {show(raw)} lies before {earlier}; correct one of them")
            check_time(self._context, moment, f"{step.date} {show(raw)}")
            held.append((step, moment))
        return held

    def _snapshot_at(self) -> int:
        text = self._spec.snapshot_at or self._mapping.snapshot_at
        if text is None:
            raise Bad("missing_date", "the row has no date; fill it in, or set `snapshot_at` in the mapping")
        moment = self._values.moment(text, "snapshot_at")
        check_time(self._context, moment, f"snapshot_at {show(text)} of the mapping")
        return moment

    def _record_id(self, cells: Cells) -> str:
        parts = [cells[at].strip() for at in self._id_at]
        if not any(parts):
            names = ", ".join(id_columns(self._spec))
            raise Bad("missing_id", f"{names} is empty; every row needs it to tell the records apart")
        return ":".join(parts)

    def _change(
        self,
        cells: Cells,
        record_id: str,
        name: str,
        op: Op,
        index: int,
        moment: int,
        getters: tuple[tuple[str, Getter], ...],
    ) -> Change:
        fields: dict[str, Scalar] = {}
        cleared: set[str] = set()
        for field, getter in getters:
            value = getter(cells, moment)
            if isinstance(value, Null):
                cleared.add(field)
            elif value is not None:
                fields[field] = value
        nulled = tuple(sorted(cleared - fields.keys()))
        content = [fields, nulled, moment]
        return make_change(
            self._context,
            entity=self._spec.entity,
            record_id=record_id,
            op=op,
            version=self._version(cells, moment) + index,
            occurred_at=moment,
            event_id=content_event_id(self._spec.entity, record_id, name, content),
            fields=fields,
            nulled=nulled,
        )

    def _version(self, cells: Cells, moment: int) -> int:
        if self._version_at is None:
            return moment
        raw = cells[self._version_at].strip()
        if raw.isascii() and raw.isdigit() and len(raw) < 20:
            return int(raw)
        return self._values.moment(raw, self._spec.version or "version")

    def _compile(self, fields: dict[str, Value]) -> tuple[tuple[str, Getter], ...]:
        compiled = ((field, self._getter(field, value)) for field, value in fields.items())
        return tuple((field, getter) for field, getter in compiled if getter is not None)

    def _getter(self, field: str, value: Value) -> Getter | None:
        """How to get a field from a row; none when its optional column is not in the file."""
        kind = value.kind or kind_of(self._context.config, self._spec.entity, field)
        values = self._values
        parse = value_parser(values, kind, value, field)
        if value.constant is not None:
            raw = value.constant if isinstance(value.constant, str | bool | int | Decimal) else str(value.constant)
            constant = values.scalar(kind, raw, field)
            return lambda _cells, _moment: constant
        if value.moment:
            if kind == "date":
                return lambda _cells, moment: values.day_of(moment, field)
            return lambda _cells, moment: values.scalar(kind, moment // 1000, field)
        text = self._text(value)
        if text is None:
            return None
        return self._reader(field, value, text, parse)

    def _text(self, value: Value) -> Callable[[Cells], str] | None:
        """The raw text of a column or template; empty when a part is."""
        if value.column is not None:
            at = self._at.get(value.column)
            return None if at is None else lambda cells: cells[at].strip()
        parts = [
            (literal, None if name is None else self._at.get(name, -1))
            for literal, name, _, _ in Formatter().parse(value.template or "")
        ]
        if any(at == -1 for _, at in parts):
            return None

        def join(cells: Cells) -> str:
            found = [(literal, "" if at is None else cells[at].strip(), at) for literal, at in parts]
            if any(at is not None and not cell for _, cell, at in found):
                return ""
            return "".join(literal + cell for literal, cell, _ in found)

        return join

    def _reader(
        self, field: str, value: Value, text: Callable[[Cells], str], parse: Callable[[Any, str], Scalar]
    ) -> Getter:
        what = field if value.column in (None, field) else f"{field} (column {value.column})"
        aliases = {
            **self._mapping.aliases.get(field, {}),
            **self._spec.aliases.get(field, {}),
            **value.aliases,
        }
        empty: Empty = value.empty or self._spec.empty
        read = value_reader(
            value, what, aliases, empty, parse, lambda raw: self._unknown(field, what, raw, value.allowed)
        )
        return lambda cells, _moment: read(text(cells))
