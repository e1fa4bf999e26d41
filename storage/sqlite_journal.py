"""The journal on SQLite: what happens once is recorded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from storage.sqlite_db import Database

#: Records that are read at a time; each may hold a request of 1 MiB.
PAGE_ROWS = 64
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
        """All of a kind, in the order of first recording. A page is in memory at a time, and the numbers of all."""
        # The index alone gives the numbers: a kind with few records costs little beside one with many.
        numbers = [n for (n,) in self._db.rows("SELECT sequence FROM journal WHERE kind=? ORDER BY sequence", (kind,))]
        return self._paged(kind, numbers)

    def _paged(self, kind: str, numbers: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        sql = "SELECT key, payload FROM journal WHERE sequence BETWEEN ? AND ? AND +kind=? ORDER BY sequence"
        for at in range(0, len(numbers), PAGE_ROWS):
            page = numbers[at : at + PAGE_ROWS]
            yield from ((key, bytes(payload)) for key, payload in self._db.rows(sql, (page[0], page[-1], kind)))

    def since(self, kind: str, number: int) -> Iterator[tuple[int, str, bytes]]:
        """(number, key, payload) of a kind, first recorded after a number, in that order.

        A page is in memory at a time. What is recorded while it is read is left out.
        """
        return self._since(kind, number, self._db.rows("SELECT max(sequence) FROM journal")[0][0] or 0)

    def _since(self, kind: str, number: int, end: int) -> Iterator[tuple[int, str, bytes]]:
        # The plus keeps SQLite from reading all of the kind by its index.
        sql = """SELECT sequence, key, payload FROM journal WHERE sequence>? AND sequence<=? AND +kind=?
                 ORDER BY sequence LIMIT ?"""
        while page := self._db.rows(sql, (number, end, kind, PAGE_ROWS)):
            yield from ((int(n), key, bytes(payload)) for n, key, payload in page)
            number = page[-1][0]

    def delete(self, kind: str, keys: Iterable[str]) -> None:
        """Forget these."""
        with self._db.transaction() as connection:
            connection.executemany("DELETE FROM journal WHERE kind=? AND key=?", [(kind, key) for key in keys])

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
