"""Bulk API 2.0 files through the salesforce door, and their place among change events."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.door import Context, Refused
from ingest.salesforce import SalesforceDoor
from ingest.salesforce_commits import CommitTimes
from planwatch.home import Home
from planwatch.ingesting import ingest
from planwatch.store import Store
from processors.fold import apply
from processors.state import NULL, State
from schemas.change import SEQUENCE_MAX, Change
from tests.unit.salesforce_samples import context, header

S = 1_000_000
#: 2024-03-05T10:15:30Z
START = 1_709_633_730 * S
HEAD = "Id,Name,StageName,Amount,OwnerId,AccountId,Probability,CreatedDate,CloseDate,SystemModstamp"
ROW = "006A,Servers,Won,1000.25,005A,,,2024-03-05T23:30:00.000Z,2024-06-30,2024-03-05T10:15:30.000Z"


def read(
    text: str | bytes,
    name: str = "Opportunity.csv",
    *,
    ctx: Context | None = None,
    object_name: str | None = None,
    commits: Iterable[tuple[int, int]] = (),
) -> list[Change | Refused]:
    raw = text.encode() if isinstance(text, str) else text
    door = SalesforceDoor(object_name, lambda: CommitTimes(commits))
    return list(door.read(f"exports/{name}", io.BytesIO(raw), ctx or context()))


def changes(found: list[Change | Refused]) -> list[Change]:
    assert all(isinstance(item, Change) for item in found), found
    return [item for item in found if isinstance(item, Change)]


def refusal(found: list[Change | Refused]) -> Refused:
    (item,) = found
    assert isinstance(item, Refused), item
    return item


def test_a_row_is_a_snapshot() -> None:
    """All that the record has, empty fields cleared; whatever was missed before is in it, so it does not wait."""
    (change,) = changes(read(f"{HEAD}\n{ROW}\n"))
    assert (change.entity, change.record_id, change.op) == ("opportunity", "006A", "snapshot")
    assert change.fields == {
        "name": "Servers",
        "stage": "Won",
        "amount": "1000.25",
        "owner": "005A",
        "created_date": "2024-03-05",
        "close_date": "2024-06-30",
    }
    assert change.nulled == ("account", "incomplete", "probability")
    assert (change.version, change.sequence, change.occurred_at) == (0, SEQUENCE_MAX, START)


def test_a_rows_version_is_the_last_commit_until_it_was_modified() -> None:
    """The greatest commit number until SystemModstamp, with it; LastModifiedDate stands in for that."""
    commits = [(START + 1, 13), (START - S, 11), (START, 12)]
    (change,) = changes(read(f"{HEAD}\n{ROW}\n", commits=commits))
    assert change.version == 12
    (other,) = changes(read("LastModifiedDate,Id\n2024-03-05T10:15:29.500Z,006A\n", commits=commits))
    assert other.version == 11


def test_columns_that_are_not_there_stay_untouched() -> None:
    """And the record goes on waiting: not all of it was in the file. What is missing is noted once."""
    ctx = context()
    (change,) = changes(read("Id,StageName,SystemModstamp\n006A,Won,2024-03-05T10:15:30.000Z\n", ctx=ctx))
    assert (change.fields, change.nulled) == ({"stage": "Won"}, ())
    missing = {finding.name for finding in ctx.drift.take()}
    assert {"Opportunity.Amount", "Opportunity.CloseDate"} <= missing
    assert "Opportunity.Product__c" not in missing


def test_compound_fields_are_flat_in_a_file() -> None:
    """BillingAddress.City is the column BillingCity; a person's name is one column or two."""
    mapping = {"entities": {"Account": {"fields": {"BillingAddress.City": "region", "Name": "name"}}}}
    when = "2024-03-05T10:15:30.000Z"
    (account,) = changes(
        read(
            f"Id,Name,BillingCity,SystemModstamp\n001A,Acme,Leipzig,{when}\n",
            "Account.csv",
            ctx=context(mapping=mapping),
        )
    )
    assert account.fields == {"name": "Acme", "region": "Leipzig"}
    (lead,) = changes(read(f"Id,FirstName,LastName,SystemModstamp\n00QA,Ada,Moreau,{when}\n", "Lead.csv"))
    assert lead.fields == {"name": "Ada Moreau"}


