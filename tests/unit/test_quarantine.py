"""Refusals in their one form: in the journal, and as records of the quarantine topic."""

from __future__ import annotations

import json

import pytest

from ingest.door import Refused
from ingest.quarantine import Quarantine, decode_refused, encode_refused, identity
from ingest.topic_quarantine import quarantine_record
from schemas.events import Refusal
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
    assert quarantine.newest(2) == [items[4], items[3]]
    assert quarantine.newest(9) == items[::-1]
    assert quarantine.newest(0) == []


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
