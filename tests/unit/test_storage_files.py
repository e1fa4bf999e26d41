"""What can happen to files: damage, crashes, a full disk, other processes, other programs."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from schemas.base import PlanwatchError
from storage.file_snapshots import FileSnapshots
from storage.lease import Lease
from storage.ports import Entry, Point
from storage.sqlite_journal import SqliteJournal
from storage.sqlite_log import SqliteLog
from storage.sqlite_series import SqliteSeries

ROOT = Path(__file__).parents[2]
SQLITE_STORES = (SqliteLog, SqliteSeries, SqliteJournal)


class TestFileSnapshots:
    """What can happen to files."""

    @staticmethod
    def saved(folder: Path) -> list[Path]:
        store = FileSnapshots(folder)
        for position in (1, 2, 3):
            store.save(position, b"state %d" % position)
        return sorted(folder.iterdir())

    def test_two_are_kept(self, tmp_path: Path) -> None:
        """The two newest stay, with nothing beside them; what a crash left aside goes with the next save."""
        (tmp_path / "00000000000000000001.partial").write_bytes(b"half")
        assert [int(path.stem) for path in self.saved(tmp_path)] == [2, 3]

    @pytest.mark.parametrize("at", range(0, 60, 3))
    def test_a_flipped_bit_is_noticed(self, tmp_path: Path, at: int) -> None:
        """Wherever the newest is damaged, the one before it is taken."""
        newest = self.saved(tmp_path)[-1]
        content = bytearray(newest.read_bytes())
        content[at] ^= 1
        newest.write_bytes(content)
        assert FileSnapshots(tmp_path).latest() == (2, b"state 2")

    @pytest.mark.parametrize("length", [0, 1, 25, 26, 57, 58, 64])
    def test_a_truncated_file_is_noticed(self, tmp_path: Path, length: int) -> None:
        """Wherever the newest ends too early, the one before it is taken; without a good one there is none."""
        older, newest = self.saved(tmp_path)
        newest.write_bytes(newest.read_bytes()[:length])
        assert FileSnapshots(tmp_path).latest() == (2, b"state 2")
        older.write_bytes(b"")
        assert FileSnapshots(tmp_path).latest() is None

    def test_a_snapshot_is_never_half_written(self, tmp_path: Path) -> None:
        """Saving at the same position again puts a new file in place; who reads the old one reads it whole."""
        store = FileSnapshots(tmp_path)
        store.save(1, b"old")
        with next(tmp_path.iterdir()).open("rb") as file:
            store.save(1, b"new and longer")
            assert file.read().endswith(b"old")
        assert store.latest() == (1, b"new and longer")

    def test_other_files_are_left_alone(self, tmp_path: Path) -> None:
        """A stranger's file in the folder is neither read nor removed."""
        (tmp_path / "notes.snapshot").write_text("mine")
        assert len(self.saved(tmp_path)) == 3
        assert FileSnapshots(tmp_path).latest() == (3, b"state 3")

    def test_clearing(self, tmp_path: Path) -> None:
        """A rebuild starts from nothing."""
        self.saved(tmp_path)
        store = FileSnapshots(tmp_path)
        store.clear()
        assert store.latest() is None

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        """The error says which file."""
        store = FileSnapshots(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        with pytest.raises(PlanwatchError, match=r"gone.*snapshot cannot be written"):
            store.save(1, b"")


def append_as_process(path: Path, name: str) -> list[int]:
    store = SqliteLog(path)
    try:
        return [store.append([f"{name}:{i}".encode()] * 2) for i in range(20)]
    finally:
        store.close()


class TestSqliteFiles:
    """What can happen to SQLite files."""

    @pytest.mark.parametrize("store", SQLITE_STORES)
    def test_durability_is_switched_on(self, store: type[SqliteLog], tmp_path: Path) -> None:
        """A commit is on the disk when it returns, and readers do not wait for writers."""
        database = store(tmp_path / "x.sqlite")._db
        assert database.rows("PRAGMA synchronous") == [(2,)]
        assert database.rows("PRAGMA journal_mode") == [("wal",)]

    def test_everything_is_there_after_reopening(self, tmp_path: Path) -> None:
        """Log, series and journal go on where they stopped."""
        for i in (1, 2):
            log = SqliteLog(tmp_path / "log")
            series, journal = SqliteSeries(tmp_path / "series"), SqliteJournal(tmp_path / "journal")
            assert log.append([b"m"]) == i
            series.write("day", [Point("revenue", "company", "", "2017-Q2", i, "value", float(i))])
            journal.record("alert", str(i), b"")
            found = series.read("day", "revenue", "company", "", "2017-Q2", "value")
            assert (len(log.read(0)), len(found), len(list(journal.items("alert")))) == (i, i, i)
            for store in (log, series, journal):
                store.close()

    def test_a_failed_append_leaves_nothing(self, tmp_path: Path) -> None:
        """An append whose third message cannot be stored stores none, and the next one takes its place."""
        log = SqliteLog(tmp_path / "log")
        with pytest.raises(sqlite3.Error):
            log.append([b"a", b"b", None])  # type: ignore[list-item]
        assert log.append([b"c"]) == 1
        assert log.read(0) == [Entry(1, b"c")]

    def test_a_full_disk_is_named_and_survived(self, tmp_path: Path) -> None:
        """What does not fit is refused whole with the file's name; once there is room the log goes on."""
        log = SqliteLog(tmp_path / "log.sqlite")
        log.append([b"a"])
        log._db.rows("PRAGMA max_page_count=20")
        with pytest.raises(PlanwatchError, match=r"log\.sqlite: cannot be written: .*full"):
            log.append([b"b", b"x" * 1_000_000])
        assert log.end() == 1
        log._db.rows("PRAGMA max_page_count=100000")
        assert log.append([b"x" * 1_000_000]) == 2

    @pytest.mark.parametrize(
        ("store", "version", "message"),
        [
            *((store, 99, "newer Planwatch") for store in SQLITE_STORES),
            (SqliteLog, -1, "old format"),
            (SqliteJournal, -1, "old format"),
        ],
    )
    def test_another_format_is_refused(
        self, store: type[SqliteLog], version: int, message: str, tmp_path: Path
    ) -> None:
        """A file of another format version is refused by its name and not touched."""
        path = tmp_path / "x.sqlite"
        store(path).close()
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version={version}")
        with pytest.raises(PlanwatchError, match=rf"x\.sqlite: .*{message}"):
            store(path)

    def test_series_of_an_old_format_are_emptied(self, tmp_path: Path) -> None:
        """Series can be made anew from the log, so an old file of theirs stops nobody."""
        path = tmp_path / "series.sqlite"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE point (grain TEXT, value REAL)")
            connection.execute("PRAGMA user_version=1")
        series = SqliteSeries(path)
        point = Point("revenue", "company", "", "2017-Q2", 1, "value", 2.0)
        series.write("day", [point])
        assert series.read("day", "revenue", "company", "", "2017-Q2", "value") == [point]

    @pytest.mark.parametrize("store", SQLITE_STORES)
    def test_what_is_no_store_is_refused(self, store: type[SqliteLog], tmp_path: Path) -> None:
        """Text, another program's database and a folder are named as what they are: not ours."""
        (tmp_path / "text").write_text("id,amount\n" * 1000)
        sqlite3.connect(tmp_path / "theirs").execute("CREATE TABLE theirs (x)").connection.close()
        (tmp_path / "folder").mkdir()
        for name, message in (("text", "not a database"), ("theirs", "something else"), ("folder", "unable to open")):
            with pytest.raises(PlanwatchError, match=rf"{name}: .*{message}"):
                store(tmp_path / name)

    def test_a_reader_sees_what_another_connection_commits(self, tmp_path: Path) -> None:
        """A second connection reads on while a writer is at work, and sees each commit, not what is before it."""
        writer, reader = SqliteLog(tmp_path / "log"), SqliteLog(tmp_path / "log")
        writer.append([b"a"])
        with writer._db.transaction() as connection:
            connection.execute("INSERT INTO log VALUES (2, 'b')")
            assert [entry.position for entry in reader.read(0)] == [1]
        assert reader.end() == 2

    def test_a_file_that_another_process_is_creating_is_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where SQLite itself does not wait, opening tries again until the other lets go."""
        other = sqlite3.connect(tmp_path / "log", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                other.execute("ROLLBACK")

        monkeypatch.setattr("storage.sqlite_db.time.sleep", sleep)
        assert SqliteLog(tmp_path / "log").append([b""]) == 1
        assert len(waits) == 3

    def test_processes_that_append_at_once_wait_for_each_other(self, tmp_path: Path) -> None:
        """Four processes create and fill one log: nothing is refused, lost or doubled, pairs stay together."""
        path = tmp_path / "log"
        with get_context("spawn").Pool(4) as pool:
            ends = pool.starmap(append_as_process, [(path, name) for name in "abcd"], chunksize=1)
        entries = SqliteLog(path).read(0)
        assert [entry.position for entry in entries] == list(range(1, 161))
        assert sorted(itertools.chain(*ends)) == list(range(2, 161, 2))
        for name, positions in zip("abcd", ends, strict=True):
            for i, position in enumerate(positions):
                assert {e.payload for e in entries[position - 2 : position]} == {f"{name}:{i}".encode()}


OWNER = """
import sys
from pathlib import Path
from storage.lease import Lease
lease = Lease(Path(sys.argv[1]))
print(lease.acquire(), flush=True)
sys.stdin.read()
"""


class TestLease:
    """At most one owner at a time."""

    @pytest.fixture
    def owner(self, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
        """Another process that holds the lease until it is ended."""
        command = [sys.executable, "-c", OWNER, str(tmp_path / "lease")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "True\n"
            yield process
            process.kill()

    def test_one_owner(self, tmp_path: Path) -> None:
        """Of two, the second is refused at once; it gets the lease when the first gives it back."""
        (tmp_path / "lease").write_text("99999999999\n")
        first, second = Lease(tmp_path / "lease"), Lease(tmp_path / "lease")
        assert first.acquire()
        assert first.acquire()
        assert not second.acquire()
        assert second.holder() == os.getpid()
        first.release()
        assert second.acquire()
        second.release()
        second.release()

    def test_another_process_is_named(self, tmp_path: Path, owner: subprocess.Popen[str]) -> None:
        """Who is refused can say which process has it."""
        lease = Lease(tmp_path / "lease")
        assert not lease.acquire()
        assert lease.holder() == owner.pid

    def test_the_lease_of_a_killed_process_is_free(self, tmp_path: Path, owner: subprocess.Popen[str]) -> None:
        """A crash leaves nothing to clean up, and the new owner's number stands in the file."""
        owner.kill()
        owner.wait()
        lease = Lease(tmp_path / "lease")
        assert lease.acquire()
        assert lease.holder() == os.getpid()

    def test_nobody_held_it_yet(self, tmp_path: Path) -> None:
        """Without a file there is no holder, and a folder that is not there is named."""
        assert Lease(tmp_path / "lease").holder() is None
        with pytest.raises(PlanwatchError, match="nowhere/lease: cannot be locked"):
            Lease(tmp_path / "nowhere" / "lease").acquire()
