"""The log on SQLite: append-only, positions from 1 without a gap."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from storage.ports import Entry
from storage.sqlite_db import Database

#: How often a waiting reader looks for what another process has written.
POLL_S = 0.05


class SqliteLog:
    """The log port on one SQLite file. Several processes may append and read."""

    def __init__(self, path: Path) -> None:
        self._db = Database(path, 1, "CREATE TABLE log (position INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
        self._grown = threading.Condition()

    def append(self, payloads: Sequence[bytes]) -> int:
        """Store the messages in order; durable when it returns. Gives the last position."""
        if not payloads:
            return self.end()
        with self._db.transaction() as connection:
            (last,) = connection.execute("SELECT coalesce(max(position), 0) FROM log").fetchone()
            connection.executemany("INSERT INTO log VALUES (?, ?)", enumerate(payloads, last + 1))
        with self._grown:
            self._grown.notify_all()
        return int(last) + len(payloads)

    def read(self, after: int, limit: int = 1000) -> Sequence[Entry]:
        """At most `limit` messages after a position, in order."""
        sql = "SELECT position, payload FROM log WHERE position > ? ORDER BY position LIMIT ?"
        return [Entry(*row) for row in self._db.rows(sql, (after, max(limit, 0)))]

    def end(self) -> int:
        """The last position; 0 when empty."""
        return int(self._db.rows("SELECT coalesce(max(position), 0) FROM log")[0][0])

    def wait(self, after: int, timeout_s: float) -> bool:
        """Wait until there is a message after a position, from this process or another. False when time is up."""
        deadline = time.monotonic() + timeout_s
        with self._grown:
            while self.end() <= after:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._grown.wait(min(POLL_S, left))
        return True

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
