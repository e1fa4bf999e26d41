"""The journal on SQLite: what happens once is recorded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from storage.sqlite_db import Database

SCHEMA = """CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, payload BLOB NOT NULL,
    UNIQUE (kind, key))"""


class SqliteJournal:
    """The journal port on one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, 1, SCHEMA)

    def record(self, kind: str, key: str, payload: bytes) -> bool:
        """Store under (kind, key) unless it is there. True when it was new."""
        return self.record_many(kind, [(key, payload)]) == 1

    def record_many(self, kind: str, records: Iterable[tuple[str, bytes]]) -> int:
        """`record` of each (key, payload), all of them or none; how many were new."""
        sql = "INSERT OR IGNORE INTO journal (kind, key, payload) VALUES (?, ?, ?)"
        with self._db.transaction() as connection:
            return sum(connection.execute(sql, (kind, key, payload)).rowcount for key, payload in records)

    def put(self, kind: str, key: str, payload: bytes) -> None:
        """Store under (kind, key), replacing what was there."""
        self.put_many([(kind, key, payload)])

    def put_many(self, records: Iterable[tuple[str, str, bytes]]) -> None:
        """`put` of each (kind, key, payload), all of them or none."""
        sql = """INSERT INTO journal (kind, key, payload) VALUES (?, ?, ?)
                 ON CONFLICT (kind, key) DO UPDATE SET payload = excluded.payload"""
        with self._db.transaction() as connection:
            connection.executemany(sql, records)

    def get(self, kind: str, key: str) -> bytes | None:
        """What is stored under (kind, key)."""
        rows = self._db.rows("SELECT payload FROM journal WHERE kind=? AND key=?", (kind, key))
        return bytes(rows[0][0]) if rows else None

    def items(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """All of a kind, in the order of first recording."""
        sql = "SELECT key, payload FROM journal WHERE kind=? ORDER BY sequence"
        return iter([(key, payload) for key, payload in self._db.rows(sql, (kind,))])

    def since(self, kind: str, number: int) -> Iterator[tuple[int, str, bytes]]:
        """(number, key, payload) of a kind, first recorded after a number, in that order."""
        # The plus keeps SQLite from reading all of the kind by its index.
        sql = "SELECT sequence, key, payload FROM journal WHERE sequence>? AND +kind=? ORDER BY sequence"
        return iter([(int(n), key, bytes(payload)) for n, key, payload in self._db.rows(sql, (number, kind))])

    def delete(self, kind: str, keys: Iterable[str]) -> None:
        """Forget these."""
        with self._db.transaction() as connection:
            connection.executemany("DELETE FROM journal WHERE kind=? AND key=?", [(kind, key) for key in keys])

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
