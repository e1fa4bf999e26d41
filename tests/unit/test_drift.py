"""What doors do not know: noticed once, kept with when it was first seen, and no noise about what nobody maps."""

from __future__ import annotations

import io
import json
import threading

import pytest

from ingest import DOORS, RECORD_DOORS, Context, Refused
from ingest.door import Received
from ingest.drift import ABSENT_RECORDS, KNOWN_MAX, VALUES_MAX, Drift, FieldWatch, Finding, nearest
from ingest.drift_journal import JournalDrift
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from storage.memory import MemoryJournal

NOW = 1_750_000_000_000_000


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("close_date", ["Close Date", "Created"], "Close Date"),
        ("StageName", ["Stage_Name__c", "Name"], "Stage_Name__c"),
        ("Negotation", ["Negotiation", "Won"], "Negotiation"),
        ("amount", ["owner", "id"], ""),
        ("amount", [], ""),
        ("", ["a"], ""),
        ("名前", ["名前2", "x"], "名前2"),
    ],
)
def test_the_nearest_name(name: str, candidates: list[str], expected: str) -> None:
    """Case, punctuation and Salesforce's mark of custom fields do not matter; what is not alike is not taken."""
    assert nearest(name, candidates) == expected


def test_each_finding_once() -> None:
    """Noted any number of times it is taken once; what could not be kept comes again."""
    drift = Drift()
    for example in ("006A", "006B"):
        drift.note("unknown_stage", "opportunity", "stage=New", example, "News")
    found = drift.take()
    assert found == [Finding("unknown_stage", "opportunity", "stage=New", '"006A"', "News")]
    assert drift.take() == []
    drift.give_back(found)
    assert drift.take() == found


def test_input_does_not_fill_the_memory() -> None:
    """The number of names, of values of a field, and their lengths are bounded; half a character can be stored."""
    drift = Drift()
    for n in range(VALUES_MAX + 10):
        drift.note("unknown_value", "opportunity", f"stage={n}", n)
    assert len(drift.take()) == VALUES_MAX
    for n in range(KNOWN_MAX + 10):
        drift.note("unknown_field", "lead", f"Lead.f{n}{'x' * 1_000}", "\ud800" * 1_000)
    found = drift.take()
    assert len(found) == KNOWN_MAX - VALUES_MAX
    assert all(len(f.name) <= 200 and len(f.example) <= 100 for f in found)
    drift = Drift()
    drift.note("unknown_field", "lead", "Lead.\ud800", "\ud800", "\udfff")
    (finding,) = drift.take()
    JournalDrift(MemoryJournal(), "acme").add("crm", [finding], NOW)


