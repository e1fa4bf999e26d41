"""What `events` in a mapping can say, seen through the webhook door."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ingest import RECORD_DOORS, Context, load_mapping
from ingest.door import Received, Refused
from schemas.base import PlanwatchError
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from tests.unit.event_samples import NOW, context, one, refused, take

BASE: dict[str, Any] = {"entity": "opportunity", "id": "id", "time": "at"}
BODY: dict[str, Any] = {"id": "D1", "at": "2024-05-01T00:00:00Z"}


def entry(**settings: Any) -> dict[str, Any]:
    return {**BASE, **settings}


def changes(ctx: Context, **body: Any) -> list[Change | Refused]:
    return take("webhook", ctx, {**BODY, **body})


def test_the_first_entry_that_matches_is_used() -> None:
    """In the order of the file; the values are patterns, and a number or flag is compared as text."""
    ctx = context(
        [
            {"match": {"kind": "audit*"}, "ignore": True},
            entry(match={"kind": ["deal", 5, True]}, op="create"),
            entry(op="snapshot"),
        ]
    )
    assert changes(ctx, kind="audit.login") == []
    assert [one(changes(ctx, kind=kind)).op for kind in ("deal", 5, "5", True, "true")] == ["create"] * 5
    assert [one(changes(ctx, kind=kind)).op for kind in ("deals", 5.5, None, ["deal"])] == ["snapshot"] * 4


def test_all_of_a_match_must_hold() -> None:
    """Two paths: both must lead to what they say."""
    ctx = context([entry(match={"a": "1", "b.c": "2"})])
    assert one(changes(ctx, a=1, b={"c": 2})).record_id == "D1"
    assert refused(changes(ctx, a=1, b={"c": 3})).code == "unmapped_event"
    assert refused(changes(ctx, a=1)).code == "unmapped_event"


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("a", {"a": "x"}, "x"),
        ("a.b.c", {"a": {"b": {"c": "x"}}}, "x"),
        ("a.0.c", {"a": [{"c": "x"}]}, "x"),
        ("a.b", {"a.b": "x", "a": {"b": "y"}}, "x"),
        ("a.b.c", {"a.b": {"c": "x"}}, "x"),
        ("a.b.c", {"a": {"b.c": "x"}}, "x"),
        ("a.b.c", {"a.b": {}, "a": {"b": {"c": "x"}}}, "x"),
    ],
)
def test_paths(path: str, body: dict[str, Any], found: str) -> None:
    """Through objects and lists, and by keys that hold dots themselves."""
    assert one(changes(context([entry(fields={"name": path})]), **body)).fields == {"name": found}


@pytest.mark.parametrize("body", [{}, {"a": "x"}, {"a": []}, {"a": {"c": 1}}, {"a": None}, {"a": [["x"]]}])
def test_a_path_that_leads_nowhere_leaves_the_field_alone(body: dict[str, Any]) -> None:
    """What an event does not say is untouched, unless the mapping requires it: then the path is named."""
    change = one(changes(context([entry(fields={"name": "a.b"})]), **body))
    assert (change.fields, change.nulled) == ({}, ())
    item = refused(changes(context([entry(fields={"name": {"column": "a.b", "required": True}})]), **body))
    assert item.code == "missing_value"
    assert "a.b" in item.reason


def test_null_and_empty() -> None:
    """What is there and empty clears the field, or with `empty: absent` leaves it alone."""
    for value in (None, "", "  "):
        assert one(changes(context([entry(fields={"name": "a"})]), a=value)).nulled == ("name",)
        assert one(changes(context([entry(fields={"name": "a"}, empty="absent")]), a=value)).nulled == ()
        field = {"column": "a", "required": True}
        assert refused(changes(context([entry(fields={"name": field})]), a=value)).code == "missing_value"


def test_values_as_in_files() -> None:
    """Constants, templates, the moment, aliases and allowed values mean what they mean for files."""
    fields = {
        "currency": {"constant": "EUR"},
        "name": {"template": "{account.name}: {no}"},
        "created_date": {"moment": True},
        "stage": {"column": "stage", "aliases": {"4": "Won"}, "allowed": ["Won", "Lost"]},
        "x": {"column": "flag", "kind": "flag", "aliases": {"true": "no"}},
    }
    ctx = context([entry(fields=fields)])
    change = one(changes(ctx, account={"name": "Acme"}, no=7, stage=4, flag=True))
    assert change.fields == {
        "currency": "EUR",
        "name": "Acme: 7",
        "created_date": "2024-05-01",
        "stage": "Won",
        "x": False,
    }
    item = refused(changes(ctx, stage="Wno"))
    assert item.code == "unknown_value"
    assert '"Won"' in item.reason
    assert one(changes(ctx, account={"name": None}, no=7)).nulled == ("name",)


@pytest.mark.parametrize(
    ("op", "body", "found"),
    [
        (None, {}, "update"),
        ("delete", {}, "delete"),
        ({"column": "do", "values": {"removed": "delete"}}, {"do": "removed"}, "delete"),
        ({"column": "do", "values": {"removed": "delete"}}, {"do": "changed"}, "update"),
        ({"column": "do"}, {"do": "create"}, "create"),
        ({"column": "gone", "values": {True: "delete"}}, {"gone": True}, "delete"),
        ({"column": "gone", "values": {True: "delete"}}, {"gone": False}, "update"),
    ],
)
def test_what_an_event_does(op: Any, body: dict[str, Any], found: str) -> None:
    """By a value in the event; what is not listed is an update."""
    assert one(changes(context([entry(op=op)]), **body)).op == found


def test_an_event_may_be_skipped_by_its_value() -> None:
    """`skip`; and a value that is not there is refused."""
    ctx = context([entry(op={"column": "do", "values": {"viewed": "skip"}})])
    assert changes(ctx, do="viewed") == []
    assert refused(changes(ctx)).code == "missing_op"


def test_a_database_says_itself_what_it_does() -> None:
    """A mark of deletion in a row deletes; otherwise the database's own word stands, and a deletion always."""
    ctx = context([entry(time=None, op={"column": "gone", "values": {"true": "delete"}})])

    def op(letter: str, gone: bool | None) -> str:
        row = {"id": "D1", **({} if gone is None else {"gone": gone})}
        rows = {"before": row, "after": None} if letter == "d" else {"before": None, "after": row}
        source = {"lsn": 5, "table": "deals", "ts_ms": 1_714_521_600_123}
        return one(take("debezium", ctx, {**rows, "op": letter, "source": source})).op

    assert [op("c", False), op("c", True), op("u", None), op("r", False), op("d", False)] == [
        "create",
        "delete",
        "update",
        "snapshot",
        "delete",
    ]


