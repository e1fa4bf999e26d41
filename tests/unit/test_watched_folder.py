"""A watched folder: each file is taken in once, when it is complete, whatever else lies there or goes wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from planwatch.watched_folder import Ledger, Sighting, Stamp, WatchedFolder, is_candidate, is_complete, sighted
from schemas.base import PlanwatchError
from schemas.clock import ManualClock
from storage.memory import MemoryJournal
from storage.ports import Journal

S = 1_000_000
START = 4_000_000_000 * S  # beyond the real time of the files, so that the clock alone decides


class Folder:
    """A folder that is watched, with what was taken of it and what was said."""

    def __init__(self, path: Path, journal: Journal | None = None, settle_s: float = 2.0) -> None:
        self.path, self.clock = path, ManualClock(START)
        self.journal = journal or MemoryJournal()
        self.taken: list[tuple[str, bytes]] = []
        self.said: list[str] = []
        self.fail: BaseException | None = None
        self.during: Callable[[], object] = lambda: None  # happens while a file is taken
        ledger = Ledger(self.journal, "crm")
        self.watched = WatchedFolder(path, ledger, self.clock, settle_s, self._take, self.said.append)

    def _take(self, origin: str, stream: BinaryIO) -> None:
        if self.fail is not None:
            raise self.fail
        self.taken.append((Path(origin).name, stream.read()))
        self.during()

    def put(self, name: str, content: bytes, age_s: float = 100) -> Path:
        """Write a file that was last written so long ago by the folder's clock."""
        file = self.path / name
        file.write_bytes(content)
        at = self.clock.now() * 1000 - int(age_s * 1e9)
        os.utime(file, ns=(at, at))
        return file

    def look(self, later_s: float = 0) -> list[tuple[str, bytes]]:
        """Look so much later; what was taken then."""
        self.clock.now_us += int(later_s * S)
        before = len(self.taken)
        self.watched.look()
        return self.taken[before:]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deals.csv", True),
        ("Deals 2024.CSV", True),
        (".deals.csv.swp", False),
        ("~$deals.csv", False),
        ("deals.csv.part", False),
        ("deals.TMP", False),
        ("tmp.csv", True),
    ],
)
def test_names(name: str, expected: bool) -> None:
    """Hidden files and those that programs still write are none of ours."""
    assert is_candidate(name) is expected


STAMP = Stamp(10, START * 1000, 1, 7)


@pytest.mark.parametrize(
    ("since_s", "written_s", "now_s", "complete"),
    [
        (0, 0, 0, False),  # just written, just seen
        (0, 0, 1.9, False),
        (0, 0, 2, True),  # seen unchanged for the settling time
        (1, 0, 2, True),  # seen later, but last written long enough ago
        (0, -100, 0, True),  # moved in: complete at first sight
        (0, 50, 1, False),  # a time in the future says nothing
        (0, 50, 2, True),
    ],
)
def test_when_a_file_is_complete(since_s: float, written_s: float, now_s: float, complete: bool) -> None:
    """It has not changed for two seconds, as far as was seen or as the file says."""
    stamp = STAMP._replace(mtime_ns=int((START + written_s * S) * 1000))
    sighting = Sighting(stamp, int(START + since_s * S))
    assert is_complete(sighting, int(START + now_s * S), 2.0) is complete


def test_a_change_begins_the_wait_anew() -> None:
    """A file that looks the same keeps the time since when it does; any difference begins anew."""
    first = sighted(None, STAMP, 5)
    assert sighted(first, STAMP, 9) == Sighting(STAMP, 5)
    for other in (
        STAMP._replace(size=11),
        STAMP._replace(mtime_ns=2),
        STAMP._replace(inode=8),
        STAMP._replace(ctime_ns=3),
    ):
        assert sighted(first, other, 9) == Sighting(other, 9)


def test_each_file_once_the_oldest_first(tmp_path: Path) -> None:
    """Files are taken in the order in which they were written, and never again."""
    folder = Folder(tmp_path)
    folder.put("b.csv", b"old", 300)
    folder.put("a.csv", b"new", 200)
    assert folder.look() == [("b.csv", b"old"), ("a.csv", b"new")]
    assert folder.look(10) == []
    assert folder.said == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def test_a_file_that_is_still_written_is_waited_for(tmp_path: Path) -> None:
    """It grows from look to look and is taken when it has been the same for two seconds, whole."""
    folder = Folder(tmp_path)
    for n in range(1, 4):
        folder.put("a.csv", b"x" * n, age_s=0)
        assert folder.look(1) == []
    assert folder.look(1) == [("a.csv", b"xxx")]


def test_what_grew_or_changed_is_taken_anew(tmp_path: Path) -> None:
    """A file with other content under the same name is another one; one that was only touched is not."""
    folder = Folder(tmp_path)
    folder.put("a.csv", b"one")
    assert folder.look() == [("a.csv", b"one")]
    folder.put("a.csv", b"one two")
    assert folder.look() == [("a.csv", b"one two")]
    folder.put("a.csv", b"one two", 50)
    assert folder.look() == []
    folder.put("a.csv", b"one")  # back to what was taken already
    assert folder.look() == []


def test_the_same_content_under_another_name(tmp_path: Path) -> None:
    """It is taken: a mapping knows files by their names, and rows that are known are duplicates."""
    folder = Folder(tmp_path)
    folder.put("a.csv", b"one")
    folder.look()
    folder.put("b.csv", b"one")
    assert folder.look() == [("b.csv", b"one")]


