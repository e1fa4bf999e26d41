"""Changes as Salesforce events: what the door reads from them is the change again."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import RECORD_DOORS, Context, load_mapping
from ingest.cdc_writer import CdcWriter, custom_name, mapping_for, mapping_text
from ingest.door import Received
from ingest.simulator import Simulator
from ingest.values import canonical_decimal, kind_of
from schemas.change import Change, Scalar
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from schemas.records import FIELDS, INCOMPLETE, Kind

EXTRA: dict[str, dict[str, Kind]] = {
    "opportunity": {"margin": "decimal", "Next Step": "text", "strategic": "flag", "Product": "text", "a.b": "date"},
    "account": {"founded": "date", "0x1": "text", "last_call": "time"},
}
CONFIG = Config(tenant="acme", time="log", fields=EXTRA, calendar={"time_zone": "Pacific/Auckland"})
MAPPING = mapping_for({entity: list(names) for entity, names in EXTRA.items()})
EPOCH = dt.datetime.fromisoformat("1970-01-01")
DAYS = st.dates(dt.date(1970, 1, 2), dt.date(2199, 12, 31)).map(lambda day: day.isoformat())
TEXTS = st.text(min_size=1, max_size=30)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    "text": TEXTS,
    "decimal": st.decimals(-(10**12), 10**12, places=4).map(lambda number: canonical_decimal(number, "")),
    "date": DAYS,
    "time": st.integers(0, 10**16).map(lambda us: (EPOCH + dt.timedelta(microseconds=us)).isoformat() + "Z"),
    "flag": st.booleans(),
}


def read_back(change: Change, mapping: Mapping | None = MAPPING, config: Config = CONFIG) -> Change:
    """The change that the door reads from the change's event."""
    context = Context(change.tenant, change.source, config, mapping, ManualClock(0))
    taken = (
        RECORD_DOORS["salesforce"].reader(context).take(Received(CdcWriter(config, mapping).event(change)), "t[0]", 7)
    )
    (found,) = taken
    assert isinstance(found, Change), found.reason
    return found


def meaning(change: Change) -> dict[str, Any]:
    """What must survive the way through an event."""
    said = change.model_dump(exclude={"event_id"})
    said["op"] = "create" if change.op == "snapshot" else change.op
    said["nulled"] = sorted(change.nulled)
    for name, value in change.fields.items():
        if kind_of(CONFIG, change.entity, name) == "decimal":
            said["fields"][name] = Decimal(value)  # 9600 and "9600" are one number
    return said


@st.composite
def changes(draw: st.DrawFn) -> Change:
    entity = draw(st.sampled_from(sorted(FIELDS)))
    op = draw(st.sampled_from(["create", "update", "delete", "undelete", "snapshot"]))
    names = sorted({*FIELDS[entity], *EXTRA.get(entity, {})} - {INCOMPLETE})  # Salesforce has no such field
    named = draw(st.lists(st.sampled_from(names), unique=True)) if op != "delete" else []
    nulled = {name for name in named if draw(st.integers(0, 4)) == 0}
    fields: dict[str, Scalar] = {}
    for name in named:
        kind = kind_of(CONFIG, entity, name)
        if name not in nulled:
            fields[name] = draw(VALUES[kind])
    if "rate" in fields:
        fields["rate"] = draw(st.decimals("0.0001", 10**6, places=4).map(lambda n: canonical_decimal(n, "")))
    return Change(
        tenant="acme",
        source="sf",
        entity=entity,  # type: ignore[arg-type]
        record_id=draw(st.text(min_size=1, max_size=40)),
        op=op,  # type: ignore[arg-type]
        version=draw(st.integers(0, 2**63 - 1)),
        sequence=draw(st.integers(0, 2**23 - 1)),
        occurred_at=draw(st.integers(0, 10**16)),
        event_id=draw(st.text(min_size=1, max_size=40)),
        fields=fields,
        nulled=tuple(sorted(nulled)),
    )


@given(changes())
def test_any_change_comes_back(change: Change) -> None:
    """Entity, record, op, order, time to the microsecond, fields of every kind and cleared fields survive."""
    assert meaning(read_back(change)) == meaning(change)


def test_the_simulated_company_comes_back() -> None:
    """Its stream needs no mapping, comes back as it was, and changes that differ have event ids that differ."""
    stream = list(itertools.islice(Simulator(tenant="acme", source="sf").changes(), 4000))
    found = [read_back(change, None, Config(tenant="acme", time="log")) for change in stream]
    assert [meaning(change) for change in found] == [meaning(change) for change in stream]
    assert len({change.event_id for change in found}) == len({change.event_id for change in stream})


def test_an_event_looks_like_salesforces() -> None:
    """An update lists its fields by Salesforce's names, numbers are numbers, whole milliseconds are whole."""
    change = Change(
        tenant="acme",
        source="sf",
        entity="opportunity",
        record_id="006A",
        op="update",
        version=5,
        occurred_at=1_709_633_730_123_000,
        event_id="e1",
        fields={"amount": "1054.5", "stage": "Won", "margin": 3},
        nulled=("close_date",),
    )
    body = json.loads(CdcWriter(CONFIG, MAPPING).event(change))
    header = body.pop("ChangeEventHeader")
    assert body == {"Amount": 1054.5, "StageName": "Won", "margin__c": 3}
    assert header["entityName"] == "Opportunity"
    assert header["changedFields"] == ["Amount", "StageName", "margin__c", "CloseDate"]
    assert header["nulledFields"] == ["CloseDate"]
    assert header["commitTimestamp"] == 1_709_633_730_123


def test_the_mapping_as_a_file(tmp_path: Path) -> None:
    """The mapping's text, loaded as a mapping file, is the same mapping."""
    (tmp_path / "mapping.yaml").write_text(mapping_text(MAPPING), encoding="utf-8")
    assert load_mapping(tmp_path / "mapping.yaml") == MAPPING


@given(st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=20))
def test_custom_names_are_distinct(fields: list[str]) -> None:
    """Two fields never share a custom field's name, and no such name is a standard one."""
    names = {custom_name(field) for field in fields}
    assert len(names) == len(fields)
    assert not names & {"Product__c", "Team__c", "Kind__c", "Date__c"}


def test_what_salesforce_has_no_words_for() -> None:
    """An empty text is null; the fields of a delete are left out; a field without a name and a rate of 0 are errors."""
    base = Change(
        tenant="acme", source="sf", entity="lead", record_id="L", op="update", version=1, occurred_at=1, event_id="e"
    )
    assert read_back(base.model_copy(update={"fields": {"name": ""}})).nulled == ("name",)
    assert read_back(base.model_copy(update={"op": "delete", "fields": {"name": "x"}})).fields == {}
    with pytest.raises(ValueError, match="'colour' of lead has no Salesforce name"):
        read_back(base.model_copy(update={"fields": {"colour": "red"}}))
    with pytest.raises(ValueError, match="not above 0"):
        read_back(base.model_copy(update={"entity": "rate", "fields": {"rate": 0}}))
