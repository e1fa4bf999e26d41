"""What Salesforce could not describe: records wait, are shown as incomplete, and are fetched again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Map
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingest.door import Received, Refused
from ingest.quarantine import Quarantine
from ingest.salesforce import SalesforceDoor
from planwatch.deals import INCOMPLETE_FLAG, deals_at_risk, deals_that_matter
from planwatch.home import Home
from planwatch.metrics import Metrics
from planwatch.refetching import RECORDS_MAX, Refetcher
from planwatch.scheduling import jobs_of
from processors.fold import apply
from processors.state import State
from processors.waiting import Waiting, waiting
from schemas.change import Change
from storage.memory import MemoryJournal
from storage.ports import RefetchFailed
from storage.salesforce_memory import MemoryRefetch
from tests.unit.salesforce_samples import TIME_MS, context, header, one, take

STAGES = {"stages": [{"name": "New", "probability": 10}, {"name": "Won", "kind": "won"}]}
CTX = context(**STAGES)
AT = TIME_MS * 1000
MODIFIED = "2024-03-05T10:15:40.000Z"


def event(kind: str, commit: int, *ids: str, name: str = "Opportunity", **fields: Any) -> dict[str, Any]:
    given = header(changeType=kind, commitNumber=commit, recordIds=list(ids or ("006A",)), entityName=name)
    return {"ChangeEventHeader": given, **fields}


def record(**fields: Any) -> dict[str, Any]:
    return {"Id": "006A", "SystemModstamp": MODIFIED, **fields}


class World:
    """A state that follows what is appended, a CRM, a quarantine, and the refetcher between them."""

    def __init__(self, **objects: dict[str, dict[str, Any]]) -> None:
        self.state = State(CTX.config)
        self.crm = MemoryRefetch(objects)
        self.quarantine = Quarantine(MemoryJournal())
        self.appended: list[Change] = []
        self.refetcher = Refetcher(CTX, self.crm, self.append, self.quarantine, self.lend)

    @contextmanager
    def lend(self) -> Iterator[State]:
        yield self.state

    def append(self, changes: Sequence[Change]) -> None:
        self.appended += changes
        apply(self.state, [change.model_dump() for change in changes])

    def receive(self, *events: dict[str, Any]) -> None:
        for body in events:
            found = SalesforceDoor().reader(CTX).take(Received(json.dumps(body).encode()), "crm[0]", 1)
            self.quarantine.add([item for item in found if isinstance(item, Refused)])
            self.append([item for item in found if isinstance(item, Change)])

    def field(self, name: str, record_id: str = "006A", entity: str = "opportunity") -> str | int | None:
        table = self.state.tables[entity]
        value = table.value(name, table.slots[self.state.names.codes[record_id]])
        return self.state.names.text(value) if table.kinds.get(name) == "text" else value

    @property
    def waits(self) -> list[str]:
        return [item.record_id for item in waiting(self.state)]


@pytest.mark.parametrize(
    ("kind", "op", "fields"),
    [
        ("GAP_CREATE", "create", {"incomplete": True}),
        ("GAP_UPDATE", "update", {"incomplete": True}),
        ("GAP_UNDELETE", "undelete", {"incomplete": True}),
        ("GAP_DELETE", "delete", {}),
    ],
)
def test_a_gap_is_a_change_that_marks_its_records(kind: str, op: str, fields: dict[str, Any]) -> None:
    """Each record of the event is marked under the commit's number; nulls in the body say nothing."""
    found = take(CTX, event(kind, 7, "006A", "006B", StageName=None, Amount=None))
    assert [(c.record_id, c.op, c.version, c.fields, c.nulled) for c in found if isinstance(c, Change)] == [
        ("006A", op, 7, fields, ()),
        ("006B", op, 7, fields, ()),
    ]


def test_who_waits() -> None:
    """Marked records wait; those that were deleted meanwhile do not."""
    world = World()
    world.receive(event("GAP_UPDATE", 5, "006A"), event("GAP_CREATE", 6, "006B"), event("GAP_CREATE", 7, "006C"))
    world.receive(event("DELETE", 8, "006C"), event("GAP_DELETE", 9, "006D"))
    assert waiting(world.state) == [
        Waiting("sf", "opportunity", "006A", 5, AT),
        Waiting("sf", "opportunity", "006B", 6, AT),
    ]


def test_a_fetched_record_takes_the_gaps_place() -> None:
    """Its values win over everything up to the gap's commit; an empty field is cleared; it does not wait any more."""
    world = World(Opportunity={"006A": record(Name="Servers", StageName="Won", Amount=700, CloseDate=None)})
    world.receive(event("CREATE", 4, StageName="New", Amount=100, CloseDate="2024-06-30"), event("GAP_UPDATE", 5))
    assert world.refetcher.round().sentence == "sf: 1 fetched"
    assert (world.field("stage"), world.field("amount"), world.field("close_date")) == ("Won", 7_000_000, -(2**63))
    assert world.waits == []
    assert world.refetcher.round().sentence == ""


