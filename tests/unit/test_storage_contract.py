"""The contract of each port, kept by every adapter: on SQLite, on files and in memory."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.file_snapshots import FileSnapshots
from storage.memory import MemoryJournal, MemoryLog, MemorySeries, MemorySnapshots
from storage.ports import Entry, Journal, Log, Point, Series, Snapshots
from storage.sqlite_journal import SqliteJournal
from storage.sqlite_log import SqliteLog
from storage.sqlite_series import SqliteSeries


@pytest.fixture(params=["sqlite", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    return SqliteLog(tmp_path / "log.sqlite") if request.param == "sqlite" else MemoryLog()


@pytest.fixture(params=["sqlite", "memory"])
def series(request: pytest.FixtureRequest, tmp_path: Path) -> Series:
    return SqliteSeries(tmp_path / "series.sqlite") if request.param == "sqlite" else MemorySeries()


@pytest.fixture(params=["sqlite", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return SqliteJournal(tmp_path / "journal.sqlite") if request.param == "sqlite" else MemoryJournal()


@pytest.fixture(params=["files", "memory"])
def snapshots(request: pytest.FixtureRequest, tmp_path: Path) -> Snapshots:
    return FileSnapshots(tmp_path / "snapshots") if request.param == "files" else MemorySnapshots()


def point(bucket: int, value: float, scope: str = "", kpi: str = "revenue") -> Point:
    return Point(kpi, "rep" if scope else "company", scope, "2017-Q2", bucket, "value", value)


class TestLog:
    """Append-only, ordered, without a gap."""

    def test_an_empty_log(self, log: Log) -> None:
        """It ends at 0, has nothing to read, and an append of nothing leaves it so."""
        assert (log.end(), log.read(0), log.append([])) == (0, [], 0)

    def test_positions_count_from_one(self, log: Log) -> None:
        """Each message takes the next position, whichever append brought it."""
        assert log.append([b"a", b"b"]) == 2
        assert log.append([b"c"]) == log.end() == 3
        assert log.append([]) == 3
        assert log.read(0) == [Entry(1, b"a"), Entry(2, b"b"), Entry(3, b"c")]

    def test_reading_after_a_position_in_batches(self, log: Log) -> None:
        """Batches of any size put together give the whole log; beyond its end there is nothing."""
        log.append([b"%d" % i for i in range(25)])
        found: list[Entry] = []
        while batch := log.read(found[-1].position if found else 0, 7):
            assert len(batch) <= 7
            found += batch
        assert found == [Entry(i + 1, b"%d" % i) for i in range(25)]
        assert log.read(99) == log.read(3, 0) == log.read(3, -1) == []

    def test_payloads_are_bytes_as_they_are(self, log: Log) -> None:
        """Empty, binary and equal messages come back as they went in."""
        payloads = [b"", b"\x00\xff'\"\n", b"x", b"x", "日本".encode()]
        log.append(payloads)
        assert [entry.payload for entry in log.read(0)] == payloads

    def test_appends_of_many_threads(self, log: Log) -> None:
        """Threads append at once: every message is there once, each thread's in its order, positions contiguous."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda t: [log.append([b"%d:%02d" % (t, i)]) for i in range(20)], range(8)))
        entries = log.read(0)
        assert [entry.position for entry in entries] == list(range(1, 161))
        for t in range(8):
            own = [entry.payload for entry in entries if entry.payload.startswith(b"%d:" % t)]
            assert own == [b"%d:%02d" % (t, i) for i in range(20)]

    def test_waiting_ends_with_the_message(self, log: SqliteLog | MemoryLog) -> None:
        """A reader that waits is woken by an append of another thread; it gives up when time is up."""
        log.append([b"a"])
        assert log.wait(0, 0)
        assert not log.wait(1, 0)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(log.wait, 1, 30)
            log.append([b"b"])
            assert waiting.result()


