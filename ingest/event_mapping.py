"""Events of foreign shape to changes: the entries of `events` in the mapping, compiled once, run once per event."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from collections.abc import Mapping as Map
from decimal import Decimal
from string import Formatter
from typing import Any

from ingest.door import ID_CHARS_MAX, Context, check_time, make_change
from ingest.drift import FieldWatch, nearest
from ingest.event_paths import MISSING, Event, as_text, id_paths, look, matches, paths_of, walk
from ingest.rows import Null, Result, content_event_id, unknown_value, value_parser, value_reader
from ingest.values import Bad, Values, kind_of, show
from schemas.base import PlanwatchError
from schemas.change import INT64_MAX, SEQUENCE_MAX, Change, Entity, Op, Scalar
from schemas.mapping import EventMapping, EventOp, Mapping, Value

#: Below it a number in a date or time is hardly milliseconds (it would be early 1970), above it hardly either.
MILLISECONDS_MIN, MILLISECONDS_MAX = 10**10, 10**14
OPS: dict[str, Op] = {op: op for op in ("create", "update", "delete", "undelete", "snapshot")}
#: Where senders usually say what an event is; what an entry for an event that none matches is suggested by.
TELLING = ("type", "event", "event_type", "eventType", "topic", "object", "entity", "action", "table", "schema")

Getter = Callable[[Any, Map[str, Any], int], Result]  # (data, envelope, moment of the change) → value


class EventMapper:
    """The `events` of a mapping file for one source."""

    def __init__(self, mapping: Mapping, context: Context) -> None:
        values = Values(context.config, mapping)
        self._context = context
        self._entries = [
            (spec, None if spec.ignore else EventProgram(index, spec, mapping, context, values))
            for index, spec in enumerate(mapping.events)
        ]
        self.values = values

    def program(self, event: Event) -> EventProgram | None:
        """What makes the change of an event: of the first entry that matches; none for an event to skip.

        `Bad` when no entry matches.
        """
        for spec, program in self._entries:
            if matches(spec, event):
                return program
        raise _unmapped(event)


def _unmapped(event: Event) -> Bad:
    where = event.about if event.match_envelope else event.data if isinstance(event.data, dict) else {}
    told = {name: text for name in TELLING if (text := as_text(where.get(name))) and len(text) < 200}
    suggestion = ", ".join(f"{name}: {show(text)}" for name, text in told.items()) or "PATH: VALUE"
    return Bad(
        "unmapped_event",
        f"no entry of `events` in the mapping matches; add one with `match: {{{suggestion}}}` and its entity, id and "
        "fields, or with `ignore: true` to skip such events",
    )


class EventProgram:
    """One entry of `events`, compiled. `run` gives the change of an event, or `Bad`."""

    def __init__(self, index: int, spec: EventMapping, mapping: Mapping, context: Context, values: Values) -> None:
        assert spec.entity is not None
        self._spec = spec
        self._entity: Entity = spec.entity
        self._where = f"events[{index}]"
        self._mapping = mapping
        self._context = context
        self._values = values
        self.ids = id_paths(spec)
        self._time = spec.time
        self._getters = tuple(
            (field, self._getter(field, value), _fixed(value)) for field, value in spec.fields.items()
        )
        self._watch = FieldWatch(context.drift)
        self._mapped = {
            v.column: field for field, v in spec.fields.items() if v.column and not v.column.startswith("@")
        }
        self._needed = tuple(v.column for v in spec.fields.values() if v.column in self._mapped and not v.optional)

    def columns(self) -> frozenset[str]:
        """The first names of all paths into the data: the columns of a row that are read."""
        named = [path for path in paths_of(self._spec) if not path.startswith("@")]
        return frozenset([*named, *(path.partition(".")[0] for path in named)])

    def run(self, event: Event) -> Change | None:
        """The change of an event; none where the mapping says to skip it."""
        op = self._op(event)
        if op is None:
            return None
        record_id = self._record_id(event)
        moment = self._moment(event)
        version = self._version(event, moment)
        fields, nulled = ({}, ()) if op == "delete" else self._fields(event, moment)
        if op != "delete":
            self._watched(event, full=event.complete or op in ("create", "snapshot"))
        return make_change(
            self._context,
            entity=self._entity,
            record_id=record_id,
            op=op,
            version=version,
            sequence=self._sequence(event, op),
            occurred_at=moment,
            event_id=self._event_id(event, record_id, op, [fields, nulled, moment, version, event.sequence]),
            fields=fields,
            nulled=nulled,
        )

    def _op(self, event: Event) -> Op | None:
        spec, own = self._spec.op, event.op or "update"
        if not isinstance(spec, EventOp):
            return own if event.op == "delete" else spec or own
        if event.op == "delete":  # a database's own deletion, whatever stood in the row
            return "delete"
        found = look(spec.column, event.data, event.about)
        if found is MISSING and event.op is None:
            raise Bad("missing_op", f"the event has no {show(spec.column)}, which the mapping's `op` names; add it")
        text = None if found is MISSING else as_text(found)
        said = spec.values.get(text or "")
        if said is not None:
            return None if said == "skip" else said
        return own if event.op is not None else OPS.get(text or "", own)

    def _record_id(self, event: Event) -> str:
        parts = []
        for path in self.ids:
            found = look(path, event.data, event.about)
            if found is MISSING or found is None:
                found = walk(event.key, path)
            text = None if found is MISSING else as_text(found)
            if not text:
                raise Bad(
                    "missing_id",
                    f"the event has no {show(path)}, which the mapping's `id` names; correct the path or the event",
                )
            parts.append(text)
        return ":".join(parts)

    def _moment(self, event: Event) -> int:
        found = MISSING if self._time is None else look(self._time.column, event.data, event.about)
        if event.op == "delete" and event.occurred_at is not None:
            found = MISSING  # the time in a row that is gone is not when it went
        if self._time is not None and found is not MISSING and found is not None and found != "":
            what = self._time.column
            if self._time.unit is not None:
                moment = self._values.counted_moment(found, self._time.unit, what)
            else:
                moment = self._values.moment(_milliseconds(found, what), what)
        elif event.occurred_at is not None:
            what, moment = "the event's time", event.occurred_at
        else:
            hint = (
                f"has no {show(self._time.column)}, which the mapping's `time` names" if self._time else "has no time"
            )
            raise Bad("missing_date", f"the event {hint}; name its path under `time` in the mapping, or send it")
        check_time(self._context, moment, what)
        return moment

    def _version(self, event: Event, moment: int) -> int:
        path = self._spec.version
        if path is None:
            return moment if event.version is None else event.version
        found = look(path, event.data, event.about)
        text = None if found is MISSING else as_text(found)
        if not text:
            raise Bad(
                "bad_version", f"the event has no {show(path)}, which the mapping's `version` names; correct the path"
            )
        if text.isascii() and text.isdigit():
            if len(text) < 20 and int(text) <= INT64_MAX:
                return int(text)
            raise Bad("bad_version", f"{path} {show(text)} is not below 2^63; name another path as the `version`")
        return self._values.moment(text, path)

    def _sequence(self, event: Event, op: Op) -> int:
        """The place within a version. Where the version is not the event's own place in a log, a deletion comes last:
        it may well carry the revision or time of the last change before it."""
        if event.version is not None and self._spec.version is None:
            return event.sequence
        return SEQUENCE_MAX if op == "delete" else min(event.sequence, SEQUENCE_MAX - 1)

    def _event_id(self, event: Event, record_id: str, op: Op, content: list[object]) -> str:
        if self._spec.event_id is not None:
            found = look(self._spec.event_id, event.data, event.about)
            text = None if found is MISSING else as_text(found)
            if text:
                return bounded_id(text)
        return event.event_id or content_event_id(self._entity, record_id, op, content)

    def _fields(self, event: Event, moment: int) -> tuple[dict[str, Scalar], tuple[str, ...]]:
        fields: dict[str, Scalar] = {}
        nulled: list[str] = []
        for field, getter, fixed in self._getters:
            value = getter(event.data, event.about, moment)
            if value is None or (not fixed and event.before is not None and self._same(getter, event, moment, value)):
                continue
            if isinstance(value, Null):
                nulled.append(field)
            else:
                fields[field] = value
        return fields, tuple(sorted(nulled))

    @staticmethod
    def _same(getter: Getter, event: Event, moment: int, value: Result) -> bool:
        try:
            return getter(event.before, event.about, moment) == value
        except Bad:  # what was there before cannot be read, so what is there now is new
            return False

    def _watched(self, event: Event, *, full: bool) -> None:
        """Tell the watch which fields came. `full`: the event has all of its record."""
        if isinstance(event.data, dict):
            names = {*event.data, *(path for path in self._mapped if walk(event.data, path) is not MISSING)}
            self._watch.saw(self._where, self._entity, names, self._mapped, self._needed, full=full)

    def _getter(self, field: str, value: Value) -> Getter:
        """How to get a field from an event. `PlanwatchError` for what the field cannot be."""
        kind = value.kind or kind_of(self._context.config, self._entity, field)
        values = self._values
        try:
            parse = value_parser(values, kind, value, field)
            if value.constant is not None:
                raw = value.constant if isinstance(value.constant, str | bool | int | Decimal) else str(value.constant)
                constant = values.scalar(kind, raw, field)
                return lambda _data, _about, _moment: constant
        except Bad as bad:
            raise PlanwatchError(f"the mapping's {self._where}: {bad.reason}") from bad
        if value.moment:
            if kind == "date":
                return lambda _data, _about, moment: values.day_of(moment, field)
            return lambda _data, _about, moment: values.scalar(kind, Decimal(moment) / 1000, field)
        if kind in ("date", "time") and value.unit is None:
            counted = parse
            parse = lambda raw, what: counted(_milliseconds(raw, what), what)  # noqa: E731
        what = field if value.column in (None, field) else f"{field} ({value.column})"
        aliases = {**self._mapping.aliases.get(field, {}), **self._spec.aliases.get(field, {}), **value.aliases}
        listed = bool(aliases or value.allowed)
        read = value_reader(
            value,
            what,
            aliases,
            value.empty or self._spec.empty,
            parse,
            lambda raw: self._unknown(field, what, raw, value),
        )

        def get(data: Any, about: Map[str, Any], _moment: int) -> Result:
            raw = _raw(value, data, about)
            if raw is MISSING:
                if value.required:
                    raise Bad("missing_value", f"the event has no {what}, which the mapping requires; correct the path")
                return None
            if isinstance(raw, str) or (listed and raw is not None):
                raw = raw.strip() if isinstance(raw, str) else values.text(raw, what)
            return read(raw)

        return get

    def _unknown(self, field: str, what: str, raw: str, value: Value) -> Bad:
        near = nearest(raw, value.allowed)
        self._context.drift.note("unknown_value", self._entity, f"{field}={raw}", raw, near)
        return unknown_value(what, raw, value.allowed, near)


def _fixed(value: Value) -> bool:
    """Whether a field does not come out of the data, so that it cannot be compared with what was there before."""
    return value.constant is not None or value.moment


def _raw(value: Value, data: Any, about: Map[str, Any]) -> Any:
    """The raw value of a path or template; a template is empty when a part of it is."""
    if value.column is not None:
        return look(value.column, data, about)
    joined = ""
    for literal, name, _, _ in Formatter().parse(value.template or ""):
        found = "" if name is None else look(name, data, about)
        if found is MISSING:
            return MISSING
        text = as_text(found)
        if name is not None and not text:
            return None
        joined += literal + (text or "")
    return joined


def _milliseconds(raw: Any, what: str) -> Any:
    """A number in a date or time, which counts milliseconds; `Bad` where it cannot be meant so."""
    if not isinstance(raw, int | Decimal) or isinstance(raw, bool):
        return raw
    if not MILLISECONDS_MIN <= raw < MILLISECONDS_MAX:
        raise Bad(
            "bad_date",
            f"{what} {show(raw)} is no likely number of milliseconds since 1970; say in the mapping what it counts, "
            "with `unit: days`, s, ms, us or ns",
        )
    return raw


def bounded_id(text: str) -> str:
    """An event id as it came, or its digest where it is too long to be one."""
    if len(text) <= ID_CHARS_MAX:
        return text
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
