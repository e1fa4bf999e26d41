"""HubSpot's webhook events: each kind in both of its forms, their order and repeats, and what the mapping adds."""

from __future__ import annotations

from typing import Any

import pytest

from ingest import RECORD_DOORS, Context
from ingest.drift import Finding
from processors.fold import apply
from processors.state import State
from schemas.base import PlanwatchError
from tests.unit.hubspot_samples import AT, association, changes, context, event, generic, merge, prop, take


def live(events: list[Any], ctx: Context | None = None) -> dict[str, Any]:
    """(account, day of creation since 1970) of the deals that exist after these events, by record id."""
    ctx = ctx or context()
    state = State(ctx.config)
    apply(state, [change.model_dump() for change in changes(events, ctx)])
    table = state.tables["opportunity"]
    found = {}
    for slot, code in enumerate(table.ids):
        if table.value("exists", slot) == 1:
            account = table.value("account", slot)
            created = table.value("created_date", slot)
            found[str(state.names.texts[code])] = (state.names.text(account), created)
    return found


# What each event says


def test_a_deal_is_created() -> None:
    """Its day is the day of the event, until the property says another."""
    (change,) = changes(event())
    assert (change.entity, change.record_id, change.op) == ("opportunity", "1246965", "create")
    assert change.fields == {"created_date": "2025-06-14"}
    assert change.occurred_at == AT * 1000


@pytest.mark.parametrize(
    ("object", "name", "value", "entity", "fields"),
    [
        ("deal", "dealname", "New servers", "opportunity", {"name": "New servers"}),
        ("deal", "dealstage", "closedwon", "opportunity", {"stage": "closedwon"}),
        ("deal", "amount", "12500.50", "opportunity", {"amount": "12500.5"}),
        ("deal", "amount", 4800, "opportunity", {"amount": 4800}),
        ("deal", "deal_currency_code", "EUR", "opportunity", {"currency": "EUR"}),
        ("deal", "closedate", "1751241600000", "opportunity", {"close_date": "2025-06-30"}),
        ("deal", "closedate", "2025-06-30T23:30:00Z", "opportunity", {"close_date": "2025-06-30"}),
        ("deal", "createdate", "1748736000000", "opportunity", {"created_date": "2025-06-01"}),
        ("deal", "hubspot_owner_id", "41629779", "opportunity", {"owner": "41629779"}),
        ("deal", "hs_deal_stage_probability", "0.4", "opportunity", {"probability": 40}),
        ("deal", "hs_deal_stage_probability", "0.125", "opportunity", {"probability": "12.5"}),
        ("deal", "hs_primary_associated_company", "5100", "opportunity", {"account": "5100"}),
        ("company", "name", "Northwind", "account", {"name": "Northwind"}),
        ("company", "industry", "COMPUTER_SOFTWARE", "account", {"segment": "COMPUTER_SOFTWARE"}),
        ("contact", "hs_lead_status", "OPEN", "lead", {"status": "OPEN"}),
        ("contact", "lifecyclestage", "salesqualifiedlead", "lead", {"converted": False}),
        ("contact", "lifecyclestage", "opportunity", "lead", {"converted": True}),
        ("contact", "hs_lifecyclestage_opportunity_date", "1748822400000", "lead", {"converted_date": "2025-06-02"}),
        ("contact", "hs_analytics_source", "PAID_SEARCH", "lead", {"channel": "PAID_SEARCH"}),
        ("product", "price", "99.9", "product", {"list_price": "99.9"}),
    ],
)
def test_standard_properties(object: str, name: str, value: Any, entity: str, fields: dict[str, Any]) -> None:
    """In either form of subscription, with no mapping file."""
    given = prop(name, value, object)
    for one in (given, generic(given)):
        (change,) = changes(one)
        assert (change.entity, change.op, change.fields, change.nulled) == (entity, "update", fields, ())
        assert (change.version, change.occurred_at) == (AT * 1000, AT * 1000)


@pytest.mark.parametrize("value", ["", None])
def test_an_emptied_property_is_cleared(value: str | None) -> None:
    """HubSpot writes an empty text."""
    (change,) = changes(prop("amount", value))
    assert (change.fields, change.nulled) == ({}, ("amount",))


