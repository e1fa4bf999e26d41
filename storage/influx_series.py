"""The series port on InfluxDB, for one tenant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.base import PlanwatchError
from schemas.stack import InfluxConfig
from storage import flux
from storage.influx_names import decode_tag
from storage.influx_reader import InfluxReader
from storage.influx_writer import PointWriter
from storage.points import known_grain
from storage.ports import Point, Record

#: How long a write waits for room, at most, before it takes what it gets.
ROOM_S = 20.0


class InfluxSeries:
    """Points and records of one tenant. A process that only reads has no writer, one that only writes no reader.

    `position` is the log position whose effects are being written; the caller sets it before writing, and tells the
    writer by `advance` when all of that position is written.
    """

    def __init__(
        self,
        settings: InfluxConfig,
        tenant: str,
        *,
        writer: PointWriter | None = None,
        reader: InfluxReader | None = None,
    ) -> None:
        self.position: int | None = None
        self.patient = False  # whether a write waits for room in the buffer, as a replay may
        self._settings, self._tenant, self._writer, self._reader = settings, tenant, writer, reader

    def write(self, grain: str, points: Iterable[Point]) -> None:
        """Give points to the writer; the same identity written again replaces the value.

        Raises ValueError for a value that is not finite, and then takes in none of them.
        """
        writer, items = self._writing(), list(points)
        if self.patient:
            writer.wait_for_room(len(items), ROOM_S)
        writer.add(grain, self._tenant, self.position, items)

    def write_records(self, grain: str, records: Iterable[Record]) -> None:
        """Give records to the writer; the tenant becomes a tag of each. Their tag values are plain texts."""
        self._writing().add(grain, self._tenant, self.position, records)

    def read(self, grain: str, kpi: str, dimension: str, scope: str, period: str, field: str) -> Sequence[Point]:
        """The points of one series, oldest first, with what this process wrote before.

        Raises PlanwatchError when InfluxDB does not answer.
        """
        query = flux.series(self._bucket(grain), self._tenant, kpi, dimension, scope, period, field)
        rows = self._rows(query)
        return [Point(kpi, dimension, scope, period, row["at"] // 1000, field, row["value"]) for row in rows]

    def read_scopes(
        self, grain: str, kpi: str, dimension: str, period: str, field: str, since: int
    ) -> Mapping[str, Sequence[Point]]:
        """Scope → its points from a time on (microseconds UTC), oldest first, with what this process wrote before.

        Raises PlanwatchError when InfluxDB does not answer.
        """
        query = flux.series_of_scopes(self._bucket(grain), self._tenant, kpi, dimension, period, field, since)
        found: dict[str, list[Point]] = {}
        for row in self._rows(query):
            scope = decode_tag(row["scope"])
            point = Point(kpi, dimension, scope, period, row["at"] // 1000, field, row["value"])
            found.setdefault(scope, []).append(point)
        return found

    def _bucket(self, grain: str) -> str:
        return self._settings.live_bucket if known_grain(grain) == "minute" else self._settings.bucket

    def _rows(self, query: str) -> list[dict[str, Any]]:
        settings = self._settings
        if self._reader is None:
            raise PlanwatchError(f"{settings.url}: this process writes points but has no token to read them.")
        if self._writer is not None and not self._writer.flush(settings.timeout_s):
            reason = self._writer.last_error or "the buffer was full"
            raise PlanwatchError(f"{settings.url}: not all points that are to be read are written: {reason}")
        return self._reader.rows(query)

    def trim(self, grain: str, before: int) -> None:
        """Nothing: the retention of the buckets does it."""
        known_grain(grain)

    def clear(self) -> None:
        """Drop everything of this tenant, of every measurement, in both buckets.

        Raises PlanwatchError when InfluxDB does not answer.
        """
        self._writing().clear(self._tenant)

    def _writing(self) -> PointWriter:
        if self._writer is None:
            raise PlanwatchError(f"{self._settings.url}: this process reads points and has no token to write them.")
        return self._writer