class TestSeries:
    """Absolute points under a fixed identity."""

    def test_points_come_back_oldest_first(self, series: Series) -> None:
        """One series is read in order of time, apart from all others."""
        others = [
            point(2, 9.0, "Anna"),
            point(2, 9.0, kpi="pipeline"),
            point(2, 9.0)._replace(period="2017"),
            point(2, 9.0)._replace(field="target"),
        ]
        series.write("day", [point(3, 30.0), *others, point(-1, -0.5), point(2, 20.25)])
        series.write("minute", [point(4, 40.0)])
        found = series.read("day", "revenue", "company", "", "2017-Q2", "value")
        assert found == [point(-1, -0.5), point(2, 20.25), point(3, 30.0)]
        assert series.read("minute", "revenue", "company", "", "2017-Q2", "value") == [point(4, 40.0)]
        assert series.read("day", "revenue", "rep", "Bo", "2017-Q2", "value") == []

    def test_writing_again_replaces(self, series: Series) -> None:
        """The same identity has one value, the last one, within a batch and between batches."""
        series.write("day", [point(1, 1.0), point(1, 2.0)])
        series.write("day", [point(1, 3.0)])
        series.write("day", [point(1, 3.0)])
        assert series.read("day", "revenue", "company", "", "2017-Q2", "value") == [point(1, 3.0)]

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_what_is_not_finite_is_refused_with_its_batch(self, series: Series, value: float) -> None:
        """NaN and infinities are errors, and nothing of their batch is stored."""
        with pytest.raises(ValueError, match="finite"):
            series.write("day", [point(1, 1.0), point(2, value)])
        assert series.read("day", "revenue", "company", "", "2017-Q2", "value") == []
        series.write("day", [point(1, 1.0)])
        assert len(series.read("day", "revenue", "company", "", "2017-Q2", "value")) == 1

    def test_names_are_data(self, series: Series) -> None:
        """Quotes, newlines and SQL in a name are a name."""
        names = ["O'Hara", 'a"b', "x\ny", "'; DROP TABLE point; --", "%_\\", "Ünï"]
        series.write("day", [point(1, float(i), name) for i, name in enumerate(names)])
        for i, name in enumerate(names):
            assert series.read("day", "revenue", "rep", name, "2017-Q2", "value") == [point(1, float(i), name)]

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

    def test_clearing(self, series: Series) -> None:
        """Nothing is left of either grain, and writing goes on."""
        series.write("minute", [point(1, 1.0)])
        series.write("day", [point(1, 1.0)])
        series.clear()
        for grain in ("minute", "day"):
            assert series.read(grain, "revenue", "company", "", "2017-Q2", "value") == []
        series.write("day", iter([point(2, 2.0)]))
        assert series.read("day", "revenue", "company", "", "2017-Q2", "value") == [point(2, 2.0)]

    def test_an_unknown_grain_is_refused(self, series: Series) -> None:
        """A third grain would be read by nobody."""
        calls: list[Callable[[], object]] = [
            lambda: series.write("hour", []),
            lambda: series.read("hour", "revenue", "company", "", "2017-Q2", "value"),
            lambda: series.trim("hour", 0),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="«hour» is no grain"):
                call()


class TestJournal:
    """What happens once is recorded once."""

    def test_the_first_record_stays(self, journal: Journal) -> None:
        """A second record under the key says that it is not new and changes nothing; kinds are apart."""
        assert journal.record("alert", "k", b"1")
        assert not journal.record("alert", "k", b"2")
        assert journal.record("review", "k", b"3")
        assert (journal.get("alert", "k"), journal.get("review", "k")) == (b"1", b"3")
        assert journal.get("alert", "other") is None

    def test_put_replaces_and_keeps_the_place(self, journal: Journal) -> None:
        """A replaced record stays where it was first recorded."""
        for key in ("c", "a", "b"):
            journal.put("alert", key, key.encode())
        journal.put("alert", "c", b"new")
        assert list(journal.items("alert")) == [("c", b"new"), ("a", b"a"), ("b", b"b")]
        assert not journal.record("alert", "a", b"again")

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