def test_ids_of_several_parts() -> None:
    """Joined with a colon; each part must be there."""
    ctx = context([entry(id=["region", "deal.no"])])
    assert one(changes(ctx, region="eu", deal={"no": 7})).record_id == "eu:7"
    item = refused(changes(ctx, region="eu"))
    assert item.code == "missing_id"
    assert "deal.no" in item.reason


@pytest.mark.parametrize(
    ("version", "found"),
    [(12, 12), ("12", 12), ("2024-05-01T00:00:00Z", 1_714_521_600_000_000), (2**63 - 1, 2**63 - 1)],
)
def test_versions(version: Any, found: int) -> None:
    """A number as it is; a time in microseconds."""
    assert one(changes(context([entry(version="v")]), v=version)).version == found


@pytest.mark.parametrize("version", [None, "", 2**63, -1, "x", 1.5, [1], "9" * 30])
def test_a_version_that_is_none_is_refused(version: Any) -> None:
    """The time never stands in for a version that is missing: the two orders cannot be compared."""
    item = refused(changes(context([entry(version="v")]), v=version))
    assert item.code in {"bad_version", "bad_date"}


def test_at_one_version_a_deletion_comes_last() -> None:
    """It may carry the revision of the change before it: it must win all the same."""
    ctx = context([entry(version="v", op={"column": "do"})])
    gone, changed = (one(changes(ctx, v=5, do=do)) for do in ("delete", "update"))
    assert gone.version == changed.version
    assert gone.sequence > changed.sequence


