"""The field-history door: one row per changed field, in any order."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import DOORS, Context, Refused
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping

NOW = 1_750_000_000_000_000
SALESFORCE = "Id,OpportunityId,CreatedDate,Field,OldValue,NewValue\n"


def read(content: str | bytes, mapping: dict[str, object] | None = None) -> list[Change | Refused]:
    raw = content.encode() if isinstance(content, str) else content
    given_mapping = None if mapping is None else Mapping.model_validate(mapping)
    ctx = Context("acme", "sf", Config(), given_mapping, ManualClock(NOW))
    return list(DOORS["field-history"].read("history.csv", io.BytesIO(raw), ctx))


def one(content: str, mapping: dict[str, object] | None = None) -> Change:
    (change,) = read(content, mapping)
    assert isinstance(change, Change), change
    return change


def test_salesforce_history() -> None:
    """OpportunityFieldHistory needs no mapping: the record column is OpportunityId and not Id."""
    change = one(SALESFORCE + "017x,006A,2024-03-05T10:15:30.000+0000,StageName,New,Proposal\n")
    assert (change.entity, change.record_id, change.op) == ("opportunity", "006A", "update")
    assert change.fields == {"stage": "Proposal"}
    assert change.version == change.occurred_at == 1_709_633_730_000_000


@pytest.mark.parametrize(
    ("field", "value", "fields"),
    [
        ("Amount", "1000.50", {"amount": "1000.5"}),
        ("CloseDate", "2024-06-30", {"close_date": "2024-06-30"}),
        ("Owner", "Ada", {"owner": "Ada"}),
        ("AccountId", "001A", {"account": "001A"}),
        ("Description", "anything", {}),
    ],
)
def test_fields_by_their_names(field: str, value: str, fields: dict[str, object]) -> None:
    """Fields are found by Salesforce's names; one that nothing needs counts as a change and alters nothing."""
    assert one(f"{SALESFORCE}1,006A,2024-03-05T10:15:30Z,{field},,{value}\n").fields == fields


def test_created_deleted_and_cleared() -> None:
    """created, deleted and undeleted are events of the record; an empty new value clears the field."""
    rows = "".join(
        f"{n},006A,2024-03-0{n}T00:00:00Z,{field},x,\n"
        for n, field in enumerate(["created", "Amount", "deleted", "undeleted"], start=1)
    )
    items = [item for item in read(SALESFORCE + rows) if isinstance(item, Change)]
    assert [c.op for c in items] == ["create", "update", "delete", "undelete"]
    assert items[0].fields == {"created_date": "2024-03-01"}
    assert (items[1].fields, items[1].nulled) == ({}, ("amount",))


def test_lookup_by_id_beats_lookup_by_name() -> None:
    """Salesforce logs a new owner twice at one time; the row with the id has the higher sequence."""
    rows = "1,006A,2024-03-05T10:15:30Z,Owner,,Ada Moreau\n2,006A,2024-03-05T10:15:30Z,Owner,,005000000000001AAA\n"
    by_name, by_id = (item for item in read(SALESFORCE + rows) if isinstance(item, Change))
    assert by_name.version == by_id.version
    assert by_name.sequence < by_id.sequence


def test_pipedrive_as_json_lines() -> None:
    """JSON lines are recognised by their first byte, and Pipedrive's names are known."""
    rows = [
        {
            "object_id": 7,
            "log_time": "2024-03-05 10:15:30",
            "field_key": "value",
            "old_value": None,
            "new_value": 12.25,
        },
        {"object_id": 7, "log_time": "2024-03-05 10:15:30", "field_key": "title", "old_value": None, "new_value": "X"},
    ]
    first, second = read("\n".join(json.dumps(row) for row in rows))
    assert isinstance(first, Change)
    assert isinstance(second, Change)
    assert (first.record_id, first.fields) == ("7", {"amount": "12.25"})
    assert second.fields == {"name": "X"}


def test_columns_and_fields_by_mapping() -> None:
    """A mapping names columns, the entity, fields and aliases."""
    mapping = {
        "history": {
            "entity": "lead",
            "columns": {"record": "who", "time": "at", "field": "what", "new": "to"},
            "fields": {"Origin": "channel"},
        },
        "aliases": {"channel": {"www": "Web"}},
    }
    change = one("who,at,what,to\nL1,2024-03-05,Origin,www\n", mapping)
    assert (change.entity, change.fields) == ("lead", {"channel": "Web"})


def test_order_and_repeats_give_the_same_ids() -> None:
    """Shuffled or repeated rows give the same changes, and rows of one moment stay apart."""
    rows = [f"{n},006A,2024-03-05T10:15:30Z,{f},,{n}\n" for n, f in enumerate(["Amount", "Other", "Another"])]
    forward = {c.event_id for c in read(SALESFORCE + "".join(rows)) if isinstance(c, Change)}
    backward = {c.event_id for c in read(SALESFORCE + "".join(rows[::-1] * 2)) if isinstance(c, Change)}
    assert forward == backward
    assert len(forward) == 3


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("1,006A,yesterday,Amount,,5\n", "bad_date"),
        ("1,006A,2099-01-01,Amount,,5\n", "future"),
        ("1,006A,2024-01-01,Amount,,much\n", "bad_number"),
        ("1,,2024-01-01,Amount,,5\n", "missing_id"),
        ("1,006A,2024-01-01,,,5\n", "missing_value"),
        ("1,006A,2024-01-01\n", "truncated_row"),
    ],
)
def test_bad_rows_are_refused(row: str, code: str) -> None:
    """A bad row is refused with its line; the next one is read."""
    refused, good = read(SALESFORCE + row + "1,006A,2024-01-01,Amount,,5\n")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.position) == (code, 2)
    assert isinstance(good, Change)


def test_unusable_files_are_refused_once() -> None:
    """An empty file and one without the columns are one refusal each, which says what is missing."""
    (empty,) = read("")
    (other,) = read("a,b\n1,2\n3,4\n")
    assert isinstance(empty, Refused)
    assert isinstance(other, Refused)
    assert (empty.code, other.code) == ("empty_file", "missing_column")
    assert "record, time, field, new" in other.reason


def test_a_number_that_nothing_can_hold() -> None:
    """A JSON number with an exponent beyond all decimals costs its line, and the next one is read."""
    lines = '{"id": 1e99999999999999999999}\n{"id": 7, "time": "2024-03-05", "field": "Amount", "new": 5}\n'
    refused, good = read(lines)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.position) == ("bad_json", 1)
    assert "out of range" in refused.reason
    assert isinstance(good, Change)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", SALESFORCE.encode(), b"{"]))
def test_never_raises(noise: bytes, start: bytes) -> None:
    """Any bytes give changes or refusals and never an exception."""
    for item in read(start + noise):
        assert isinstance(item, Change | Refused)
