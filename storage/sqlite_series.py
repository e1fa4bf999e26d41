"""Time series on SQLite: absolute points under a fixed identity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from storage.points import finite, known_grain
from storage.ports import Point
from storage.sqlite_db import Database

SCHEMA = """CREATE TABLE point (
    grain TEXT, kpi TEXT, dimension TEXT, scope TEXT, period TEXT, field TEXT, bucket INTEGER, value REAL NOT NULL,
    PRIMARY KEY (grain, kpi, dimension, scope, period, field, bucket)) WITHOUT ROWID;
CREATE INDEX point_by_time ON point (grain, bucket)"""  # what trim looks for


class SqliteSeries:
    """The series port on one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, 1, SCHEMA)

    def write(self, grain: str, points: Iterable[Point]) -> None:
        """Store points, all or none; the same identity written again replaces the value.

        Raises ValueError for a value that is not finite.
        """
        known_grain(grain)
        rows = ((grain, p.kpi, p.dimension, p.scope, p.period, p.field, p.bucket, finite(p).value) for p in points)
        with self._db.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def read(self, grain: str, kpi: str, dimension: str, scope: str, period: str, field: str) -> Sequence[Point]:
        """The points of one series, oldest first."""
        sql = """SELECT bucket, value FROM point WHERE grain=? AND kpi=? AND dimension=? AND scope=? AND period=?
                 AND field=? ORDER BY bucket"""
        rows = self._db.rows(sql, (known_grain(grain), kpi, dimension, scope, period, field))
        return [Point(kpi, dimension, scope, period, bucket, field, value) for bucket, value in rows]

    def trim(self, grain: str, before: int) -> None:
        """Drop the points of a grain that lie before a time."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM point WHERE grain=? AND bucket<?", (known_grain(grain), before))

    def clear(self) -> None:
        """Drop everything."""
        with self._db.transaction() as connection:
            connection.execute("DELETE FROM point")

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