def test_a_deleted_row_says_not_when_it_went() -> None:
    """Its time is that of its last change: when it was deleted is what the database says; its version still wins."""
    ctx = context([entry(version="at")])
    source = {"lsn": 5, "ts_ms": 1_720_000_000_000}
    gone = one(take("debezium", ctx, {"before": BODY, "after": None, "op": "d", "source": source}))
    last = one(take("debezium", ctx, {"before": None, "after": BODY, "op": "u", "source": {**source, "lsn": 4}}))
    assert (gone.occurred_at, last.occurred_at) == (1_720_000_000_000_000, 1_714_521_600_000_000)
    assert (gone.version, gone.sequence) > (last.version, last.sequence)


@pytest.mark.parametrize(
    ("time", "value"),
    [
        ("at", "2024-05-01T00:00:00Z"),
        ("at", 1_714_521_600_000),
        ({"column": "at", "unit": "s"}, 1_714_521_600),
        ({"column": "at", "unit": "us"}, "1714521600000000"),
        ({"column": "at", "unit": "s"}, "2024-05-01T00:00:00Z"),
    ],
)
def test_times(time: Any, value: Any) -> None:
    """Written out, or counted in what the mapping says."""
    assert one(changes(context([entry(time=time)]), at=value)).occurred_at == 1_714_521_600_000_000


def test_a_number_that_is_hardly_milliseconds_is_no_time() -> None:
    """Seconds without a word are refused and not taken for January 1970."""
    assert "unit" in refused(changes(context([entry()]), at=1_714_521_600)).reason


def test_an_unknown_stage_is_told_and_taken() -> None:
    """It goes in as it is; what is not known is noted once, with the first record that had it."""
    config = {"stages": [{"name": "Offer"}, {"name": "Won", "kind": "won"}]}
    ctx = context([entry(fields={"stage": "s"})], config)
    for stage in ("Won", "Offers", "Offers"):
        assert one(changes(ctx, s=stage)).fields == {"stage": stage}
    (finding,) = ctx.drift.take()
    assert (finding.kind, finding.name, finding.example) == ("unknown_stage", "stage=Offers", '"D1"')


VANISHED: dict[str, tuple[dict[str, Any], str]] = {
    "debezium": (
        {"entity": "opportunity", "id": "id"},
        '{"op": "u", "source": {"lsn": 5, "ts_ms": 1714521600123}, "after": {"id": %d, "name": "n", "stageName": "Won"}}',
    ),
    "webhook": (
        {**BASE, "op": {"column": "do"}},
        '{"id": %d, "at": "2024-05-01T00:00:00Z", "do": "create", "name": "n", "stageName": "Won"}',
    ),
}


@pytest.mark.parametrize("kind", sorted(VANISHED))
def test_a_field_that_vanished_is_told(kind: str) -> None:
    """Rows of a database and creations are whole: a mapped field that does not come any more is noted, with its likely
    new name."""
    entry, text = VANISHED[kind]
    ctx = context([{**entry, "fields": {"stage": "stage_name", "name": "name"}}])
    reader = RECORD_DOORS[kind].reader(ctx)
    for number in range(250):
        taken = list(reader.take(Received((text % number).encode()), "t[0]", number))
        assert one(taken).fields == {"name": "n"}
    (finding,) = ctx.drift.take()
    assert (finding.kind, finding.name, finding.near) == ("missing_field", "events[0].stage_name", "stageName")


