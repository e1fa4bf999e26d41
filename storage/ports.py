"""The ports. Each has a contract test that every adapter passes, the in-memory one too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Entry(NamedTuple):
    """A message of the log: its position and one or more changes of one tenant as a JSON array."""

    position: int
    payload: bytes


class Message(NamedTuple):
    """A message of the log, decoded: its position and its changes as plain dictionaries."""

    position: int
    changes: list[dict[str, Any]]


class Log(Protocol):
    """The truth: append-only, ordered."""

    def append(self, payloads: Sequence[bytes]) -> int:
        """Store the messages in order; durable when it returns. Gives the last position."""
        ...

    def read(self, after: int, limit: int = 1000) -> Sequence[Entry]:
        """At most `limit` messages after a position (0: from the start), in order, without a gap."""
        ...

    def end(self) -> int:
        """The last position; 0 when empty."""
        ...

    def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until there is a message after a position. False when time is up."""
        ...


class Point(NamedTuple):
    """An absolute value under a fixed identity. `bucket` is microseconds UTC, the start of a minute or day."""

    kpi: str
    dimension: str
    scope: str
    period: str
    bucket: int
    field: str  # "value" for a KPI; actual, target, expected, landing_p50, ... for a target
    value: float


class Series(Protocol):
    """KPI and target time series at two grains: "minute" and "day"."""

    def write(self, grain: str, points: Iterable[Point]) -> None:
        """Store points; the same identity written again replaces the value."""
        ...

    def read(self, grain: str, kpi: str, dimension: str, scope: str, period: str, field: str) -> Sequence[Point]:
        """The points of one series, oldest first."""
        ...

    def read_scopes(
        self, grain: str, kpi: str, dimension: str, period: str, field: str, since: int
    ) -> Mapping[str, Sequence[Point]]:
        """Scope → its points from a time on (microseconds UTC, with it), oldest first: all scopes in one question.

        A scope without such points is left out.
        """
        ...

    def trim(self, grain: str, before: int) -> None:
        """Drop the points of a grain that lie before a time."""
        ...

    def clear(self) -> None:
        """Drop everything (before a rebuild)."""
        ...


class Record(NamedTuple):
    """What boards show beside numbers, under a fixed identity (measurement, tags, at): written again, it is replaced."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | int | str | bool]
    at: int  # microseconds UTC


class Records(Protocol):
    """Where records for boards go, at the grains of the series."""

    def write_records(self, grain: str, records: Iterable[Record]) -> None:
        """Store records; the same identity written again replaces the fields that it names."""
        ...


class Snapshots(Protocol):
    """State with its log position."""

    def save(self, position: int, payload: bytes) -> None:
        """Store atomically; an earlier snapshot stays until this one is safe."""
        ...

    def latest(self) -> tuple[int, bytes] | None:
        """The newest snapshot that verifies, or none."""
        ...


class Journal(Protocol):
    """Things that happen once: a record under a key."""

    def record(self, kind: str, key: str, payload: bytes) -> bool:
        """Store under (kind, key) unless it is there. True when it was new."""
        ...

    def put(self, kind: str, key: str, payload: bytes) -> None:
        """Store under (kind, key), replacing what was there."""
        ...

    def put_many(self, records: Iterable[tuple[str, str, bytes]]) -> None:
        """`put` of each (kind, key, payload), all of them or none."""
        ...

    def get(self, kind: str, key: str) -> bytes | None:
        """What is stored under (kind, key)."""
        ...

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """All of a kind, in the order of first recording."""
        ...

    def since(self, kind: str, number: int) -> Iterator[tuple[int, str, bytes]]:
        """(number, key, payload) of a kind, first recorded after a number (0: all), in that order. Numbers only grow."""
        ...

    def delete(self, kind: str, keys: Iterable[str]) -> None:
        """Forget these."""
        ...
