"""Following a channel: from where it was left, into the log, and over the loss of events that were kept too briefly."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from alerts.rules import DEFAULT_RULES, observe
from ingest.quarantine import Quarantine
from planwatch.pipeline import missed_events
from planwatch.refetching import Refetcher
from planwatch.salesforce_channels import keep_schema
from planwatch.subscribing import Stores, Subscription, channel_objects
from processors.fold import apply
from processors.state import State
from schemas.alert import Signals
from schemas.base import PlanwatchError
from schemas.change import Change
from storage.memory import MemoryJournal
from storage.ports import ChannelEvent, RefetchFailed
from storage.salesforce_memory import MemoryChannel, MemoryRefetch
from tests.unit.salesforce_samples import context, header

CHANNEL = "/data/OpportunityChangeEvent"
CTX = context()
STOP = threading.Event()


def body(commit: int, record_id: str = "006A", **fields: Any) -> bytes:
    given = header(
        commitNumber=commit, recordIds=[record_id], transactionKey=f"t{commit}", changedFields=sorted(fields)
    )
    return json.dumps({"ChangeEventHeader": given, **fields}).encode()


class World:
    """A channel, a log, a quarantine, a CRM; and the subscription between them, which can be begun again."""

    def __init__(self) -> None:
        self.channel = MemoryChannel()
        self.changes: list[Change] = []
        self.journal = MemoryJournal()
        self.quarantine = Quarantine(self.journal)
        self.crm = MemoryRefetch({"Opportunity": {}})
        self.after_first: Callable[[], object] = lambda: None

    def append(self, changes: Sequence[Change]) -> None:
        self.changes += changes

    def subscribe(self, channel: str, replay_id: bytes | None) -> Iterator[ChannelEvent]:
        """The channel, on which a sign of life comes first, and then something happens."""
        found = self.channel.subscribe(channel, replay_id)
        if replay_id is None:
            tip = self.channel.publish(channel, b"")
            yield ChannelEvent(tip, b"")
            self.after_first()
            found = self.channel.subscribe(channel, tip)
        yield from found

    @contextmanager
    def lend(self) -> Iterator[State]:
        state = State(CTX.config)
        apply(state, [change.model_dump() for change in self.changes])
        yield state

    def known(self) -> tuple[int, int]:
        return max((c.version for c in self.changes), default=0), max((c.occurred_at for c in self.changes), default=0)

    def follow(self, *, refetch: bool = True) -> int:
        """A life of the subscription: until the channel has nothing more."""
        refetcher = Refetcher(CTX, self.crm, self.append, self.quarantine, self.lend)
        stores = Stores(self.append, self.quarantine, self.journal)
        return Subscription(CTX, CHANNEL, self, stores, refetcher if refetch else None, self.known).follow(STOP)

    @property
    def versions(self) -> list[int]:
        return [change.version for change in self.changes]

    @property
    def open(self) -> int:
        counts = self.quarantine.counts().get(("sf", "replay_expired"))
        return counts.open if counts else 0


@pytest.fixture
def world() -> World:
    """One whose subscription has taken in commit 1."""
    made = World()
    made.after_first = lambda: made.channel.publish(CHANNEL, body(1, StageName="New"))
    assert made.follow() == 1
    made.after_first = lambda: None
    return made


def test_it_goes_on_where_it_was(world: World) -> None:
    """Another life begins after the last event that is in the log."""
    world.channel.publish(CHANNEL, body(2, StageName="Won"))
    assert world.follow() == 1
    assert world.versions == [1, 2]
    assert world.follow() == 0


def test_what_is_not_durable_comes_again(world: World) -> None:
    """A log that fails keeps the replay id where it was."""
    world.channel.publish(CHANNEL, body(2, StageName="Won"))
    append, world.append = world.append, _failing  # type: ignore[method-assign]
    with pytest.raises(OSError, match="full"):
        world.follow()
    world.append = append  # type: ignore[method-assign]
    assert world.follow() == 1
    assert world.versions == [1, 2]


def _failing(_changes: Sequence[Change]) -> None:
    raise OSError("the disk is full")


def test_what_cannot_be_read_is_refused_and_passed(world: World) -> None:
    """It goes to the quarantine, with the channel as its origin."""
    world.channel.publish(CHANNEL, b"{}")
    world.channel.publish(CHANNEL, body(3, StageName="Won"))
    assert world.follow() == 2
    assert world.versions == [1, 3]
    refused = world.quarantine.newest(1)[0].refused
    assert (refused.code, refused.origin, refused.payload) == ("bad_event", CHANNEL, b"{}")


def alerts_of(world: World) -> dict[str, str]:
    """Rule → condition, of the rules that have something to say about missed events."""
    missed = tuple(missed_events(world.quarantine.counts()))
    return {o.rule: o.condition for o in observe(DEFAULT_RULES, Signals(now=1, missed=missed))}


def test_an_expired_replay_id(world: World) -> None:
    """It goes on from now, and the records are fetched once the subscription stands: nothing falls between."""
    world.channel.publish(CHANNEL, body(2, StageName="Lost"))
    world.channel.expire(CHANNEL)
    modified = "2024-03-05T10:15:40.000Z"
    world.crm.records["Opportunity"] = {"006A": {"Id": "006A", "SystemModstamp": modified, "StageName": "Lost"}}
    world.after_first = lambda: world.channel.publish(CHANNEL, body(3, Amount=5))
    assert world.follow() == 1
    assert [(c.op, c.version, c.fields) for c in world.changes[1:]] == [
        ("snapshot", 1, {"stage": "Lost"}),
        ("update", 3, {"amount": 5}),
    ]
    assert (world.open, alerts_of(world)) == (0, {"replay_expired": "recovered"})
    assert world.follow() == 0


def test_records_that_cannot_be_fetched_yet(world: World) -> None:
    """The notice stays open and operators are alerted; the next life makes up for it, wherever the last one ended."""
    world.channel.expire(CHANNEL)
    world.crm.failing = RefetchFailed("unavailable", "no answer")
    with pytest.raises(RefetchFailed):
        world.follow()
    assert (world.open, alerts_of(world)) == (1, {"replay_expired": "bad"})
    world.crm.failing = None
    world.crm.records["Opportunity"] = {"006B": {"Id": "006B", "SystemModstamp": "2024-03-05"}}
    world.channel.publish(CHANNEL, body(4, StageName="Won"))
    assert world.follow() == 1
    assert {c.record_id for c in world.changes} == {"006A", "006B"}
    assert world.open == 0


def test_an_object_that_may_not_be_read_does_not_stop_the_events(world: World) -> None:
    """Events go on, and the notice stays open until the right is there."""
    world.channel.expire(CHANNEL)
    world.crm.failing = RefetchFailed("forbidden", "403")
    world.after_first = lambda: world.channel.publish(CHANNEL, body(4, StageName="Won"))
    assert world.follow() == 1
    assert (world.versions, world.open) == ([1, 4], 1)
    world.crm.failing = None
    world.channel.publish(CHANNEL, body(5, StageName="Won"))
    assert world.follow() == 1
    assert world.open == 0


def test_without_a_way_to_fetch(world: World) -> None:
    """It goes on all the same; the notice says what people are to do, and stays until they have."""
    world.channel.expire(CHANNEL)
    world.after_first = lambda: world.channel.publish(CHANNEL, body(3, Amount=5))
    assert world.follow(refetch=False) == 1
    assert world.versions == [1, 3]
    assert world.open == 1
    (notice,) = [kept.refused for kept in world.quarantine.kept()]
    assert (notice.code, notice.origin) == ("replay_expired", CHANNEL)
    assert "Bulk" in notice.reason


def test_the_alert_is_for_operators() -> None:
    """It names the source and the command that shows the notice."""
    world = World()
    quarantine = world.quarantine
    world.channel.publish(CHANNEL, b"")
    world.journal.put("replay_id", f"acme|sf|{CHANNEL}", f"{CHANNEL}@0".encode())
    world.channel.expire(CHANNEL)
    world.follow(refetch=False)
    signals = Signals(now=1, missed=tuple(missed_events(quarantine.counts())))
    (observation,) = observe(DEFAULT_RULES, signals)
    assert (observation.recipient, observation.subject) == ("operators", "Source sf")
    assert "planwatch quarantine list --source sf --code replay_expired" in observation.sentence


@pytest.mark.parametrize(
    ("channel", "objects"),
    [
        ("/data/OpportunityChangeEvent", ["Opportunity"]),
        ("/data/Team__ChangeEvent", ["Team__c"]),
        ("/data/Product2ChangeEvent", ["Product2"]),
    ],
)
def test_the_object_of_a_channel(channel: str, objects: list[str]) -> None:
    """By the event's name."""
    assert channel_objects(CTX, channel) == objects


def test_the_objects_of_a_channel_of_several() -> None:
    """All that are mapped, without those that are ignored."""
    ctx = context(mapping={"entities": {"Lead": {"ignore": True}}})
    for channel in ("/data/ChangeEvents", "/data/Sales__chn"):
        found = channel_objects(ctx, channel)
        assert "Opportunity" in found
        assert "Lead" not in found


def test_a_schema_that_was_brought_is_kept_under_its_id(tmp_path: Path) -> None:
    """And an id that is a path is not."""
    keep_schema(tmp_path / "avro", "abc_1-2", "{}")
    assert (tmp_path / "avro" / "abc_1-2.avsc").read_text(encoding="utf-8") == "{}"
    with pytest.raises(PlanwatchError, match="schema id"):
        keep_schema(tmp_path, "../x", "{}")