@pytest.mark.parametrize(
    ("name", "given", "entity"),
    [
        ("Opportunity.csv", None, "opportunity"),
        ("Opportunity-2024-03.csv", None, "opportunity"),
        ("Team__c_full.csv", None, "team"),
        ("Product2.csv", None, "product"),
        ("export.csv", "Account", "account"),
    ],
)
def test_which_object_a_file_holds(name: str, given: str | None, entity: str) -> None:
    """By its name, or as it is said."""
    (change,) = changes(read("Id,SystemModstamp\n1,2024-03-05\n", name, object_name=given))
    assert change.entity == entity


@pytest.mark.parametrize(
    ("text", "name", "code"),
    [
        (f"{HEAD}\n{ROW}\n", "export.csv", "unknown_entity"),
        ("Name,SystemModstamp\nA,2024-03-05\n", "Account.csv", "missing_id"),
        ("Id,Name\n1,A\n", "Account.csv", "missing_date"),
        ("Id,Id,SystemModstamp\n1,2,2024-03-05\n", "Account.csv", "bad_header"),
    ],
)
def test_files_that_cannot_be_taken(text: str, name: str, code: str) -> None:
    """The file is refused as a whole."""
    refused = refusal(read(text, name))
    assert (refused.code, refused.position) == (code, 0)


def test_a_bad_row_costs_itself() -> None:
    """It is refused with its line and the header under which it can be read again."""
    bad = ROW.replace("1000.25", "lots")
    good, refused, after = read(f"{HEAD}\n{ROW}\n{bad}\n{ROW.replace('006A', '006B')}\n")
    assert isinstance(good, Change)
    assert isinstance(after, Change)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.position, refused.around["head"]) == ("bad_number", 3, HEAD)
    assert refusal(read(f"{HEAD}\n,A,New,,,,,,,2024-03-05\n")).code == "missing_id"
    assert refusal(read(f"{HEAD}\n006A,A,New,,,,,,,\n")).code == "missing_date"
    assert refusal(read(f"{HEAD}\n006A,A,New,,,,,,,2030-01-01\n")).code == "future"


def test_deleted_rows_and_marks_at_the_beginning() -> None:
    """A queryAll export says what is deleted; a byte order mark and quotes are no part of the names."""
    text = '\ufeff"Id","IsDeleted","SystemModstamp"\r\n"006A","true","2024-03-05T10:15:30.000Z"\r\n'
    (change,) = changes(read(text))
    assert (change.op, change.fields, change.nulled) == ("delete", {}, ())


def test_events_are_told_from_tables() -> None:
    """The first bytes say what a file is, whatever its name."""
    event = {"ChangeEventHeader": header(), "StageName": "Won"}
    (change,) = changes(read(f"\n\n{json.dumps(event)}\n", "Opportunity.csv"))
    assert change.op == "update"


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_accounted_for(noise: bytes, under_header: bool) -> None:
    """No table and no row raises; each gives something or is blank."""
    raw = f"{HEAD}\n".encode() + noise if under_header else noise
    assert all(isinstance(item, Change | Refused) for item in read(raw))


FIELD = {"stage": "StageName", "amount": "Amount", "owner": "OwnerId"}
IDS = ("006A", "006B")


def to_row(record_id: str, record: dict[str, Any], at: int) -> str:
    cells = [record_id, *(str(record.get(name) or "") for name in FIELD.values())]
    milliseconds = at // 1000
    return ",".join([*cells, str(milliseconds)])


class Crm:
    """A history of commits in a CRM: what its events say, and what its records were after each of them."""

    def __init__(self, steps: list[tuple[str, str, dict[str, Any]]]) -> None:
        self.events: list[dict[str, Any]] = []
        self.exports: list[str] = []
        records: dict[str, dict[str, Any]] = {}
        modified: dict[str, int] = {}
        self.snapshots: list[dict[str, dict[str, Any]]] = []
        for number, (record_id, kind, values) in enumerate(steps, start=1):
            at = START + number * S
            if kind == "DELETE" and record_id in records:
                change: str = "DELETE"
                del records[record_id]
                values = {}
            else:
                change = "UPDATE" if record_id in records else "CREATE"
                records[record_id] = {**records.get(record_id, {}), **values}
                if change == "CREATE":
                    records[record_id] = {name: values.get(name) for name in FIELD.values()}
                    values = records[record_id]
            modified[record_id] = at
            given = header(
                recordIds=[record_id],
                changeType=change,
                commitNumber=1000 + number,
                commitTimestamp=at // 1000,
                transactionKey=f"t{number}",
                changedFields=sorted(values) if change == "UPDATE" else [],
                nulledFields=sorted(name for name, value in values.items() if value is None),
            )
            self.events.append({"ChangeEventHeader": given, **values})
            rows = [to_row(name, record, modified[name]) for name, record in sorted(records.items())]
            self.exports.append("\n".join([f"Id,{','.join(FIELD.values())},SystemModstamp", *rows]))
            self.snapshots.append({name: dict(record) for name, record in records.items()})


