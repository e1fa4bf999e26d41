"""The contract of the log port, kept by every adapter: take it over with a fixture `log` that gives an empty one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from storage.ports import Entry, Log


class WaitingLog(Log, Protocol):
    """A log whose reader can wait."""

    def wait(self, after: int, timeout_s: float) -> bool: ...


class LogContract:
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

    def test_waiting_ends_with_the_message(self, log: WaitingLog) -> None:
        """A reader that waits is woken by an append of another thread; it gives up when time is up."""
        log.append([b"a"])
        assert log.wait(0, 0)
        assert not log.wait(1, 0)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(log.wait, 1, 30)
            log.append([b"b"])
            assert waiting.result()