def test_several_threads_note_the_same() -> None:
    """It is taken once all the same."""
    drift = Drift()
    threads = [
        threading.Thread(
            target=lambda: [drift.note("unknown_value", "lead", f"status={n % 40}", n) for n in range(500)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drift.take()) == 40


def test_the_journal_keeps_when_it_was_first_seen() -> None:
    """Of one finding the first stands, per source; what is forgotten can be found again."""
    journal = JournalDrift(MemoryJournal(), "acme")
    finding = Finding("unknown_stage", "opportunity", "stage=New", '"006A"')
    assert journal.add("crm", [finding], NOW) == [finding]
    assert journal.add("crm", [finding], NOW + 5) == []
    assert journal.add("erp", [finding], NOW - 5) == [finding]
    assert [(e.source, e.first_seen) for e in journal.noted()] == [("erp", NOW - 5), ("crm", NOW)]
    journal.forget(journal.noted()[:1])
    assert [e.source for e in journal.noted()] == ["crm"]
    assert journal.add("erp", [finding], NOW) == [finding]


MAPPED = {"Name": "name", "StageName": "stage", "Amount": "amount"}


def watch(records: list[tuple[set[str], bool]], named: tuple[str, ...] = ()) -> list[Finding]:
    drift = Drift()
    fields = FieldWatch(drift)
    for names, full in records:
        fields.saw("Opportunity", "opportunity", names, MAPPED, named, full=full)
    return drift.take()


WHOLE = {"Name", "StageName", "Amount", "Custom__c"}


def test_a_field_that_came_and_does_not_come_any_more() -> None:
    """After so many full records without it, with the field that it was likely renamed to."""
    renamed = (WHOLE - {"StageName"}) | {"Stage_Name__c"}
    (finding,) = watch([(WHOLE, True), *[(renamed, True)] * ABSENT_RECORDS])
    assert finding == Finding("missing_field", "opportunity", "Opportunity.StageName", '"stage"', "Stage_Name__c")
    assert watch([(WHOLE, True), *[(renamed, True)] * (ABSENT_RECORDS - 1)]) == []


def test_what_is_no_news() -> None:
    """Unmapped fields, fields that only updates lack, one that comes now and then, and a usual one that never came."""
    without = WHOLE - {"Amount"}
    assert watch([(WHOLE, True)] * 500) == []
    assert watch([(WHOLE, True), *[(without, False)] * 500]) == []
    assert watch(([(without, True)] * (ABSENT_RECORDS - 1) + [({"Amount"}, False)]) * 3) == []
    assert watch([(without, True)] * 500) == []
    assert watch([(WHOLE, True), *[(without, True)] * 500]) == []  # nothing is alike: it may be empty for a while


def test_a_field_that_the_mapping_names_itself() -> None:
    """It is missed although it never came: its name may be wrong."""
    (finding,) = watch([(WHOLE - {"Amount"}, True)] * 500, named=("Amount",))
    assert (finding.name, finding.near) == ("Opportunity.Amount", "")


# ---- at the csv door


def csv_drift(raw: str, **fields: object) -> tuple[list[Finding], list[object]]:
    entry = {"match": "d.csv", "entity": "opportunity", "id": "id", "snapshot_at": "2017-01-01", "fields": fields}
    ctx = Context(
        "acme", "crm", Config.model_validate({"stages": [{"name": "Won"}]}), Mapping.model_validate({"files": [entry]}),
        ManualClock(NOW),
    )  # fmt: skip
    items = list(DOORS["csv"].read("d.csv", io.BytesIO(raw.encode()), ctx))
    return ctx.drift.take(), items


def test_a_renamed_column_refuses_the_file_and_says_so() -> None:
    """Without a column that it needs a file is refused; the message and the finding name the one it became."""
    (finding,), (item,) = csv_drift("id,Close Date,other\n1,2024-01-05,x\n", close_date="close_date", name="id")
    assert isinstance(item, Refused)
    assert item.code == "missing_column"
    assert 'Likely renamed: "close_date" to "Close Date"' in item.reason
    assert finding == Finding("missing_field", "opportunity", "close_date", '"d.csv"', "Close Date")


def test_an_optional_column_that_was_renamed() -> None:
    """The file goes in; the column is a finding where another is called almost like it, and none otherwise."""
    optional = {"column": "close_date", "optional": True}
    (finding,), (item,) = csv_drift("id,CloseDate\n1,2024-01-05\n", close_date=optional)
    assert not isinstance(item, Refused)
    assert (finding.kind, finding.near) == ("missing_field", "CloseDate")
    assert csv_drift("id,owner\n1,x\n", close_date=optional)[0] == []


def test_columns_that_nobody_maps_are_no_news() -> None:
    """However many there are."""
    assert csv_drift("id,a,b,c,stage\n1,x,y,z,Won\n", stage="stage")[0] == []


def test_an_unknown_stage_goes_in() -> None:
    """The change is as it would be, and the stage a finding with the record that had it."""
    (finding,), (item,) = csv_drift("id,stage\n1,Wonn\n", stage="stage")
    assert finding == Finding("unknown_stage", "opportunity", "stage=Wonn", '"1"')
    assert not isinstance(item, Refused)


# ---- at the salesforce door


def test_a_field_that_salesforce_does_not_send_any_more() -> None:
    """Records come whole for a while, then under another name: the field is missed once; custom fields are no news."""
    ctx = Context("acme", "sf", Config(), None, ManualClock(NOW))
    reader = RECORD_DOORS["salesforce"].reader(ctx)

    def event(number: int, **fields: object) -> Received:
        header = {
            "entityName": "Opportunity",
            "recordIds": [f"006{number}"],
            "changeType": "CREATE",
            "commitNumber": number,
            "commitTimestamp": 1_700_000_000_000,
            "transactionKey": str(number),
        }
        return Received(json.dumps({"ChangeEventHeader": header, "Custom_Thing__c": 1, **fields}).encode())

    for number in range(ABSENT_RECORDS + 5):
        name = "StageName" if number < 5 else "Stage_Name__c"
        assert len(reader.take(event(number, Name="a", **{name: "Won"}), "t[0]", number)) == 1
    assert ctx.drift.take() == [
        Finding("missing_field", "opportunity", "Opportunity.StageName", '"stage"', "Stage_Name__c")
    ]
