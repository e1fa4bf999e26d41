"""What a person can do about a finding: the line for the mapping or planwatch.yaml, until the configuration answers it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from ingest.drift import nearest
from ingest.mapping import id_columns, named_columns, needed_columns
from schemas.config import Config
from schemas.events import DriftEvent
from schemas.mapping import EventMapping, FileMapping, Mapping, Value
from schemas.records import FIELDS

CONFIG = "planwatch.yaml"
_EVENTS = re.compile(r"events\[(\d+)\]")
Spec = FileMapping | EventMapping


class Advice(NamedTuple):
    """What is known of a finding, in a sentence, and a line that would answer it: in which file, and what."""

    text: str
    where: str
    line: str


def advice(event: DriftEvent, config: Config, mapping: Mapping, mapping_file: str) -> Advice | None:
    """What to do about a finding; none where the configuration knows by now, or nothing needs to be done."""
    make = {
        "unknown_stage": _stage,
        "unknown_value": _value,
        "unknown_field": _unknown_field,
        "missing_field": _missing_field,
    }
    return make[event.kind](event, config, mapping, mapping_file)


def _stage(event: DriftEvent, config: Config, mapping: Mapping, mapping_file: str) -> Advice | None:
    stage = event.name.partition("=")[2]
    names = [known.name for known in config.stages]
    if stage in names:
        return None
    near = nearest(stage, names)
    meant = f", or in {mapping_file} `aliases: {{stage: {{{quoted(stage)}: {quoted(near)}}}}}`" if near else ""
    return Advice(
        f"the stage {quoted(stage)} is not among `stages`; its deals are kept and count in no KPI until it is",
        CONFIG,
        f"stages: - {{name: {quoted(stage)}, kind: open, probability: 50}}{meant}",
    )


def _value(event: DriftEvent, config: Config, mapping: Mapping, mapping_file: str) -> Advice | None:
    field, _, value = event.name.partition("=")
    using = [spec for spec in _specs(mapping, event.entity) if _lists(spec, field)]
    if using and not any(_refuses(mapping, spec, field, value) for spec in using):
        return None
    if not using and value in mapping.aliases.get(field, {}):
        return None
    expected = any(isinstance(spec, FileMapping) and field in spec.expect for spec in using)
    near = event.near or nearest(value, [known for spec in using for known in _known(spec, field)])
    if expected:
        line = f"expect: {{{quoted(field)}: [{quoted(value)}]}} beside those that are there"
    else:
        line = f"aliases: {{{field}: {{{quoted(value)}: {quoted(near) if near else 'WHAT IT MEANS'}}}}}"
    return Advice(f"{field} {quoted(value)} of {event.entity} is not a known value", mapping_file, line)


def _unknown_field(event: DriftEvent, config: Config, mapping: Mapping, mapping_file: str) -> Advice | None:
    name, field = _object_and_field(event.name)
    named = any(
        field in custom.fields or (custom.ignore and given == name) for given, custom in mapping.entities.items()
    )
    near = event.near or nearest(field, FIELDS[event.entity])
    # Fields that nobody maps are no news; one that is called as one of ours is called may be meant to be mapped.
    if named or not near or field in mapping.history.fields:
        return None
    line = f"entities: {{{name}: {{fields: {{{quoted(field)}: {near}}}}}}}"
    return Advice(f"{event.name} is not mapped, and looks like {near} of {event.entity}", mapping_file, line)


def _missing_field(event: DriftEvent, config: Config, mapping: Mapping, mapping_file: str) -> Advice | None:
    name, field = _object_and_field(event.name)
    numbered = _EVENTS.fullmatch(name)
    if numbered:
        return _missing_path(event, int(numbered[1]), field, mapping, mapping_file)
    if any(event.name in named_columns(spec) for spec in mapping.files):
        return _missing_column(event, mapping, mapping_file)
    custom = mapping.entities.get(name)
    ours = event.example.strip('"')
    if not name or (custom and (custom.ignore or (field not in custom.fields and ours in custom.fields.values()))):
        return None
    line = f"entities: {{{name}: {{fields: {{{quoted(event.near or 'ITS NEW NAME')}: {ours}}}}}}}"
    return Advice(f"{event.name} ({ours} of {event.entity}) does not come any more{_likely(event)}", mapping_file, line)


def _missing_path(event: DriftEvent, index: int, path: str, mapping: Mapping, mapping_file: str) -> Advice | None:
    fields = mapping.events[index].fields if index < len(mapping.events) else {}
    for ours, value in fields.items():
        if value.column == path and not value.optional:
            line = f"events[{index}].fields: {{{ours}: {quoted(event.near or 'ITS NEW PATH')}}}"
            text = f"{path} ({ours} of {event.entity}) does not come any more{_likely(event)}"
            return Advice(text, mapping_file, line)
    return None


def _missing_column(event: DriftEvent, mapping: Mapping, mapping_file: str) -> Advice | None:
    column = event.name
    for spec in mapping.files:
        if spec.entity == event.entity and column in (named_columns(spec) if event.near else needed_columns(spec)):
            new = quoted(event.near or "ITS NEW NAME")
            text = f"the column {quoted(column)} of {spec.match} is missing{_likely(event)}"
            return Advice(text, mapping_file, f"files, {spec.match}: {_use(spec, column, new)}")
    return None


def _use(spec: FileMapping, column: str, new: str) -> str:
    """How an entry names a column, with its new name."""
    for field, value in spec.fields.items():
        if value.column == column:
            plain = value == Value(column=column)
            return (
                f"fields: {{{field}: {new}}}" if plain else f"fields: {{{field}: {{column: {new}}}}}, the rest as it is"
            )
    for milestone in spec.milestones:
        if milestone.date == column:
            return f"milestones, {milestone.name}: date: {new}"
    return f"id: {new}" if column in id_columns(spec) else f"{new} instead of {quoted(column)}"


def _likely(event: DriftEvent) -> str:
    return f"; it was likely renamed to {quoted(event.near)}" if event.near else ""


def _object_and_field(name: str) -> tuple[str, str]:
    """A field's name with its object's before it; a column of a file has none."""
    head, dot, rest = name.partition(".")
    return (head, rest) if dot else ("", head)


def _specs(mapping: Mapping, entity: str) -> Iterator[Spec]:
    specs: tuple[Spec, ...] = (*mapping.files, *mapping.events)
    return (spec for spec in specs if spec.entity == entity)


def _values(spec: Spec, field: str) -> list[Value]:
    found = [spec.fields[field]] if field in spec.fields else []
    if isinstance(spec, FileMapping):
        found += [milestone.set[field] for milestone in spec.milestones if field in milestone.set]
        found += [spec.undated.set[field]] if field in spec.undated.set else []
    return found


def _known(spec: Spec, field: str) -> list[str]:
    """The values that an entry takes for a field or column, where it lists them."""
    listed = list(spec.expect.get(field, ())) if isinstance(spec, FileMapping) else []
    return listed + [known for value in _values(spec, field) for known in value.allowed]


def _lists(spec: Spec, field: str) -> bool:
    return bool(_known(spec, field))


def _refuses(mapping: Mapping, spec: Spec, field: str, value: str) -> bool:
    if isinstance(spec, FileMapping) and field in spec.expect and value not in spec.expect[field]:
        return True
    above = {**mapping.aliases.get(field, {}), **spec.aliases.get(field, {})}
    return any(
        used.allowed and {**above, **used.aliases}.get(value, value) not in used.allowed
        for used in _values(spec, field)
    )


def quoted(text: str) -> str:
    """A text as YAML reads it in any place, on one line."""
    return json.dumps(text, ensure_ascii=not text.isprintable())
