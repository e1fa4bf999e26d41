"""Files put into watched folders go through their door into log and quarantine, once, in one process at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from ingest import DOORS
from planwatch import ingesting
from planwatch.home import Home
from planwatch.ingesting import Summary
from planwatch.store import Store
from planwatch.watching import Watcher, watch, watched_sources, watching
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.clock import ManualClock

MAPPING = """
snapshot_at: 2024-01-01
files: [{match: "*.csv", entity: opportunity, id: id, fields: {name: name}}]
"""
CONFIG = "sources: {crm: {kind: csv, mapping: mapping.yaml, watch: inbox, watch_settle_s: 0}}\n"
NOW = 4_000_000_000_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "planwatch.yaml").write_text(CONFIG)
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    (tmp_path / "inbox").mkdir()
    return Home(tmp_path)


class Watched:
    """A watcher of a home, what it took in and what it said."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.store = Store(home, ManualClock(NOW))
        self.taken: list[tuple[str, int, int]] = []
        self.said: list[str] = []
        self.watcher = Watcher(home, lambda: self.store, self._taken, self.said.append, self.store.clock)

    def _taken(self, source: str, file: str, summary: Summary) -> None:
        self.taken.append((Path(file).name, summary.received, summary.quarantined))

    def ids(self) -> list[str]:
        """The records in the log, in its order."""
        found = self.store.decoded(self.store.log.read(0))
        return [change["record_id"] for message in found for change in message.changes]


def put(home: Home, name: str, rows: str) -> None:
    """A file moves into the folder at once, as whole as it is."""
    unfinished = home.path / f"{name}.part"
    unfinished.write_text(f"id,name\n{rows}")
    unfinished.rename(home.path / "inbox" / name)


def wait_for(true: Callable[[], bool]) -> None:
    """Wait for a condition, for as long as a slow machine may need."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_a_file_goes_in_once(home: Home) -> None:
    """Its changes are in the log, its bad rows in the quarantine; a second look, and a second process, take nothing."""
    one = Watched(home)
    put(home, "deals.csv", "1,a\n,b\n2,c\n")
    one.watcher.look()
    assert one.taken == [("deals.csv", 3, 1)]
    assert one.ids() == ["1", "2"]
    assert one.store.quarantine.count() == 1
    one.watcher.look()
    one.watcher.close()
    two = Watched(home)
    two.watcher.look()
    assert two.taken == []
    assert len(one.taken) == 1


def test_a_file_that_grew_is_taken_anew(home: Home) -> None:
    """Its known rows are duplicates, the new ones count."""
    one = Watched(home)
    put(home, "deals.csv", "1,a\n")
    one.watcher.look()
    put(home, "deals.csv", "1,a\n2,b\n")
    one.watcher.look()
    assert one.ids() == ["1", "1", "2"]
    state = one.store.state()
    assert len(state.tables["opportunity"].ids) == 2


def test_one_process_at_a_time(home: Home) -> None:
    """The second says once that it waits, and goes on when the first ends."""
    one, two = Watched(home), Watched(home)
    one.watcher.look()
    put(home, "deals.csv", "1,a\n")
    two.watcher.look()
    two.watcher.look()
    assert two.taken == []
    assert len(two.said) == 1
    assert "watches its folders; this one waits" in two.said[0]
    one.watcher.close()
    two.watcher.look()
    assert two.taken == [("deals.csv", 1, 0)]


def test_a_mapping_is_read_anew_for_each_file(home: Home) -> None:
    """While it is wrong the file waits, which is said with the mapping's line; once it is mended the file goes in."""
    one = Watched(home)
    (home.path / "mapping.yaml").write_text("files: [\n")
    put(home, "deals.csv", "1,a\n")
    one.watcher.look()
    assert one.taken == []
    assert "mapping.yaml, line" in one.said[0]
    assert one.watcher.troubles == one.said
    (home.path / "mapping.yaml").write_text(MAPPING)
    one.store.clock.now_us += 5_000_000  # type: ignore[attr-defined]
    one.watcher.look()
    assert one.taken == [("deals.csv", 1, 0)]
    assert one.watcher.troubles == []


def test_a_door_that_fails_holds_nobody_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours in a door: the file is kept for later, and the next one is taken."""

    class Failing:
        def read(self, origin: str, stream: BinaryIO, context: object) -> list[object]:
            if "bad" in origin:
                raise ZeroDivisionError("oh")
            return []

    monkeypatch.setitem(DOORS, "csv", Failing())  # type: ignore[arg-type]
    one = Watched(home)
    put(home, "bad.csv", "1,a\n")
    put(home, "good.csv", "1,a\n")
    one.watcher.look()
    assert [name for name, _, _ in one.taken] == ["good.csv"]
    assert "ZeroDivisionError: oh" in one.said[0]


def test_the_end_in_the_middle_of_a_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program stops without waiting for a long file, which the next one takes from its beginning, losing nothing."""
    monkeypatch.setattr(ingesting, "CHUNK_CHANGES", 1_000)
    put(home, "deals.csv", "".join(f"{n},{'x' * 50}\n" for n in range(20_000)))
    one, stop = Watched(home), threading.Event()
    append = one.store.append

    def append_and_stop(changes: Sequence[Change]) -> int:
        stop.set()
        return append(changes)

    monkeypatch.setattr(one.store, "append", append_and_stop)
    one.watcher.run(stop)
    assert one.taken == []
    assert 0 < len(one.ids()) < 20_000
    two = Watched(home)
    two.watcher.look()
    assert two.taken == [("deals.csv", 20_000, 0)]
    assert len(two.store.state().tables["opportunity"].ids) == 20_000


def test_within_the_program(home: Home) -> None:
    """A thread watches until the program stops; what it took in is said in a line."""
    store = Store(home)
    said: list[str] = []
    stop = threading.Event()
    thread = watching(store, stop, said.append)
    assert thread is not None
    put(home, "deals.csv", "1,a\n,b\n")
    wait_for(lambda: bool(said))
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert said == [f"crm: {home.path}/inbox/deals.csv: received 2, of them 1 refused."]
    assert len(store.state().tables["opportunity"].ids) == 1


def test_no_folder_to_watch(tmp_path: Path) -> None:
    """A home without one is told so by the role, and the program within one process does without."""
    (tmp_path / "planwatch.yaml").write_text("sources: {crm: {kind: csv}}\n")
    home = Home(tmp_path)
    assert watched_sources(home) == {}
    assert watching(Store(home), threading.Event(), print) is None
    with pytest.raises(PlanwatchError, match="no source has a watched folder"):
        watch(home, None)


def test_a_kind_that_reads_no_files(tmp_path: Path) -> None:
    """It is said with the source."""
    (tmp_path / "planwatch.yaml").write_text("sources: {sim: {kind: simulator, watch: inbox}}\n")
    with pytest.raises(PlanwatchError, match=r"sources\.sim: a source of kind simulator reads no files"):
        watched_sources(Home(tmp_path))
