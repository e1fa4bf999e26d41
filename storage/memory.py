"""The ports in memory, for tests and rehearsals: nothing survives the process."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

from storage.points import finite, known_grain
from storage.ports import Entry, Point


class MemoryLog:
    """The log port on a list."""

    def __init__(self) -> None:
        self._payloads: list[bytes] = []
        self._grown = threading.Condition()

    def append(self, payloads: Sequence[bytes]) -> int:
        """Store the messages in order. Gives the last position."""
        with self._grown:
            self._payloads += [bytes(payload) for payload in payloads]
            self._grown.notify_all()
            return len(self._payloads)

    def read(self, after: int, limit: int = 1000) -> Sequence[Entry]:
        """At most `limit` messages after a position, in order."""
        first = max(after, 0)
        return [Entry(first + 1 + i, p) for i, p in enumerate(self._payloads[first : first + max(limit, 0)])]

    def end(self) -> int:
        """The last position; 0 when empty."""
        return len(self._payloads)

    def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until there is a message after a position. False when time is up."""
        with self._grown:
            return self._grown.wait_for(lambda: len(self._payloads) > after, timeout_s)


class MemorySeries:
    """The series port on a dictionary."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str, str, str, str], dict[int, float]] = {}
        self._lock = threading.Lock()

    def write(self, grain: str, points: Iterable[Point]) -> None:
        """Store points, all or none; the same identity written again replaces the value.

        Raises ValueError for a value that is not finite.
        """
        known_grain(grain)
        checked = [finite(point) for point in points]
        with self._lock:
            for p in checked:
                key = (grain, p.kpi, p.dimension, p.scope, p.period, p.field)
                self._series.setdefault(key, {})[p.bucket] = float(p.value)

    def read(self, grain: str, kpi: str, dimension: str, scope: str, period: str, field: str) -> Sequence[Point]:
        """The points of one series, oldest first."""
        with self._lock:
            values = sorted(self._series.get((known_grain(grain), kpi, dimension, scope, period, field), {}).items())
        return [Point(kpi, dimension, scope, period, bucket, field, value) for bucket, value in values]

    def read_scopes(
        self, grain: str, kpi: str, dimension: str, period: str, field: str, since: int
    ) -> Mapping[str, Sequence[Point]]:
        """Scope → its points from a time on, oldest first; scopes without such points are left out."""
        wanted = (known_grain(grain), kpi, dimension, period, field)
        with self._lock:
            scopes = [scope for g, k, d, scope, p, f in self._series if (g, k, d, p, f) == wanted]
        found = {scope: self.read(grain, kpi, dimension, scope, period, field) for scope in scopes}
        recent = {scope: [p for p in points if p.bucket >= since] for scope, points in found.items()}
        return {scope: points for scope, points in recent.items() if points}

    def trim(self, grain: str, before: int) -> None:
        """Drop the points of a grain that lie before a time."""
        known_grain(grain)
        with self._lock:
            for key, values in self._series.items():
                if key[0] == grain:
                    self._series[key] = {bucket: value for bucket, value in values.items() if bucket >= before}

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._series.clear()


class MemorySnapshots:
    """The snapshots port on a dictionary."""

    def __init__(self) -> None:
        self._payloads: dict[int, bytes] = {}

    def save(self, position: int, payload: bytes) -> None:
        """Store the state at a position."""
        self._payloads[position] = bytes(payload)

    def latest(self) -> tuple[int, bytes] | None:
        """The snapshot with the highest position, or none."""
        return max(self._payloads.items(), default=None)

    def clear(self) -> None:
        """Drop everything (before a rebuild)."""
        self._payloads.clear()


class MemoryJournal:
    """The journal port on a dictionary, which keeps the order of first recording."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._next = 1
        self._lock = threading.Lock()

    def record(self, kind: str, key: str, payload: bytes) -> bool:
        """Store under (kind, key) unless it is there. True when it was new."""
        with self._lock:
            if (kind, key) in self._records:
                return False
            self._put(kind, key, payload)
            return True

    def record_many(self, kind: str, records: Iterable[tuple[str, bytes]]) -> int:
        """`record` of each (key, payload); how many were new."""
        return sum(self.record(kind, key, payload) for key, payload in records)

    def put(self, kind: str, key: str, payload: bytes) -> None:
        """Store under (kind, key), replacing what was there."""
        self.put_many([(kind, key, payload)])

    def put_many(self, records: Iterable[tuple[str, str, bytes]]) -> None:
        """`put` of each (kind, key, payload), all of them or none."""
        items = list(records)
        with self._lock:
            for kind, key, payload in items:
                self._put(kind, key, payload)

    def get(self, kind: str, key: str) -> bytes | None:
        """What is stored under (kind, key)."""
        found = self._records.get((kind, key))
        return None if found is None else found[1]

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """All of a kind, in the order of first recording."""
        return ((key, payload) for _, key, payload in self.since(kind, 0))

    def since(self, kind: str, number: int) -> Iterator[tuple[int, str, bytes]]:
        """(number, key, payload) of a kind, first recorded after a number, in that order."""
        with self._lock:
            return iter([(n, key, p) for (of, key), (n, p) in self._records.items() if of == kind and n > number])

    def delete(self, kind: str, keys: Iterable[str]) -> None:
        """Forget these."""
        with self._lock:
            for key in list(keys):
                self._drop(kind, key)

    def _drop(self, kind: str, key: str) -> bool:
        """Forget a record; whether there was one."""
        return self._records.pop((kind, key), None) is not None

    def _put(self, kind: str, key: str, payload: bytes) -> int:
        """Store a record under its number: the one it has, or the next. Returns the number."""
        old = self._records.get((kind, key))
        number = old[0] if old else self._next
        self._next += old is None
        self._records[kind, key] = (number, bytes(payload))
        return number
