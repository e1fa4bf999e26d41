"""What the journal owes its changelog, and that it can be made anew from it."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
import pytest

from storage.changelog_journal import ChangelogJournal, Due
from tests.unit.alert_samples import MAY, US, Recorder, engine, signals, status


def compacted(log: Iterable[Due]) -> dict[bytes, bytes]:
    """What a compacted topic still holds: the last value of each key, nothing of deleted ones."""
    table: dict[bytes, bytes] = {}
    for key, value in log:
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return table


def key_of(*names: str) -> bytes:
    """A key of the changelog: tenant, kind, key."""
    return orjson.dumps(names)


class TestDue:
    """Every change is due once, the newest of each key."""

    def test_taken_once(self) -> None:
        """What was taken is not given again; what changes after is."""
        journal = ChangelogJournal("acme", {})
        journal.put("alert", "a", b"1")
        journal.record("alert", "b", b"2")
        assert [key for key, _ in journal.take_due()] == [key_of("acme", "alert", "a"), key_of("acme", "alert", "b")]
        assert journal.take_due() == []
        journal.put("alert", "a", b"3")
        assert [key for key, _ in journal.take_due()] == [key_of("acme", "alert", "a")]

    def test_only_changes_are_due(self) -> None:
        """Reading, recording what is there and deleting what is not there change nothing."""
        journal = ChangelogJournal("acme", compacted(_due(("alert", "a", b"1"))))
        assert journal.get("alert", "a") == b"1"
        assert not journal.record("alert", "a", b"2")
        journal.delete("alert", ["b"])
        journal.put_many([])
        assert list(journal.items("alert")) == [("a", b"1")]
        assert journal.take_due() == []

    def test_the_newest_change_comes_last(self) -> None:
        """A record that was written before others and again after them goes after them: it may speak of them."""
        journal = ChangelogJournal("acme", {})
        journal.put("cursor", "pipeline", b"1")
        journal.put("alert", "a", b"x")
        journal.put("cursor", "pipeline", b"2")
        due = journal.take_due()
        assert [orjson.loads(key)[1] for key, _ in due] == ["alert", "cursor"]
        assert ChangelogJournal("acme", compacted(due)).get("cursor", "pipeline") == b"2"

    def test_a_deleted_record_is_a_tombstone(self) -> None:
        """Also one that the changelog has never seen: it may have, by an earlier process."""
        journal = ChangelogJournal("acme", {})
        journal.put("alert", "a", b"1")
        journal.delete("alert", ["a"])
        assert journal.take_due() == [(key_of("acme", "alert", "a"), None)]

    def test_given_back_is_due_again(self) -> None:
        """In its old order."""
        journal = ChangelogJournal("acme", {})
        for key in ("b", "a", "c"):
            journal.put("alert", key, b"1")
        due = journal.take_due()
        journal.give_back(due)
        assert journal.take_due() == due

    def test_given_back_after_newer_changes(self) -> None:
        """What has changed since stays as it is now, and what is older goes before what is newer."""
        journal = ChangelogJournal("acme", {})
        for key in ("a", "b", "c", "d"):
            journal.put("alert", key, b"old")
        due = journal.take_due()
        journal.put("alert", "b", b"new")
        journal.delete("alert", ["c"])
        journal.put("alert", "e", b"new")
        journal.give_back(due)
        again = journal.take_due()
        assert [orjson.loads(key)[2] for key, _ in again] == ["a", "d", "b", "c", "e"]
        assert again[3][1] is None
        kept = ChangelogJournal("acme", compacted(again))
        assert list(kept.items("alert")) == [("a", b"old"), ("b", b"new"), ("d", b"old"), ("e", b"new")]

    def test_given_back_twice(self) -> None:
        """A broker that stays away costs nothing but time."""
        journal = ChangelogJournal("acme", {})
        journal.put("alert", "a", b"1")
        for _ in range(3):
            journal.give_back(journal.take_due())
        assert len(journal.take_due()) == 1

    def test_several_records_all_or_none(self) -> None:
        """What fails in the midst is not owed either."""
        journal = ChangelogJournal("acme", {})

        def broken() -> Iterable[tuple[str, str, bytes]]:
            yield "alert", "a", b"1"
            raise RuntimeError("in the midst")

        with pytest.raises(RuntimeError):
            journal.put_many(broken())
        assert journal.take_due() == []


def _due(*records: tuple[str, str, bytes], tenant: str = "acme") -> list[Due]:
    journal = ChangelogJournal(tenant, {})
    journal.put_many(records)
    return journal.take_due()


class TestMadeAnew:
    """A journal that is made from its changelog is the one that wrote it."""

    @pytest.mark.parametrize("turned", [False, True])
    def test_the_order_of_first_recording_survives(self, turned: bool) -> None:
        """However a table orders its keys, and with more than ten records: numbers are no text."""
        names = [f"k{i}" for i in range(25)]
        journal = ChangelogJournal("acme", {})
        for name in reversed(names):
            journal.record("alert", name, name.encode())
        journal.put("alert", "k3", b"new")
        table = compacted(journal.take_due())
        items = list(table.items())
        again = ChangelogJournal("acme", dict(items[::-1] if turned else sorted(items)))
        assert list(again.items("alert")) == list(journal.items("alert"))
        assert again.get("alert", "k3") == b"new"
        assert again.take_due() == []

    def test_recording_goes_on_behind(self) -> None:
        """New records come last, also where the last one had been deleted; the next process agrees."""
        journal = ChangelogJournal("acme", {})
        for name in ("a", "b", "c"):
            journal.record("alert", name, b"")
        journal.delete("alert", ["c"])
        log = journal.take_due()
        again = ChangelogJournal("acme", compacted(log))
        for name in ("d", "c"):
            assert again.record("alert", name, b"")
        log += again.take_due()
        assert [key for key, _ in again.items("alert")] == ["a", "b", "d", "c"]
        assert [key for key, _ in ChangelogJournal("acme", compacted(log)).items("alert")] == ["a", "b", "d", "c"]

    @pytest.mark.parametrize("payload", [b"", b" ", b"12 34", b"\x00\xff \n", b"x" * 100_000])
    def test_payloads_are_bytes_as_they_are(self, payload: bytes) -> None:
        """The number before it is not mistaken for a part of it."""
        table = compacted(_due(("alert", "a", payload)))
        assert ChangelogJournal("acme", table).get("alert", "a") == payload

    @pytest.mark.parametrize("name", ["", 'a"b', "a,b", "é\n", "[]", "\\", "日本"])
    def test_names_are_data(self, name: str) -> None:
        """Kinds, keys and tenants of any text."""
        due = _due((name, name, b"1"), tenant=name)
        assert ChangelogJournal(name, compacted(due)).get(name, name) == b"1"

    def test_other_tenants_are_left_alone(self) -> None:
        """A partition's table holds several tenants: each sees its own and deletes only its own."""
        both = compacted([*_due(("alert", "a", b"1")), *_due(("alert", "a", b"2"), ("alert", "b", b"3"), tenant="ac")])
        before = dict(both)
        first, second = ChangelogJournal("acme", both), ChangelogJournal("ac", both)
        assert list(first.items("alert")) == [("a", b"1")]
        assert list(second.items("alert")) == [("a", b"2"), ("b", b"3")]
        first.delete("alert", ["a", "b"])
        assert first.take_due() == [(key_of("acme", "alert", "a"), None)]
        assert both == before
        assert ChangelogJournal("third", both).take_due() == []

    def test_nothing_is_shared_with_the_table(self) -> None:
        """The table may change under the journal, and the journal's changes reach it only as what is due."""
        table = compacted(_due(("alert", "a", b"1")))
        journal = ChangelogJournal("acme", table)
        table.clear()
        assert journal.get("alert", "a") == b"1"
        journal.put("alert", "b", b"2")
        assert table == {}


class TestDeathWhileItIsGiven:
    """The process dies when the changelog has some of what was due, the oldest of it."""

    @pytest.mark.parametrize("later_s", [0, 5])
    @pytest.mark.parametrize("given", range(5))
    def test_an_alert_is_told_all_the_same(self, given: int, later_s: int) -> None:
        """Whatever part of it arrived, the next process tells what fired, once, and knows one alert."""
        before = ChangelogJournal("acme", {})
        engine(before, {"chat": Recorder()}).evaluate(signals(MAY, status("0.1")))
        due = before.take_due()
        assert len(due) == 4
        receiver, journal = Recorder(), ChangelogJournal("acme", compacted(due[:given]))
        after = engine(journal, {"chat": receiver})
        after.evaluate(signals(MAY + later_s * US, status("0.1")))
        after.flush(MAY + later_s * US, wait_s=5)
        assert [len(message.alerts) for message in receiver.got] == [1]
        assert [alert.state for alert in after.history()] == ["firing"]
