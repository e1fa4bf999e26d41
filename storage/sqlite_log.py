"""The log on SQLite: append-only, positions from 1 without a gap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from storage.ports import Entry
from storage.sqlite_db import Database


class SqliteLog:
    """The log port on one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, 1, "CREATE TABLE log (position INTEGER PRIMARY KEY, payload BLOB NOT NULL)")

    def append(self, payloads: Sequence[bytes]) -> int:
        """Store the messages in order; durable when it returns. Gives the last position."""
        with self._db.transaction() as connection:
            (last,) = connection.execute("SELECT coalesce(max(position), 0) FROM log").fetchone()
            connection.executemany("INSERT INTO log VALUES (?, ?)", list(enumerate(payloads, last + 1)))
        return int(last) + len(payloads)

    def read(self, after: int, limit: int = 1000) -> Sequence[Entry]:
        """At most `limit` messages after a position, in order."""
        sql = "SELECT position, payload FROM log WHERE position > ? ORDER BY position LIMIT ?"
        return [Entry(int(p), bytes(b)) for p, b in self._db.rows(sql, (after, limit))]  # type: ignore[call-overload]

    def end(self) -> int:
        """The last position; 0 when empty."""
        return int(self._db.rows("SELECT coalesce(max(position), 0) FROM log")[0][0])  # type: ignore[call-overload]

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