def test_what_was_taken_is_known_to_the_next_process(tmp_path: Path) -> None:
    """With the same ledger nothing is taken twice, also where a copy has other times."""
    first = Folder(tmp_path)
    first.put("a.csv", b"one")
    first.look()
    second = Folder(tmp_path, first.journal)
    assert second.look() == []
    second.put("a.csv", b"one", 20)
    assert second.look(5) == []


def test_another_sources_ledger(tmp_path: Path) -> None:
    """What one source has taken, another has not."""
    folder = Folder(tmp_path)
    stamp = Stamp(1, 2, 3, 4)
    Ledger(folder.journal, "crm").keep("a.csv", "00", stamp, 1)
    assert Ledger(folder.journal, "crm").has("a.csv", "00")
    assert not Ledger(folder.journal, "crm2").has("a.csv", "00")
    assert not Ledger(folder.journal, "crm2").knows("a.csv", stamp)


def test_a_crash_in_the_middle(tmp_path: Path) -> None:
    """What was not taken in to its end is taken from its start by the next process."""
    journal = MemoryJournal()
    first = Folder(tmp_path, journal)
    first.put("a.csv", b"one")
    first.fail = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        first.look()
    assert Folder(tmp_path, journal).look() == [("a.csv", b"one")]


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """It does not count as taken, and is taken again once it is complete."""
    folder = Folder(tmp_path)
    folder.put("a.csv", b"one")
    folder.during = lambda: folder.put("a.csv", b"one two", age_s=0)
    folder.look()
    folder.during = lambda: None
    assert folder.look(1) == []
    assert folder.look(2) == [("a.csv", b"one two")]


def test_a_failure_is_said_once_and_tried_again(tmp_path: Path) -> None:
    """A mapping that is wrong, say: said once, tried after a wait that grows, taken once it is mended."""
    folder = Folder(tmp_path)
    folder.put("a.csv", b"one")
    folder.put("b.csv", b"two", 50)
    folder.fail = PlanwatchError("mapping.yaml, line 3: no.")
    for _ in range(20):
        assert folder.look(1) == []
    assert [line for line in folder.said if "a.csv" in line] == [
        f"{tmp_path}/a.csv is not taken in yet: mapping.yaml, line 3: no."
    ]
    assert len(folder.watched.troubles) == 2
    folder.fail = None
    assert folder.look(60) == [("a.csv", b"one"), ("b.csv", b"two")]
    assert folder.watched.troubles == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_the_right_to_read_it(tmp_path: Path) -> None:
    """Said once and tried again; the others do not wait for it."""
    folder = Folder(tmp_path)
    secret = folder.put("a.csv", b"one")
    folder.put("b.csv", b"two")
    secret.chmod(0)
    assert folder.look() == [("b.csv", b"two")]
    folder.look(10)
    assert folder.said == [f"{secret} cannot be read (Permission denied); it is tried again"]
    secret.chmod(0o600)
    assert folder.look(60) == [("a.csv", b"one")]


def test_a_read_that_fails_is_tried_again(tmp_path: Path) -> None:
    """An error of the disk in the middle of a file is said with its reason, and the file taken later."""
    folder = Folder(tmp_path)
    folder.put("a.csv", b"one")
    folder.fail = OSError(errno.EIO, "Input/output error")
    assert folder.look() == []
    assert folder.said == [f"{tmp_path}/a.csv cannot be read (Input/output error); it is tried again"]
    folder.fail = None
    assert folder.look(2) == [("a.csv", b"one")]


def test_links_folders_and_pipes_are_left_alone(tmp_path: Path) -> None:
    """A link out of the folder gives nothing away, a pipe holds nobody up; each is said once."""
    inbox, outside = tmp_path / "inbox", tmp_path / "secret.csv"
    inbox.mkdir()
    outside.write_bytes(b"secret")
    (inbox / "deals.csv").symlink_to(outside)
    (inbox / "folder.csv").mkdir()
    os.mkfifo(inbox / "pipe.csv")
    folder = Folder(inbox)
    folder.put("a.csv", b"one")
    assert folder.look() == [("a.csv", b"one")]
    assert folder.look(5) == []
    assert sorted(Path(line.split(" ")[0]).name for line in folder.said) == ["deals.csv", "pipe.csv"]


def test_a_link_that_takes_a_files_place(tmp_path: Path) -> None:
    """Between the look and the opening a file may be replaced by a link: it is not followed."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    folder = Folder(inbox)
    folder.put("a.csv", b"one", 300)
    file = folder.put("b.csv", b"two")
    (tmp_path / "secret.csv").write_bytes(b"secret")

    def replace() -> None:
        file.unlink(missing_ok=True)
        file.symlink_to(tmp_path / "secret.csv")

    folder.during = replace
    assert folder.look() == [("a.csv", b"one")]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Said once; as soon as it is there, its files are taken; when it goes, that is said again."""
    folder = Folder(tmp_path / "inbox")
    assert folder.look() == []
    assert folder.look(5) == []
    assert folder.said == [f"{tmp_path}/inbox is not there; files that are put there are taken in as soon as it is"]
    assert folder.watched.troubles == folder.said
    (tmp_path / "inbox").mkdir()
    folder.put("a.csv", b"one")
    assert folder.look(1) == [("a.csv", b"one")]
    assert folder.watched.troubles == []


def test_names_of_any_bytes(tmp_path: Path) -> None:
    """A name that is no text is taken too, and shown with its bytes."""
    folder = Folder(tmp_path)
    name = os.fsdecode(b"d\xe9als\n.csv")
    folder.put(name, b"one")
    assert folder.look() == [("d\\xe9als\n.csv", b"one")]
    assert folder.look(5) == []
