"""A message of the log: one or more changes of one tenant as a JSON array."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Annotated, Any, NotRequired

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic takes typing's own from Python 3.12 on

from schemas.change import INT64_MAX, SEQUENCE_MAX, Change, Entity, Op, Scalar
from schemas.records import DECIMAL_SCALE, FIELDS, Kind

#: Changes in one log message: enough to make per-message costs vanish, few enough to read piece by piece.
MESSAGE_CHANGES = 500
#: Distinct values remembered as checked: dates and amounts repeat, but memory stays bounded.
CHECKED_MAX = 65_536

KindsByEntity = Mapping[str, Mapping[str, Kind]]


class ChangeRow(TypedDict):
    """`schemas.change.Change` as the log holds it: what is left out has its default."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]

    tenant: Annotated[str, Field(min_length=1, max_length=200)]
    source: Annotated[str, Field(min_length=1, max_length=200)]
    entity: Entity
    record_id: Annotated[str, Field(min_length=1, max_length=400)]
    op: Op
    version: Annotated[int, Field(ge=0, le=INT64_MAX)]
    sequence: NotRequired[Annotated[int, Field(ge=0, le=SEQUENCE_MAX)]]
    occurred_at: Annotated[int, Field(ge=0, le=INT64_MAX)]
    event_id: Annotated[str, Field(min_length=1, max_length=400)]
    fields: NotRequired[Annotated[dict[str, Scalar], Field(max_length=500)]]
    nulled: NotRequired[list[str]]


_ROWS: TypeAdapter[list[ChangeRow]] = TypeAdapter(list[ChangeRow])


def encode_changes(changes: Iterable[Change]) -> bytes:
    """A log message: the changes as a JSON array."""
    return join_changes([encode_change(change) for change in changes])


def encode_change(change: Change) -> bytes:
    """One element of a log message."""
    return orjson.dumps(change.model_dump(exclude_defaults=True))


def join_changes(encoded: Iterable[bytes]) -> bytes:
    """A log message of encoded changes."""
    return b"[" + b",".join(encoded) + b"]"


class Packing:
    """Packs encoded changes into log messages, in order: at most MESSAGE_CHANGES in each, and no more than `bytes_max`.

    No `bytes_max`: of any size. A change that is larger by itself has a message of its own.
    """

    def __init__(self, bytes_max: int | None = None) -> None:
        self._bytes_max = bytes_max
        self._begin()

    def _begin(self) -> None:
        self._encoded: list[bytes] = []
        self._size = 1  # the brackets, and a comma before each but the first

    def add(self, encoded: bytes) -> bytes | None:
        """Take in a change. Gives the message that was full before it, if one was."""
        too_large = self._bytes_max is not None and self._size + len(encoded) + 1 > self._bytes_max
        full = self.finish() if len(self._encoded) == MESSAGE_CHANGES or too_large else None
        self._encoded.append(encoded)
        self._size += len(encoded) + 1
        return full

    def finish(self) -> bytes | None:
        """The message in the making, if there is one; it begins anew."""
        message = join_changes(self._encoded) if self._encoded else None
        self._begin()
        return message


def pack_changes(encoded: Iterable[bytes], bytes_max: int | None = None) -> Iterator[bytes]:
    """The log messages of encoded changes, as `Packing` makes them."""
    packing = Packing(bytes_max)
    for change in encoded:
        if (message := packing.add(change)) is not None:
            yield message
    if (message := packing.finish()) is not None:
        yield message


def decode_changes(payload: bytes) -> list[dict[str, Any]]:
    """The changes of a log message, as plain dictionaries (they were validated at the door)."""
    result: list[dict[str, Any]] = orjson.loads(payload)
    return result


def decode_message(
    payload: bytes, *, tenant: str | None = None, extra_fields: KindsByEntity | None = None
) -> list[dict[str, Any]]:
    """The changes of a message that anybody may have written: whatever the fold would stumble over is refused.

    `tenant` is whose changes they must be, if it is given; `extra_fields` is the configuration's `fields`. Raises
    ValueError with a reason for anything that is not a JSON array of valid changes.
    """
    try:
        rows: list[dict[str, Any]] = _ROWS.validate_json(payload)  # type: ignore[assignment]
    except ValidationError as error:
        raise ValueError(_reason(error)) from None
    for index, row in enumerate(rows):
        if tenant is not None and row["tenant"] != tenant:
            raise ValueError(f"change {index} is of the tenant {row['tenant'][:80]!r}, and the key is {tenant[:80]!r}")
        values = row.get("fields")
        if values:
            kinds: Mapping[str, Kind] = FIELDS[row["entity"]]
            if extra_fields is not None and (extra := extra_fields.get(row["entity"])):
                kinds = {**kinds, **extra}
            for name, value in values.items():
                kind = kinds.get(name, "text")
                if kind != "text" and not _fits(kind, value):
                    raise ValueError(f"change {index}: {name[:80]} {str(value)[:80]!r} is not a {kind}")
    return rows


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = first["loc"]
    place = f"change {where[0]}: {'.'.join(str(part) for part in where[1:3])}: " if len(where) > 1 else ""
    return f"{place}{first['msg']}"


@lru_cache(CHECKED_MAX, typed=True)  # typed: 1 and true are equal in Python, not in a log
def _fits(kind: Kind, value: Scalar) -> bool:
    """Whether a column can hold the value as this kind."""
    if kind == "decimal":
        return _is_decimal(value)
    if kind == "flag":
        return isinstance(value, bool) or value in ("true", "false", 0, 1)
    try:
        if kind == "date":
            return isinstance(value, str) and len(value) == 10 and bool(dt.date.fromisoformat(value))
        if kind == "time":
            return isinstance(value, str) and abs(dt.datetime.fromisoformat(value).timestamp()) < INT64_MAX // 1_000_000
    except (ValueError, OverflowError):
        return False
    return True


def _is_decimal(value: Scalar) -> bool:
    """Whether it is a number that fits into 64 bits in units of 1/10,000."""
    if isinstance(value, bool):
        return False
    try:
        number = Decimal(value)
        return number.is_finite() and abs(number) < INT64_MAX // DECIMAL_SCALE
    except InvalidOperation:
        return False