def test_a_pure_date_is_its_day_in_every_zone() -> None:
    """HubSpot writes it as its midnight in UTC; a time falls on the day that it is where the tenant is."""
    ctx = context(calendar={"time_zone": "America/Los_Angeles"})
    assert changes(prop("closedate", "1751241600000"), ctx)[0].fields == {"close_date": "2025-06-30"}
    assert changes(prop("closedate", "1751245200000"), ctx)[0].fields == {"close_date": "2025-06-29"}
    assert changes(prop("closedate", "978307200000"), ctx)[0].fields == {"close_date": "2001-01-01"}


@pytest.mark.parametrize(
    ("kind", "op"),
    [("deal.deletion", "delete"), ("contact.privacyDeletion", "delete"), ("deal.restore", "undelete")],
)
def test_records_that_go_and_come_back(kind: str, op: str) -> None:
    """Deleted, erased for privacy, restored: no field is said."""
    (change,) = changes(event(kind))
    assert (change.op, change.fields, change.nulled) == (op, {}, ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (merge(1, [2, 3], None), [("2", "delete"), ("3", "delete")]),
        (merge(1, [2], 1), [("2", "delete")]),
        (merge(1, [1, 2], 1), [("2", "delete")]),
        (merge(1, [2], 9), [("1", "delete"), ("2", "delete"), ("9", "create")]),
        (merge(1, [2], 2), [("1", "delete"), ("2", "create")]),
    ],
)
def test_of_merged_records_one_remains(given: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """The primary one or a new one, and nothing is said of what it holds; event ids differ."""
    found = changes(given)
    assert [(change.record_id, change.op) for change in found] == expected
    assert all(not change.fields and not change.nulled for change in found)
    assert len({change.event_id for change in found}) == len(found)


@pytest.mark.parametrize(
    "given",
    [
        association("DEAL_TO_COMPANY", 1, 5100, associationRemoved=False, isPrimaryAssociation=True),
        association("COMPANY_TO_DEAL", 5100, 1, associationRemoved=False, isPrimaryAssociation=True),
        {
            **event("object.associationChange", associationRemoved=False, isPrimaryAssociation=True),
            "fromObjectTypeId": "0-3",
            "fromObjectId": 1,
            "toObjectTypeId": "0-2",
            "toObjectId": 5100,
            "associationTypeId": 5,
            "associationCategory": "HUBSPOT_DEFINED",
        },
    ],
)
def test_a_deals_company_is_its_account(given: dict[str, Any]) -> None:
    """Told from either side, in either form; taken away it is cleared."""
    (change,) = changes(given)
    assert (change.entity, change.record_id, change.op) == ("opportunity", "1", "update")
    assert change.fields == {"account": "5100"}
    (change,) = changes({**given, "associationRemoved": True})
    assert (change.record_id, change.fields, change.nulled) == ("1", {}, ("account",))


@pytest.mark.parametrize(
    "given",
    [
        association("DEAL_TO_COMPANY", 1, 5101, associationRemoved=False, isPrimaryAssociation=False),
        association("CONTACT_TO_DEAL", 7, 1, associationRemoved=False, isPrimaryAssociation=False),
        association("COMPANY_TO_COMPANY", 5100, 5101, associationRemoved=False, isPrimaryAssociation=False),
    ],
)
def test_other_associations_say_nothing_here(given: dict[str, Any]) -> None:
    """Neither a second company of a deal nor its contacts."""
    assert take(given) == []


def test_a_change_of_company_at_one_instant() -> None:
    """The old one is taken away and the new one given in the same millisecond: the new one stands, in any order."""
    events = [
        event(),
        association("DEAL_TO_COMPANY", 1_246_965, 5100, associationRemoved=True, isPrimaryAssociation=True),
        association("DEAL_TO_COMPANY", 1_246_965, 5200, associationRemoved=False, isPrimaryAssociation=True, eventId=9),
    ]
    for order in (events, events[::-1]):
        assert live(order)["1246965"][0] == "5200"


# Order and repeats


def test_a_backdated_deal_keeps_its_day() -> None:
    """An import gives its deals their own dates, and the event of the creation may come or be dated after them."""
    events = [prop("createdate", "1735689600000", occurredAt=AT - 5), event()]
    for order in (events, events[::-1]):
        assert live(order) == {"1246965": (None, 20_089)}  # 2025-01-01


def test_events_count_in_the_order_in_which_they_occurred() -> None:
    """Whatever order they come in: deleted, restored, deleted again; and a late creation brings nothing back."""
    events = [
        event(),
        event("deal.deletion", occurredAt=AT + 1),
        event("deal.restore", occurredAt=AT + 2),
        event("deal.deletion", occurredAt=AT + 3),
    ]
    for order in (events, events[::-1]):
        assert live(order) == {}
        assert set(live([one for one in order if one["occurredAt"] < AT + 3])) == {"1246965"}


def test_a_deletion_comes_last_within_its_millisecond() -> None:
    """A property that was written in the same one does not bring the deal back."""
    events = [event(), event("deal.deletion"), prop("amount", "7")]
    for order in (events, events[::-1]):
        assert live(order) == {}


def test_an_event_that_comes_again_is_the_same_change() -> None:
    """At any attempt, in a batch or alone; another event is another change, also under an id that is not unique."""
    once = changes(prop("amount", "7"))
    assert changes([prop("amount", "7", attemptNumber=4)]) == once
    others = [
        prop("amount", "7", eventId=1),
        prop("dealname", "7"),
        prop("amount", "7", objectId=1),
        prop("amount", "7", occurredAt=AT + 1),
        event("deal.deletion"),
        event("deal.restore"),
    ]
    assert len({change.event_id for change in [*once, *changes(others)]}) == 1 + len(others)


def test_events_without_an_id_are_known_by_their_content() -> None:
    """The same content is the same change."""
    bare = {name: value for name, value in prop("amount", "7").items() if name not in ("eventId", "subscriptionId")}
    assert changes(bare) == changes({**bare, "attemptNumber": 3})
    assert changes(bare)[0].event_id != changes({**bare, "propertyValue": "8"})[0].event_id


# The mapping, and what nobody has explained


def test_the_mapping_adds_objects_and_properties() -> None:
    """By name or by type id; a property that it names takes the standard one's place; others are skipped."""
    mapping = {
        "entities": {
            "0-3": {"fields": {"annual_value": "amount", "region": "region"}},
            "2-77": {"entity": "contract", "fields": {"customer": "account", "ends": "end_date"}},
            "0-5": {"ignore": True},
            "line_item": {"ignore": True},
        },
        "aliases": {"stage": {"184305721": "closedwon"}, "converted": {"71": "yes"}},
    }
    ctx = context(mapping)
    given = [
        prop("annual_value", "7"),
        prop("region", "North"),
        prop("amount", "8"),
        prop("dealstage", "184305721"),
        prop("lifecyclestage", "71", "contact"),
        {**prop("ends", "1751241600000", "object"), "objectTypeId": "2-77"},
        event("ticket.creation"),
        generic(event("line_item.creation")),
    ]
    assert [(change.entity, change.fields) for change in changes(given, ctx)] == [
        ("opportunity", {"amount": 7}),
        ("opportunity", {"region": "North"}),
        ("opportunity", {"stage": "closedwon"}),
        ("lead", {"converted": True}),
        ("contract", {"end_date": "2025-06-30"}),
    ]
    assert [found.name for found in ctx.drift.take()] == ["deal.amount"]


def test_an_object_without_an_entity_is_named() -> None:
    """The mapping must say what a custom object is."""
    with pytest.raises(PlanwatchError, match=r"entities\.2-77: say which `entity`"):
        RECORD_DOORS["hubspot"].reader(context({"entities": {"2-77": {"fields": {"a": "b"}}}}))


def test_what_is_unknown_is_noted_and_the_rest_goes_in() -> None:
    """A stage of another pipeline goes in as it is; a property that nothing maps and a stage of life do not."""
    ctx = context()
    given = [
        prop("dealstage", "184305721"),
        prop("dealstage", "184305721", eventId=2),
        prop("favourite_colour", "blue"),
        prop("lifecyclestage", "71", "contact"),
    ]
    assert [change.fields for change in changes(given, ctx)] == [{"stage": "184305721"}] * 2
    assert ctx.drift.take() == [
        Finding("unknown_stage", "opportunity", "stage=184305721", '"1246965"'),
        Finding("unknown_field", "opportunity", "deal.favourite_colour", '"blue"'),
        Finding("unknown_value", "lead", "converted=71", '"71"'),
    ]


def test_where_no_stages_are_configured_none_is_unknown() -> None:
    """There is nothing to compare with."""
    ctx = context(stages=[])
    assert changes(prop("dealstage", "closedwon"), ctx)[0].fields == {"stage": "closedwon"}
    assert ctx.drift.take() == []