def test_an_example_file(tmp_path: Path) -> None:
    """Short forms: a bare word is a path, one value a list of one, and numbers and flags are text where they compare."""
    path = tmp_path / "mapping.yaml"
    path.write_text(
        "events:\n"
        "  - match: {table: deals, version: 5}\n"
        "    entity: opportunity\n"
        "    id: [region, id]\n"
        "    op: {column: gone, values: {true: delete}}\n"
        "    time: {column: updated, unit: us}\n"
        "    fields: {stage: stage, amount: {column: cents, factor: 0.01}}\n"
        "  - {match: {table: audit}, ignore: true}\n"
    )
    deals, audit = load_mapping(path).events
    assert deals.match == {"table": ("deals",), "version": ("5",)}
    assert str(deals.fields["amount"].factor) == "0.01"
    assert deals.fields["stage"].column == "stage"
    assert audit.ignore


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("events:\n  - match: {a: b}\n", "line 2: events[0]: Value error, give `entity` and `id`"),
        ("events:\n  - {entity: deal, id: id}\n", "events[0].entity"),
        ("events:\n  - {entity: lead, id: id, op: {column: a, values: {x: vanish}}}\n", "events[0].op"),
        ("events:\n  - {entity: lead, id: id, time: {column: a, unit: weeks}}\n", "events[0].time"),
        ("events:\n  - {entity: lead, id: id, fields: {name: {template: x}}}\n", "events[0]: template"),
        ("events:\n  - {entity: lead, id: id, filds: {}}\n", "events[0].filds: there is no such setting"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    """As for every other part of a mapping."""
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    with pytest.raises(PlanwatchError) as caught:
        load_mapping(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "field", [{"column": "a", "kind": "text", "unit": "days"}, {"column": "a", "kind": "date", "factor": 2},
              {"constant": "x", "kind": "date"}]
)  # fmt: skip
def test_a_setting_that_its_kind_cannot_have(field: dict[str, Any]) -> None:
    """The mapping is wrong and not the events: it is said at once, with the entry."""
    with pytest.raises(PlanwatchError, match=r"events\[0\]"):
        changes(context([entry(fields={"x": field})]))


DOCS = Path(__file__).resolve().parents[2] / "docs" / "sources.md"
EXAMPLES = dict(re.findall(r"```yaml\n# mapping: (\w+)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
DESCRIBED: dict[str, tuple[str, dict[str, Any], dict[str, str], dict[str, Any]]] = {
    "events": (
        "webhook",
        {
            "type": "deal.created",
            "uuid": "u-1",
            "deal": {
                "id": 7,
                "title": "Renewal",
                "stage": "closed-won",
                "amount_cents": 105_450,
                "closes": "2024-05-31",
                "updated_at": "2024-05-01T00:00:00Z",
                "revision": 3,
            },
            "account": {"name": "Acme"},
        },
        {},
        {
            "stage": "Won",
            "amount": "1054.5",
            "close_date": "2024-05-31",
            "name": "Acme: Renewal",
            "currency": "EUR",
        },
    ),
    "debezium": (
        "debezium",
        {
            "before": None,
            "after": {"id": 7, "stage": "Won", "amount": "1054.50", "closes": 19_874, "rep_id": 3},
            "source": {"schema": "public", "table": "deals", "lsn": 24_023_128, "ts_ms": 1_714_521_600_123},
            "op": "c",
        },
        {},
        {"stage": "Won", "amount": "1054.5", "close_date": "2024-05-31", "owner": "3"},
    ),
    "cloudevents": (
        "cloudevents",
        {
            "specversion": "1.0",
            "type": "com.example.deal.changed",
            "source": "/crm/eu",
            "id": "1",
            "subject": "7",
            "time": "2024-05-01T00:00:00Z",
            "data": {"stage": "Won", "terms": {"amount": 1054.5}},
        },
        {},
        {"stage": "Won", "amount": "1054.5"},
    ),
    "webhook": (
        "webhook",
        {"id": 7, "deleted": False, "updated_at": "2024-05-01T00:00:00Z", "stage": "Won", "amount": 1054.5},
        {"x-topic": "deals"},
        {"stage": "Won", "amount": "1054.5"},
    ),
}


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() | DESCRIBED.keys()))
def test_the_examples_of_the_documentation(name: str, tmp_path: Path) -> None:
    """Each mapping in docs/sources.md is one, and does what it says."""
    path = tmp_path / "mapping.yaml"
    path.write_text(EXAMPLES[name])
    kind, body, headers, fields = DESCRIBED[name]
    ctx = Context("acme", "src", Config(), load_mapping(path), ManualClock(NOW))
    change = one(take(kind, ctx, body, headers))
    assert (change.entity, change.record_id, change.fields) == ("opportunity", "7", fields)
