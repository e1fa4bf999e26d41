"""HubSpot's events in any order, batching and repetition end in the same state; and no input makes the door raise."""

from __future__ import annotations

import io
import itertools
import json
import random
from collections import Counter
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import DOORS, RECORD_DOORS, Context
from ingest.door import Received, Refused
from ingest.simulator import Simulator
from planwatch.exporting import export
from processors.fold import apply
from processors.query import catalogue
from processors.state import State
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping
from tests.hubspot_writer import OBJECTS, STAGES, bodies, events, writer_mapping

CONFIG = Config.model_validate({"tenant": "acme", "time": "log", "stages": STAGES})


def context(mapping: Mapping | None = None) -> Context:
    return Context("acme", "hs", CONFIG, mapping, ManualClock(0))


def folded(changes: list[Change]) -> State:
    state = State(CONFIG)
    apply(state, [change.model_dump() for change in changes])
    return state


def exported(state: State) -> bytes:
    return export(state, catalogue(), "acme")


def taken(raws: list[bytes], mapping: Mapping) -> list[Change]:
    reader = RECORD_DOORS["hubspot"].reader(context(mapping))
    found = [item for raw in raws for item in reader.take(Received(raw), "hooks/hs", 0)]
    refusals = [item for item in found if isinstance(item, Refused)]
    assert refusals == []
    return [item for item in found if isinstance(item, Change)]


def test_the_simulated_company_through_hubspot_gives_the_same_export() -> None:
    """What HubSpot has objects for goes through its events, shuffled, with repeats, in both forms: byte for byte."""
    stream = list(itertools.islice(Simulator(tenant="acme", source="hs").changes(), 6_000))
    through = [change for change in stream if change.entity in OBJECTS]
    others = [change for change in stream if change.entity not in OBJECTS]
    mapping = writer_mapping()
    raws = [*bodies(through), *bodies(through[::7], 3, generic=True)]
    random.Random(5).shuffle(raws)
    state = folded(others + taken(raws, mapping))
    assert exported(state) == exported(folded(stream))
    assert len(through) > 4_000
    assert Counter(change.entity for change in through)["opportunity"] > 2_500


DEALS = ("1", "2", "3")
DEAL = st.sampled_from(DEALS)
MOMENT = st.integers(1_700_000_000, 1_700_000_020)
PROPERTIES = st.one_of(
    st.tuples(st.just("dealstage"), st.sampled_from(["Proposal", "Won", "Lost", ""])),
    st.tuples(st.just("amount"), st.sampled_from(["10", "20.5", ""])),
    st.tuples(st.just("closedate"), st.sampled_from(["1700000000000", "1710000000000"])),
    st.tuples(st.just("createdate"), st.just("1690000000000")),
)


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events about a few deals, each with an id of its own."""
    found = []
    for number in range(draw(st.integers(1, 12))):
        action = draw(st.sampled_from(["creation", "propertyChange", "propertyChange", "deletion", "restore", "merge"]))
        one: dict[str, Any] = {
            "eventId": number,
            "subscriptionId": 1,
            "occurredAt": draw(MOMENT) * 1000,
            "subscriptionType": f"deal.{action}",
            "objectId": draw(DEAL),
            "attemptNumber": 0,
        }
        if action == "propertyChange":
            one["propertyName"], one["propertyValue"] = draw(PROPERTIES)
        if action == "merge":
            primary, merged = draw(st.permutations(DEALS))[:2]
            one |= {"primaryObjectId": primary, "mergedObjectIds": [merged]}
        found.append(one)
    return found


@given(histories(), st.randoms(use_true_random=False))
def test_order_batches_and_repeats_do_not_matter(history: list[dict[str, Any]], luck: random.Random) -> None:
    """In whatever order and in whatever batches the events come, some of them again at a later attempt."""
    again = [{**one, "attemptNumber": 3} for one in history if luck.random() < 0.3]
    shuffled = [*history, *again]
    luck.shuffle(shuffled)
    cut = luck.randrange(len(shuffled) + 1)
    mapping = Mapping()
    once = taken([json.dumps(history).encode()], mapping)
    twice = taken([json.dumps(part).encode() for part in (shuffled[:cut], shuffled[cut:])], mapping)
    assert {change.event_id: change for change in twice} == {change.event_id: change for change in once}
    assert exported(folded(twice)) == exported(folded(once))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KINDS = [
    f"{object}.{action}"
    for object in ("deal", "object", "contact", "ticket")
    for action in ("creation", "propertyChange", "deletion", "restore", "merge", "associationChange", "x")
]
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "subscriptionType": st.sampled_from(KINDS),
    "objectTypeId": st.sampled_from(["0-3", "0-1", "2-1"]),
    "occurredAt": st.integers(-10, 10**13) | st.sampled_from(["1700000000000", "2024-01-01", "9" * 30]),
    "objectId": st.integers() | st.text(st.characters(codec=None), max_size=5),
    "propertyName": st.sampled_from(
        ["amount", "dealstage", "closedate", "lifecyclestage", "hs_deal_stage_probability"]
    ),
    "propertyValue": st.text(st.characters(codec=None), max_size=8) | st.integers() | st.floats(),
    "associationType": st.sampled_from(["DEAL_TO_COMPANY", "_TO_", "COMPANY_TO_DEAL_TO_X"]),
    "fromObjectId": st.integers(),
    "toObjectId": st.integers(),
    "mergedObjectIds": st.lists(st.integers() | st.text(max_size=3), max_size=3),
    "primaryObjectId": st.integers(),
    "newObjectId": st.integers() | st.none(),
    "eventId": st.integers(),
}


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """An event in which some parts are missing and some are anything at all."""
    found = {}
    for name, plausible in PLAUSIBLE.items():
        choice = draw(st.integers(0, 9))
        if choice:
            found[name] = draw(plausible if choice > 1 else JSON)
    return found


@settings(max_examples=300)
@given(
    st.binary(max_size=60)
    | st.lists(mutated(), max_size=4).map(lambda body: json.dumps(body).encode())
    | JSON.map(lambda body: json.dumps(body).encode())
)
def test_no_body_makes_the_door_raise(body: bytes) -> None:
    """Whatever comes gives changes and refusals, the same ones each time, and every refusal says why in one sentence."""
    reader = RECORD_DOORS["hubspot"].reader(context())
    found = reader.take(Received(body), "hooks/hs", 0)
    assert reader.take(Received(body), "hooks/hs", 0) == found
    for item in found:
        if isinstance(item, Refused):
            assert item.code
            assert item.reason.isprintable()
            item.reason.encode()
        else:
            orjson.dumps(item.model_dump())
    list(DOORS["hubspot"].read("-", io.BytesIO(body), context()))


def test_the_writer_writes_what_hubspot_writes() -> None:
    """An event for each property, times in milliseconds, values as text."""
    change = Change(
        tenant="acme",
        source="hs",
        entity="opportunity",
        record_id="7",
        op="create",
        version=1,
        occurred_at=1_700_000_000_123_456,
        event_id="e1",
        fields={"stage": "Won", "probability": 40},
        nulled=("amount",),
    )
    found = list(events(change))
    assert [(one["subscriptionType"], one.get("propertyName"), one.get("propertyValue")) for one in found] == [
        ("deal.creation", None, None),
        ("deal.propertyChange", "dealstage", "Won"),
        ("deal.propertyChange", "hs_deal_stage_probability", "0.4"),
        ("deal.propertyChange", "amount", ""),
    ]
    assert {one["occurredAt"] for one in found} == {1_700_000_000_123}