def test_order_of_arrival_does_not_matter() -> None:
    """Later commits win over the fetched record and earlier ones lose to it, whenever they come."""
    gap, later = event("GAP_UPDATE", 5), event("UPDATE", 6, StageName="New")
    late = event("UPDATE", 4, StageName="Old", Amount=1)
    for order in ([gap, later, late], [gap, late, later], [later, gap, late]):
        world = World(Opportunity={"006A": record(StageName="New", Amount=700)})
        world.receive(*order[:2])
        world.refetcher.round()
        world.receive(order[2])
        assert (world.field("stage"), world.field("amount")) == ("New", 7_000_000), order
        assert world.waits == []


def test_a_second_gap_waits_again() -> None:
    """A gap after the one that was fetched marks the record anew."""
    world = World(Opportunity={"006A": record(StageName="New")})
    world.receive(event("GAP_UPDATE", 5))
    world.refetcher.round()
    world.receive(event("GAP_UPDATE", 9))
    assert world.waits == ["006A"]


def test_a_record_that_is_gone_is_deleted() -> None:
    """It is deleted under the gap's commit, so that an UNDELETE after it brings it back."""
    world = World(Opportunity={})
    world.receive(event("CREATE", 4, StageName="New"), event("GAP_UPDATE", 5))
    assert world.refetcher.round().gone == 1
    assert (world.field("exists"), world.waits) == (0, [])
    world.receive(event("UNDELETE", 6, StageName="New"))
    assert world.field("exists") == 1


def test_what_cannot_be_had_now_waits() -> None:
    """The round says why, keeps what it had, and the next one goes on."""
    world = World(Opportunity={"006A": record(StageName="New"), "006B": {**record(StageName="New"), "Id": "006B"}})
    world.receive(event("GAP_UPDATE", 5, "006A", "006B"))
    world.crm.failing = RefetchFailed("limited", "too many requests")
    done = world.refetcher.round()
    assert (done.problem, done.left, world.waits) == ("too many requests", 2, ["006A", "006B"])
    world.crm.failing = None
    assert world.refetcher.round().fetched == 2
    assert world.waits == []


def test_a_record_that_cannot_be_read_is_refused_and_holds_up_nobody() -> None:
    """It goes to the quarantine with the field that is wrong; more of them than a round takes do not starve the rest."""
    bad = [f"006{n:04}" for n in range(RECORDS_MAX)]
    records = {name: {"Id": name, "SystemModstamp": MODIFIED, "Amount": "lots"} for name in bad}
    world = World(Opportunity={**records, "006Z": {"Id": "006Z", "SystemModstamp": MODIFIED, "Amount": 5}})
    world.receive(event("GAP_UPDATE", 5, *bad), event("GAP_UPDATE", 6, "006Z"))
    assert world.refetcher.round().refused == RECORDS_MAX
    assert world.refetcher.round().fetched == 1
    assert "006Z" not in world.waits
    refused = world.quarantine.newest(1)[0].refused
    assert (refused.code, "Opportunity.Amount" in refused.reason) == ("bad_number", True)


def test_an_overflow_is_refused_and_the_object_resynchronised() -> None:
    """All its records are fetched; one that is not among them is asked for by its id and found to be gone; then the
    refusal is settled."""
    kept = {f"006{n}": {"Id": f"006{n}", "SystemModstamp": MODIFIED, "StageName": "Won"} for n in "AB"}
    world = World(Opportunity=kept)
    world.receive(event("CREATE", 4, "006A", "006C", StageName="New"), event("CREATE", 20, "006D", StageName="New"))
    world.receive(event("GAP_OVERFLOW", 9, "000000000000000AAA"))
    assert world.quarantine.counts()["sf", "gap_overflow"].open == 1
    done = world.refetcher.round()
    assert (done.resynced, done.gone, done.left) == (["Opportunity"], 1, 0)
    stages = {
        name: (world.field("stage", name), world.field("exists", name)) for name in ("006A", "006B", "006C", "006D")
    }
    assert stages == {"006A": ("Won", 1), "006B": ("Won", 1), "006C": ("New", 0), "006D": ("New", 1)}
    assert world.quarantine.counts()["sf", "gap_overflow"].replayed == 1
    assert world.refetcher.round().sentence == ""


def test_an_overflow_that_cannot_be_fetched_now_stays_open() -> None:
    """The refusal is settled only when all records are in the log."""
    world = World(Opportunity={"006A": record(StageName="Won")})
    world.receive(event("GAP_OVERFLOW", 9, "000000000000000AAA"))
    world.crm.failing = RefetchFailed("unavailable", "no answer")
    assert world.refetcher.round().problem == "no answer"
    assert world.quarantine.counts()["sf", "gap_overflow"].open == 1


