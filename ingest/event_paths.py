"""Paths of the mapping into an event: `deal.id` into its data, `@subject` into its envelope."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Final

from ingest.mapping import template_columns
from schemas.change import Op
from schemas.mapping import EventMapping, EventOp, Mapping


class Missing:
    """The mark of what a path does not lead to."""


MISSING: Final = Missing()


@dataclass(frozen=True)
class Event:
    """An event of any kind, as the mapping sees it. Times in microseconds since 1970 UTC.

    `data` is what paths lead into and `about` the envelope; `key` is looked into for an id that the data does not have.
    `before`: the data as it was; then only fields that differ are sent. `complete`: the data is the whole record.
    """

    data: Any
    about: Map[str, Any]
    op: Op | None = None
    occurred_at: int | None = None
    version: int | None = None
    sequence: int = 0
    event_id: str | None = None
    key: Any = None
    before: Map[str, Any] | None = None
    complete: bool = False
    match_envelope: bool = field(default=True, kw_only=True)  # whether `match` looks in the envelope without `@` too


def look(path: str, data: Any, about: Map[str, Any]) -> Any:
    """What a path leads to, or `MISSING`."""
    if path.startswith("@"):
        return about.get(path[1:], MISSING)
    return walk(data, path)


def walk(data: Any, path: str) -> Any:
    """Follow a dotted path through objects and lists. A key that holds dots itself is found too, the longest first."""
    if isinstance(data, dict):
        if path in data:
            return data[path]
        at = path.rfind(".")
        while at > 0:
            if path[:at] in data:
                found = walk(data[path[:at]], path[at + 1 :])
                if found is not MISSING:
                    return found
            at = path.rfind(".", 0, at)
    elif isinstance(data, list):
        head, _, rest = path.partition(".")
        if head.isascii() and head.isdigit() and len(head) < 6 and int(head) < len(data):
            item = data[int(head)]
            return walk(item, rest) if rest else item
    return MISSING


def as_text(value: Any) -> str | None:
    """A JSON scalar as it is compared: stripped text; none for null, objects and lists."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value) if isinstance(value, int) else None


def matches(spec: EventMapping, event: Event) -> bool:
    """Whether an entry of the mapping is for this event: each of its paths leads to a value that fits."""
    for path, patterns in spec.match.items():
        if event.match_envelope and path in event.about:
            found = event.about[path]
        else:
            found = look(path, event.data, event.about)
        text = None if found is MISSING else as_text(found)
        if text is None or not any(fnmatchcase(text, pattern) for pattern in patterns):
            return False
    return True


def id_paths(spec: EventMapping) -> tuple[str, ...]:
    """The paths whose values make a record's id."""
    return (spec.id,) if isinstance(spec.id, str) else spec.id or ()


def paths_of(spec: EventMapping) -> frozenset[str]:
    """Every path of an entry, those of `match` apart."""
    paths = [*id_paths(spec), spec.version, spec.event_id]
    paths += [spec.time.column if spec.time else None, spec.op.column if isinstance(spec.op, EventOp) else None]
    for value in spec.fields.values():
        paths += [value.column, *template_columns(value.template or "")]
    return frozenset(path for path in paths if path)


def envelope_names(mapping: Mapping) -> frozenset[str]:
    """The names that the entries of a mapping look up in the envelope: of a webhook, the headers that it needs."""
    paths = [path for spec in mapping.events for path in (*spec.match, *paths_of(spec))]
    return frozenset(path[1:] for path in paths if path.startswith("@"))
