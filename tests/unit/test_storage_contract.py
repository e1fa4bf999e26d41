"""The contract of each port, kept by every adapter: on SQLite, on files and in memory."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.changelog_journal import ChangelogJournal
from storage.file_snapshots import FileSnapshots
from storage.memory import MemoryJournal, MemoryLog, MemorySeries, MemorySnapshots
from storage.ports import Journal, Log, Series, Snapshots
from storage.sqlite_journal import SqliteJournal
from storage.sqlite_log import SqliteLog
from storage.sqlite_series import SqliteSeries
from tests.contracts import SeriesContract, point
from tests.contracts_log import LogContract


@pytest.fixture(params=["sqlite", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    return SqliteLog(tmp_path / "log.sqlite") if request.param == "sqlite" else MemoryLog()


@pytest.fixture(params=["sqlite", "memory"])
def series(request: pytest.FixtureRequest, tmp_path: Path) -> Series:
    return SqliteSeries(tmp_path / "series.sqlite") if request.param == "sqlite" else MemorySeries()


@pytest.fixture(params=["sqlite", "memory", "changelog"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    if request.param == "changelog":
        return ChangelogJournal("acme", {})
    return SqliteJournal(tmp_path / "journal.sqlite") if request.param == "sqlite" else MemoryJournal()


@pytest.fixture(params=["files", "memory"])
def snapshots(request: pytest.FixtureRequest, tmp_path: Path) -> Snapshots:
    return FileSnapshots(tmp_path / "snapshots") if request.param == "files" else MemorySnapshots()


class TestLog(LogContract):
    """On SQLite and in memory."""


class TestSeries(SeriesContract):
    """The contract, and what the adapters have that keep points until they are trimmed."""

    def test_trimming_one_grain(self, series: Series) -> None:
        """Points before the time go, the one at it and the other grain stay."""
        for grain in ("minute", "day"):
            series.write(grain, [point(bucket, 1.0) for bucket in range(5)])
        series.trim("minute", 3)
        kept = {
            g: [p.bucket for p in series.read(g, "revenue", "company", "", "2017-Q2", "value")]
            for g in ("minute", "day")
        }
        assert kept == {"minute": [3, 4], "day": [0, 1, 2, 3, 4]}


class TestJournal:
    """What happens once is recorded once."""

    def test_the_first_record_stays(self, journal: Journal) -> None:
        """A second record under the key says that it is not new and changes nothing; kinds are apart."""
        assert journal.record("alert", "k", b"1")
        assert not journal.record("alert", "k", b"2")
        assert journal.record("review", "k", b"3")
        assert (journal.get("alert", "k"), journal.get("review", "k")) == (b"1", b"3")
        assert journal.get("alert", "other") is None

    def test_many_at_once(self, journal: Journal) -> None:
        """Each is recorded unless it is there, also twice in one call; what was new is counted."""
        journal.record("alert", "a", b"1")
        assert journal.record_many("alert", [("a", b"2"), ("b", b"3"), ("b", b"4")]) == 1
        assert journal.record_many("alert", []) == 0
        assert list(journal.items("alert")) == [("a", b"1"), ("b", b"3")]

    def test_put_replaces_and_keeps_the_place(self, journal: Journal) -> None:
        """A replaced record stays where it was first recorded."""
        for key in ("c", "a", "b"):
            journal.put("alert", key, key.encode())
        journal.put("alert", "c", b"new")
        assert list(journal.items("alert")) == [("c", b"new"), ("a", b"a"), ("b", b"b")]
        assert not journal.record("alert", "a", b"again")

    def test_what_is_new_since_a_number(self, journal: Journal) -> None:
        """Whoever kept the last number gets only what was recorded first after it; replacing is nothing new."""
        journal.put_many([("alert", "a", b"1"), ("review", "r", b"2"), ("alert", "b", b"3")])
        first = list(journal.since("alert", 0))
        assert [(key, payload) for _, key, payload in first] == [("a", b"1"), ("b", b"3")]
        journal.put("alert", "a", b"4")
        assert list(journal.since("alert", first[-1][0])) == []
        journal.delete("alert", ["b"])
        journal.record("alert", "c", b"5")
        assert [(key, payload) for _, key, payload in journal.since("alert", first[-1][0])] == [("c", b"5")]

    def test_deleted_keys_are_new_again(self, journal: Journal) -> None:
        """A deleted key is gone, its namesake of another kind is not, and recording it again puts it last."""
        for kind, key in itertools.product(("alert", "review"), ("a", "b", "c")):
            journal.record(kind, key, b"")
        journal.delete("alert", iter(["a", "c", "never was"]))
        assert [key for key, _ in journal.items("alert")] == ["b"]
        assert len(list(journal.items("review"))) == 3
        assert journal.record("alert", "a", b"")
        assert [key for key, _ in journal.items("alert")] == ["b", "a"]

    def test_a_journal_may_change_while_it_is_walked(self, journal: Journal) -> None:
        """A walk shows what was there when it began."""
        journal.put("alert", "a", b"")
        journal.put("alert", "b", b"")
        walk = journal.items("alert")
        journal.put("alert", "c", b"")
        seen = []
        for key, _ in walk:
            journal.delete("alert", [key])
            seen.append(key)
        assert seen == ["a", "b"]

    def test_one_of_many_threads_is_first(self, journal: Journal) -> None:
        """Of all that record under one key at once, one is told that it was new."""
        barrier = threading.Barrier(8)

        def record(i: int) -> bool:
            barrier.wait()
            return journal.record("alert", "k", b"%d" % i)

        with ThreadPoolExecutor(8) as pool:
            new = list(pool.map(record, range(8)))
        assert sum(new) == 1
        assert journal.get("alert", "k") == b"%d" % new.index(True)


class TestSnapshots:
    """State with its position."""

    def test_the_newest_is_the_one_with_the_highest_position(self, snapshots: Snapshots) -> None:
        """None at first; then the highest position, saved again where it is the same."""
        assert snapshots.latest() is None
        snapshots.save(9, b"nine")
        snapshots.save(10, b"ten")
        assert snapshots.latest() == (10, b"ten")
        snapshots.save(10, b"")
        assert snapshots.latest() == (10, b"")
        snapshots.save(3, b"three")
        assert snapshots.latest() == (10, b"")

    def test_a_large_state(self, snapshots: Snapshots) -> None:
        """Bytes come back as they went in, and the position may be as large as a log gets."""
        payload = bytes(range(256)) * 40_000
        snapshots.save(2**63 - 1, payload)
        assert snapshots.latest() == (2**63 - 1, payload)
