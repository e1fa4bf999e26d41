"""The ports. Each has a contract test that every adapter passes, the in-memory one too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from schemas.base import PlanwatchError


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

    def record_many(self, kind: str, records: Iterable[tuple[str, bytes]]) -> int:
        """`record` of each (key, payload), durable when it returns; how many were new."""
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


class RefetchFailed(PlanwatchError):
    """A record cannot be had now; the sentence says what to do.

    `kind`: unauthorised (renew the token), forbidden or refused (mend rights or configuration), absent (there is no such
    object), limited (the CRM asks to wait), unavailable (it does not answer).
    """

    def __init__(
        self, kind: Literal["unauthorised", "forbidden", "refused", "absent", "limited", "unavailable"], text: str
    ) -> None:
        super().__init__(text)
        self.kind = kind


class Refetch(Protocol):
    """Records as the CRM has them now, for changes that it could not describe. Fields under the CRM's own names."""

    def fetch(self, object_name: str, record_id: str) -> Mapping[str, Any] | None:
        """The current version of a record; none when it is gone. Raises RefetchFailed."""
        ...

    def fetch_all(self, object_name: str) -> Iterator[Mapping[str, Any]]:
        """Every record of an object that is not deleted, a page in memory at a time. Raises RefetchFailed."""
        ...


class ReplayExpired(Exception):
    """The events after a replay id are kept no longer."""


class ChannelEvent(NamedTuple):
    """An event of a channel: where to go on after it, and the event as the salesforce door takes it."""

    replay_id: bytes  # opaque: not to be compared, and of any length
    body: bytes  # empty: nothing happened, but this is where to go on


class ChangeChannel(Protocol):
    """A subscription to change events."""

    def subscribe(self, channel: str, replay_id: bytes | None) -> Iterator[ChannelEvent]:
        """The events of a channel after a replay id (none: those that happen from now on), as they come.

        Raises ReplayExpired before the first event where the id is too old, RefetchFailed where it cannot be had now.
        The iterator ends when the other side closes.
        """
        ...
