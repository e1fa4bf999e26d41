"""Refusals in their one form: in the journal, and as records of the quarantine topic."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.door import Refused
from ingest.quarantine import Quarantine, decode_record, decode_refused, encode_refused, identity
from ingest.refusal_states import Kept, RefusalCounts, Tally
from ingest.topic_quarantine import disposition_record, quarantine_record
from schemas.clock import ManualClock
from schemas.events import Disposition, Refusal
from schemas.stack import KafkaConfig
from storage.memory import MemoryJournal

ITEM = Refused("sf", "crm[3]", 41, b"\x00\xff{", "bad_json", "the record is not JSON «ü»")


def test_a_refusal_comes_back() -> None:
    """Encoded for a tenant and decoded it is the same one, and what is written is what the schema says."""
    value = encode_refused(ITEM, "acme")
    assert decode_refused(value) == ITEM
    assert Refusal.model_validate_json(value).tenant == "acme"
    without = json.loads(value)
    del without["tenant"]
    assert without == json.loads(encode_refused(ITEM))


def test_the_journal_keeps_what_it_kept() -> None:
    """Each refusal once, in order, counted by source."""
    quarantine = Quarantine(MemoryJournal())
    other = Refused("csv", "deals.csv", 2, b"", "bad_date", "no date")
    assert quarantine.add([ITEM, other, ITEM]) == 2
    assert quarantine.add([ITEM]) == 0
    assert list(quarantine.items()) == [ITEM, other]
    assert (quarantine.count(), quarantine.by_source()) == (2, {"sf": 1, "csv": 1})
    assert quarantine.by_code() == {("sf", "bad_json"): 1, ("csv", "bad_date"): 1}


def test_the_newest_refusals() -> None:
    """The last ones, the newest first; fewer where there are fewer."""
    quarantine = Quarantine(MemoryJournal())
    items = [Refused("csv", "deals.csv", line, b"x", "bad_date", "no date") for line in range(1, 6)]
    quarantine.add(items)
    assert [kept.refused for kept in quarantine.newest(2)] == [items[4], items[3]]
    assert [kept.refused for kept in quarantine.newest(9)] == items[::-1]
    assert quarantine.newest(0) == []


def said(item: Refused, state: Literal["replayed", "dropped"], at: int = 9, reason: str = "") -> Disposition:
    """What became of a refusal."""
    return Disposition(tenant="acme", refusal=identity(item), state=state, at=at, by="ada", reason=reason)


def test_what_became_of_refusals() -> None:
    """When it was refused, its state, and who said so when; replayed ones are in quarantine no more, dropped ones are."""
    clock = ManualClock(7)
    quarantine = Quarantine(MemoryJournal(), clock)
    items = [Refused("csv", "deals.csv", line, b"x", "bad_date", "no date") for line in (2, 3, 4)]
    quarantine.add(items)
    assert quarantine.counts() == {("csv", "bad_date"): RefusalCounts(open=3)}
    clock.now_us = 8
    quarantine.add(items)
    quarantine.settle([said(items[0], "dropped", reason="a test row"), said(items[1], "replayed")])
    assert quarantine.counts() == {("csv", "bad_date"): RefusalCounts(open=1, replayed=1, dropped=1)}
    assert (quarantine.count(), quarantine.by_source()) == (2, {"csv": 2})
    kept = list(quarantine.kept())
    assert [(k.id, k.at, k.state) for k in kept] == [
        (identity(items[0]), 7, "dropped"),
        (identity(items[1]), 7, "replayed"),
        (identity(items[2]), 7, "open"),
    ]
    assert kept[0].disposition == said(items[0], "dropped", reason="a test row")
    assert [k.state for k in quarantine.newest(3)] == ["open", "replayed", "dropped"]


def test_a_journal_of_before_times_were_kept() -> None:
    """What an older version wrote is read; when it was refused is not known."""
    journal = MemoryJournal()
    journal.record("quarantine", identity(ITEM), encode_refused(ITEM))
    assert list(Quarantine(journal).kept()) == [Kept(identity(ITEM), ITEM, at=0)]


EVENTS = st.lists(st.tuples(st.sampled_from(["refused", "dropped", "replayed"]), st.integers(0, 3)), max_size=12)


@given(events=EVENTS, data=st.data())
def test_states_do_not_depend_on_the_order(events: list[tuple[str, int]], data: st.DataObject) -> None:
    """Refusals and dispositions in any order, and as often as they come, give the same counts: replayed beats dropped."""

    def counted(told: list[tuple[str, int]]) -> dict[tuple[str, str], RefusalCounts]:
        tally = Tally()
        for what, number in told:
            key = f"{number:032x}"
            if what == "refused":
                tally.refused(key, "csv", f"code{number % 2}")
            else:
                tally.disposed(key, "dropped" if what == "dropped" else "replayed")
        return tally.counts()

    again = data.draw(st.lists(st.sampled_from(events), max_size=6)) if events else []
    assert counted(events) == counted(data.draw(st.permutations([*events, *again])))
    expected: dict[tuple[str, str], list[int]] = {}
    for number in {n for what, n in events if what == "refused"}:
        place = 1 if ("replayed", number) in events else 2 if ("dropped", number) in events else 0
        expected.setdefault(("csv", f"code{number % 2}"), [0, 0, 0])[place] += 1
    assert counted(events) == {about: RefusalCounts(*found) for about, found in expected.items()}


def test_a_record_is_a_refusal_or_a_disposition() -> None:
    """Both forms of the quarantine topic are told apart; anything else is neither."""
    made = said(ITEM, "dropped", reason="why")
    record = disposition_record(KafkaConfig(), made)
    assert (record.topic, record.key) == ("planwatch.quarantine", b"acme")
    assert decode_record(record.value) == made
    assert decode_record(encode_refused(ITEM, "acme")) == ITEM
    for value in (None, b"{}", b'{"refusal": "zz"}', b"\xff"):
        with pytest.raises(ValueError, match="not a refusal"):
            decode_record(value)


def test_what_makes_a_refusal_another_one() -> None:
    """Source, file, position, code and bytes do; the folder and the words of the reason do not."""
    same = [
        Refused("sf", "/else/crm[3]", 41, ITEM.payload, "bad_json", "other words"),
    ]
    others = [
        Refused("sg", "crm[3]", 41, ITEM.payload, "bad_json", ITEM.reason),
        Refused("sf", "crm[4]", 41, ITEM.payload, "bad_json", ITEM.reason),
        Refused("sf", "crm[3]", 42, ITEM.payload, "bad_json", ITEM.reason),
        Refused("sf", "crm[3]", 41, b"", "bad_json", ITEM.reason),
        Refused("sf", "crm[3]", 41, ITEM.payload, "gap", ITEM.reason),
    ]
    assert {identity(item) for item in same} == {identity(ITEM)}
    assert len({identity(item) for item in [ITEM, *others]}) == 6


def test_requests_with_one_body_and_other_headers_are_kept_apart() -> None:
    """What an event is about may stand in the headers alone; one that is sent again is the same one."""
    binary = {"ce-id": "1", "ce-subject": "D-1", "content-type": "application/json"}
    told = [binary, {**binary, "ce-id": "2", "ce-subject": "D-2"}, {"webhook-id": "msg_1", "webhook-timestamp": "1"}]
    items = [Refused("shop", "hooks/shop", 0, b"{}", "unmapped_event", "no", around) for around in told]
    again = Refused("shop", "hooks/shop", 0, b"{}", "unmapped_event", "no", {**told[2], "webhook-timestamp": "2"})
    quarantine = Quarantine(MemoryJournal())
    assert quarantine.add([*items, again]) == 3
    assert [kept.refused.around for kept in quarantine.kept()] == told


@pytest.mark.parametrize(
    "value", [None, b"", b"{}", b"[]", b"\xff", encode_refused(ITEM), encode_refused(ITEM, "a").replace(b'"AP', b'"*P')]
)
def test_what_is_no_refusal(value: bytes | None) -> None:
    """A record without a refusal is said to be so, whatever it holds."""
    with pytest.raises(ValueError, match="not a refusal"):
        decode_refused(value)


def test_a_large_refusal_fits_the_topic() -> None:
    """With the smallest message bound, a refusal of full size is cut to fit, and is the same one when it comes again."""
    config = KafkaConfig(message_bytes_max=1 << 16)
    large = Refused("sf", "crm[3]", 41, b"\xff" * (64 << 10), "too_large", "é" * 100_000)
    record = quarantine_record(config, "acme", large)
    assert (record.topic, record.key) == ("planwatch.quarantine", b"acme")
    assert record.value is not None
    assert len(record.value) < 1 << 16
    found = decode_refused(record.value)
    assert large.payload.startswith(found.payload)
    assert len(found.payload) > 30_000
    assert quarantine_record(config, "acme", large) == record
