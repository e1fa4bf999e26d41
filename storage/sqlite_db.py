"""One way to open an SQLite file: write-ahead log, fsync at commit, writers wait, a format version."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.base import PlanwatchError

BUSY_TIMEOUT_S = 30.0


class Database:
    """A connection that several threads may share; each transaction holds the lock.

    Other processes may read at any time; one that wants to write waits up to BUSY_TIMEOUT_S for its turn. What a user
    can mend (a full disk, a damaged or a locked file) is raised as PlanwatchError.
    """

    def __init__(self, path: Path, version: int, schema: str, *, derived: bool = False) -> None:
        """`derived`: what the file holds can be made anew from the log, so a file of an older format is emptied."""
        self.path = path
        self._derived = derived
        self._lock = threading.RLock()
        with self._explained("cannot be opened as a Planwatch store"):
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained("cannot be opened as a Planwatch store"):
                self._prepare(version, schema)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, version: int, schema: str) -> None:
        self._write_ahead()
        if self._version() == 0:
            self._create(version, schema)
        if self._derived and self._version() < version:
            self._empty()
            self._create(version, schema)
        found = self._version()
        if found > version:
            raise PlanwatchError(
                f"{self.path}: written by a newer Planwatch (format {found}, this one knows {version}). Upgrade it."
            )
        if found < version:
            raise PlanwatchError(f"{self.path}: has the old format {found}; this Planwatch reads {version}.")
        # FULL: in WAL mode anything less returns from a commit before it is on the disk.
        self._connection.execute("PRAGMA synchronous=FULL")

    def _write_ahead(self) -> None:
        # SQLite does not wait for its turn here: of two processes that open a new file at once, one is refused.
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _create(self, version: int, schema: str) -> None:
        # Tables first, under the lock that decides between two processes that create the file at the same time.
        with self.transaction() as connection:
            if self._version():
                return
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise PlanwatchError(f"{self.path}: is an SQLite file of something else. Move it away.")
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={version}")

    def _empty(self) -> None:
        with self.transaction() as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                connection.execute(f'DROP TABLE "{name}"')
            connection.execute("PRAGMA user_version=0")

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a mistake of ours
        except sqlite3.DatabaseError as error:
            raise PlanwatchError(f"{self.path}: {what}: {error}.") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: durable when it is left, undone when an error leaves it."""
        with self._lock, self._explained("cannot be written"):
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock, self._explained("cannot be read"):
            return self._connection.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Let go of the file. Closing twice is allowed."""
        with self._lock:
            self._connection.close()