def folded(state: State) -> dict[str, dict[str, Any]]:
    """The records that exist, as the CRM has them."""
    table = state.tables["opportunity"]
    found = {}
    for code, slot in table.slots.items():
        if table.value("exists", slot) != 1:
            continue
        raw = {ours: table.value(ours, slot) for ours in FIELD}
        found[state.names.texts[code]] = {
            theirs: None
            if raw[ours] == NULL
            else raw[ours] // 10_000
            if ours == "amount"
            else state.names.text(raw[ours])
            for ours, theirs in FIELD.items()
        }
    return found


STEPS = st.lists(
    st.tuples(
        st.sampled_from(IDS),
        st.sampled_from(["SAVE", "SAVE", "SAVE", "DELETE"]),
        st.fixed_dictionaries(
            {},
            optional={
                "StageName": st.sampled_from(["New", "Won"]),
                "Amount": st.none() | st.integers(1, 9),
                "OwnerId": st.none() | st.sampled_from(["005A", "005B"]),
            },
        ),
    ),
    min_size=1,
    max_size=12,
)


class Log:
    """Takes pieces of input as they arrive, each in the knowledge of the log until then."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def take(self, piece: str) -> None:
        commits = [(c.occurred_at, c.version) for c in self.changes if c.op != "snapshot"]
        self.changes += changes(read(piece, commits=commits))

    def state(self) -> State:
        state = State(context().config)
        apply(state, [change.model_dump() for change in self.changes])
        return state


@settings(deadline=None)
@given(STEPS, st.data())
def test_a_backfill_at_any_moment_in_any_order_ends_in_the_crms_state(
    steps: list[tuple[str, str, dict[str, Any]]], data: st.DataObject
) -> None:
    """All events and one or two exports, shuffled: what the log folds into is what the CRM holds."""
    crm = Crm(steps)
    exports = data.draw(st.lists(st.sampled_from(crm.exports), min_size=1, max_size=2))
    pieces = data.draw(st.permutations([*map(json.dumps, crm.events), *exports]))
    log = Log()
    for piece in pieces:
        log.take(piece)
    # A record that an export holds and that was deleted before any event of it can be known is known by its DELETE.
    assert folded(log.state()) == crm.snapshots[-1]


@settings(deadline=None)
@given(STEPS, st.data())
def test_a_backfill_makes_up_for_events_that_were_lost(
    steps: list[tuple[str, str, dict[str, Any]]], data: st.DataObject
) -> None:
    """Updates that were lost before an export are made up for by it; what comes after it counts as ever."""
    crm = Crm(steps)
    moment = data.draw(st.integers(1, len(steps)))
    before = crm.events[:moment]
    lost = data.draw(st.lists(st.sampled_from(range(moment)), unique=True))
    log = Log()
    for number, event in enumerate(before):
        if number not in lost or event["ChangeEventHeader"]["changeType"] == "DELETE":
            log.take(json.dumps(event))
    log.take(crm.exports[moment - 1])
    for event in crm.events[moment:]:
        log.take(json.dumps(event))
    assert folded(log.state()) == crm.snapshots[-1]


def test_the_command_takes_a_file_and_asks_the_log(tmp_path: Path) -> None:
    """Through `planwatch ingest`: the row takes the version of the last event that the log has until then."""
    (tmp_path / "planwatch.yaml").write_text("tenant: acme\nsources: {sf: {kind: salesforce}}\n", encoding="utf-8")
    events, table = tmp_path / "events.jsonl", tmp_path / "export.csv"
    event = {"ChangeEventHeader": header(commitNumber=77, commitTimestamp=START // 1000), "StageName": "New"}
    events.write_text(json.dumps(event), encoding="utf-8")
    table.write_text(f"{HEAD}\n{ROW}\n", encoding="utf-8")
    store = Store(Home(tmp_path))
    assert ingest(store, "salesforce", [str(events)], None, None).applied == 1
    assert ingest(store, "salesforce", [str(table)], None, None).quarantined == 1
    assert ingest(store, "salesforce", [str(table)], None, None, "Opportunity").applied == 1
    assert ingest(store, "salesforce", [str(table)], None, None, "Opportunity").duplicate == 1
    (last,) = [c for e in store.log.read(1) for m in store.decoded([e]) for c in m.changes][:1]
    assert (last["op"], last["version"]) == ("snapshot", 77)