class _Hidden(MemoryRefetch):
    """A CRM that does not show the records of some objects."""

    def __init__(self, objects: dict[str, dict[str, Any]], hidden: dict[str, RefetchFailed]) -> None:
        super().__init__(objects)
        self.hidden = hidden

    def fetch(self, object_name: str, record_id: str) -> Map[str, Any] | None:
        if object_name in self.hidden:
            raise self.hidden[object_name]
        return super().fetch(object_name, record_id)

    def fetch_all(self, object_name: str) -> Iterator[Map[str, Any]]:
        if object_name in self.hidden:
            raise self.hidden[object_name]
        return super().fetch_all(object_name)


def test_an_object_that_is_hidden_from_us_is_not_gone() -> None:
    """A missing right or a wrong API version looks like an object that does not exist: nothing is deleted for it."""
    world = World()
    world.receive(event("CREATE", 4, StageName="New"), event("GAP_UPDATE", 5))
    world.crm = _Hidden({}, {"Opportunity": RefetchFailed("absent", "404; check the mapping's objects.")})
    world.refetcher = Refetcher(CTX, world.crm, world.append, world.quarantine, world.lend)
    done = world.refetcher.round()
    assert (done.gone, done.left, done.problem) == (0, 1, "404; check the mapping's objects.")
    assert (world.field("exists"), world.waits) == (1, ["006A"])


def test_an_object_that_may_not_be_read_holds_up_no_other() -> None:
    """Neither its overflow nor its records; the round says what is wrong, and both stay due."""
    world = World()
    world.receive(event("GAP_UPDATE", 5), event("GAP_UPDATE", 4, "00QA", name="Lead"))
    world.receive(event("GAP_OVERFLOW", 9, "000000000000000AAA", name="Lead"))
    records = {"Opportunity": {"006A": record(StageName="Won")}}
    world.crm = _Hidden(records, {"Lead": RefetchFailed("forbidden", "403 of Lead")})
    world.refetcher = Refetcher(CTX, world.crm, world.append, world.quarantine, world.lend)
    done = world.refetcher.round()
    assert (done.fetched, done.left, done.problem) == (1, 1, "403 of Lead")
    assert (world.field("stage"), world.waits) == ("Won", ["00QA"])
    assert world.quarantine.counts()["sf", "gap_overflow"].open == 1


def test_a_record_that_a_resynchronisation_cannot_take_waits() -> None:
    """It is asked for until it can be taken, also where nothing was known of it before."""
    world = World(Opportunity={"006B": {"Id": "006B", "SystemModstamp": MODIFIED, "Amount": "lots"}})
    world.receive(event("GAP_OVERFLOW", 9, "000000000000000AAA"))
    assert world.refetcher.round().refused == 1
    assert world.waits == ["006B"]
    world.crm.records["Opportunity"]["006B"]["Amount"] = 7
    assert world.refetcher.round().fetched == 1
    assert (world.field("amount", "006B"), world.waits) == (70_000, [])


def test_incomplete_deals_are_marked() -> None:
    """Beside a deal that waits stands that it is incomplete; that alone makes it no deal at risk."""
    world = World()
    soon = "2024-03-20"
    world.receive(event("CREATE", 4, "006A", "006B", StageName="New", Amount=100, CloseDate=soon))
    world.receive(event("GAP_UPDATE", 5, "006A"))
    shown = {deal.record_id: deal.flags for deal in deals_that_matter(world.state, "company", "", None)}
    assert shown == {"006A": (INCOMPLETE_FLAG,), "006B": ()}
    assert deals_at_risk(world.state, {}, 10) == []


def test_one_change_marks_what_a_difference_left_open() -> None:
    """A mapped text that came as a difference is fetched like any other."""
    mapping = {"entities": {"Opportunity": {"fields": {"Description": "notes"}}}}
    body = event("UPDATE", 5, StageName="Won", Description="@@ -1 +1 @@")
    body["ChangeEventHeader"].update(changedFields=["StageName", "Description"], diffFields=["Description"])
    assert one(context(mapping=mapping), body).fields == {"stage": "Won", "incomplete": True}


def test_the_scheduler_fetches_for_each_tenant_that_can(tmp_path: Path) -> None:
    """A job for a home whose source names an organisation; none for one that does not."""

    def jobs(more: str) -> list[str]:
        (tmp_path / "planwatch.yaml").write_text(
            "tenant: acme\nkafka: {bootstrap: '127.0.0.1:1'}\nsources: {sf: {kind: salesforce, salesforce: {"
            + more
            + "}}}\n",
            encoding="utf-8",
        )
        return [job.name for job in jobs_of(Home(tmp_path), Metrics("scheduler"))]

    assert "refetch acme" in jobs("instance_url: 'https://x.example', token_file: token")
    assert "refetch acme" not in jobs("")
