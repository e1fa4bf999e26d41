"""What the engine asks of a journal: several records, all of them or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.changelog_journal import ChangelogJournal
from storage.memory import MemoryJournal
from storage.ports import Journal
from storage.sqlite_journal import SqliteJournal


@pytest.fixture(params=["memory", "sqlite", "changelog"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    if request.param == "changelog":
        return ChangelogJournal("acme", {})
    return MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal")


def test_put_many_replaces_and_keeps_the_order(journal: Journal) -> None:
    """Several kinds are written at once; what was there keeps its place."""
    journal.put_many([("a", "1", b"x"), ("a", "2", b"y"), ("b", "1", b"z")])
    journal.put_many([("a", "3", b"w"), ("a", "1", b"new")])
    assert list(journal.items("a")) == [("1", b"new"), ("2", b"y"), ("3", b"w")]
    assert journal.get("b", "1") == b"z"


def test_put_many_is_all_or_nothing(journal: Journal) -> None:
    """An error in the midst leaves nothing behind."""

    def broken() -> Iterator[tuple[str, str, bytes]]:
        yield ("a", "1", b"x")
        raise RuntimeError("in the midst")

    with pytest.raises(RuntimeError):
        journal.put_many(broken())
    assert list(journal.items("a")) == []
