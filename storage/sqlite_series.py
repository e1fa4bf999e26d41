"""Time series on SQLite: absolute points under a fixed identity."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from storage.points import GRAINS, finite, known_grain
from storage.ports import Point
from storage.sqlite_db import Database

#: Each series has a number, so that a point is three small columns and not eight wide ones.
SCHEMA = """CREATE TABLE series (
    id INTEGER PRIMARY KEY, kpi TEXT, dimension TEXT, scope TEXT, period TEXT, field TEXT,
    UNIQUE (kpi, dimension, scope, period, field));
CREATE TABLE minute (series INTEGER, bucket INTEGER, value REAL NOT NULL, PRIMARY KEY (series, bucket)) WITHOUT ROWID;
CREATE TABLE day (series INTEGER, bucket INTEGER, value REAL NOT NULL, PRIMARY KEY (series, bucket)) WITHOUT ROWID"""

Identity = tuple[str, str, str, str, str]
NUMBER = "SELECT id FROM series WHERE kpi=? AND dimension=? AND scope=? AND period=? AND field=?"


class SqliteSeries:
    """The series port on one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, 2, SCHEMA, derived=True)
        self._numbers: dict[Identity, int] = {}

    def write(self, grain: str, points: Iterable[Point]) -> None:
        """Store points, all or none; the same identity written again replaces the value.

        Raises ValueError for a value that is not finite.
        """
        table = known_grain(grain)
        checked = [finite(point) for point in points]
        with self._db.transaction() as connection:
            try:
                rows = [
                    (self._number(connection, (p.kpi, p.dimension, p.scope, p.period, p.field)), p.bucket, p.value)
                    for p in checked
                ]
                connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", rows)  # noqa: S608
            except BaseException:
                self._numbers.clear()  # those given in a transaction that is undone do not exist
                raise

    def _number(self, connection: sqlite3.Connection, identity: Identity) -> int:
        number = self._numbers.get(identity)
        if number is None:
            sql = "INSERT OR IGNORE INTO series (kpi, dimension, scope, period, field) VALUES (?, ?, ?, ?, ?)"
            connection.execute(sql, identity)
            (number,) = connection.execute(NUMBER, identity).fetchone()
            self._numbers[identity] = number
        return number

    def read(self, grain: str, kpi: str, dimension: str, scope: str, period: str, field: str) -> Sequence[Point]:
        """The points of one series, oldest first."""
        sql = f"SELECT bucket, value FROM {known_grain(grain)} WHERE series=({NUMBER}) ORDER BY bucket"  # noqa: S608
        rows = self._db.rows(sql, (kpi, dimension, scope, period, field))
        return [Point(kpi, dimension, scope, period, bucket, field, value) for bucket, value in rows]

    def read_scopes(
        self, grain: str, kpi: str, dimension: str, period: str, field: str, since: int
    ) -> Mapping[str, Sequence[Point]]:
        """Scope → its points from a time on, oldest first; scopes without such points are left out."""
        table = known_grain(grain)
        sql = (
            f"SELECT scope, bucket, value FROM series JOIN {table} ON series=id "  # noqa: S608
            "WHERE kpi=? AND dimension=? AND period=? AND field=? AND bucket>=? ORDER BY scope, bucket"
        )
        found: dict[str, list[Point]] = {}
        for scope, bucket, value in self._db.rows(sql, (kpi, dimension, period, field, since)):
            point = Point(kpi, dimension, scope, period, bucket, field, value)
            found.setdefault(scope, []).append(point)
        return found

    def trim(self, grain: str, before: int) -> None:
        """Drop the points of a grain that lie before a time."""
        with self._db.transaction() as connection:
            connection.execute(f"DELETE FROM {known_grain(grain)} WHERE bucket<?", (before,))  # noqa: S608

    def clear(self) -> None:
        """Drop everything. Series keep their numbers: another process may have learnt them."""
        with self._db.transaction() as connection:
            for grain in GRAINS:
                connection.execute(f"DELETE FROM {grain}")  # noqa: S608

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
