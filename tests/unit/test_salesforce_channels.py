"""The channel port: what both adapters promise, and how the one over gRPC bears with what the API may answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from storage.ports import ChangeChannel, ChannelEvent, RefetchFailed, ReplayExpired
from storage.salesforce_memory import MemoryChannel
from storage.salesforce_pubsub import EVENTS_MAX, SalesforcePubSub
from storage.salesforce_rest import Token
from tests.unit.pubsub_server import PubSubServer, serving
from tests.unit.salesforce_samples import SCHEMA, binary, context, one, packed, put_schema

CHANNEL = "/data/OpportunityChangeEvent"


class World(NamedTuple):
    """An adapter, and what happens on the other side."""

    port: ChangeChannel
    publish: Callable[[str, bytes], bytes]
    expire: Callable[[], None]


class Remote(NamedTuple):
    """The server, the adapter to it, and the schemas that the adapter brought."""

    server: PubSubServer
    port: SalesforcePubSub
    schemas: dict[str, str]
    token: Path


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    server, schemas = PubSubServer(), dict[str, str]()
    server.events[CHANNEL] = []
    token = tmp_path / "token"
    token.write_text(server.token, encoding="ascii")
    with (
        serving(server) as address,
        SalesforcePubSub(address, "https://x.example", "00DA", Token(token), schemas.__setitem__) as port,
    ):
        yield Remote(server, port, schemas, token)


@pytest.fixture(params=["memory", "grpc"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        memory = MemoryChannel()
        return World(memory, memory.publish, lambda: memory.expire(CHANNEL))
    remote: Remote = request.getfixturevalue("remote")
    server = remote.server
    return World(
        remote.port,
        server.publish,
        lambda: server.expired.update(replay_id for replay_id, _ in server.events[CHANNEL]),
    )


def events(found: Iterator[ChannelEvent]) -> list[bytes]:
    """The replay ids of what happened."""
    return [event.replay_id for event in found if event.body]


def test_from_where_we_were(world: World) -> None:
    """After a replay id come exactly the events after it, in order; after the newest none."""
    ids = [world.publish(CHANNEL, b"%d" % n) for n in range(8)]
    assert events(world.port.subscribe(CHANNEL, ids[2])) == ids[3:]
    assert events(world.port.subscribe(CHANNEL, ids[-1])) == []


def test_from_now_on(world: World) -> None:
    """Without a replay id nothing of the past comes."""
    world.publish(CHANNEL, b"past")
    assert events(world.port.subscribe(CHANNEL, None)) == []


def test_an_id_that_is_too_old(world: World) -> None:
    """It is told apart from every other trouble."""
    old = world.publish(CHANNEL, b"0")
    world.expire()
    with pytest.raises(ReplayExpired):
        list(world.port.subscribe(CHANNEL, old))


def test_events_as_the_door_takes_them(remote: Remote, tmp_path: Path) -> None:
    """The body is a ConsumerEvent whose schema was handed over before it."""
    start = remote.server.publish(CHANNEL, b"")
    remote.server.publish(CHANNEL, binary(packed({"changedFields": ["0x4"]}, StageName="Won")))
    seen = [event for event in remote.port.subscribe(CHANNEL, start) if event.body]
    assert json.loads(remote.schemas["schema-1"]) == SCHEMA
    put_schema(tmp_path / "avro", "schema-1")
    assert one(context(tmp_path), json.loads(seen[0].body)).fields == {"stage": "Won"}


def test_what_is_asked_for_is_bounded(remote: Remote) -> None:
    """No more than a hundred events are asked for at once, and each schema once."""
    start = remote.server.publish(CHANNEL, b"")
    for n in range(2 * EVENTS_MAX + 5):
        remote.server.publish(CHANNEL, b"%d" % n)
    assert len(events(remote.port.subscribe(CHANNEL, start))) == 2 * EVENTS_MAX + 5
    assert [request.num_requested for request in remote.server.requests] == [EVENTS_MAX] * 3
    assert remote.server.schemas_asked == ["schema-1"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "topic.access.denied", "forbidden"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "subscription.limit.exceeded", "limited"),
        (grpc.StatusCode.UNAVAILABLE, "service.unavailable", "unavailable"),
        (grpc.StatusCode.INVALID_ARGUMENT, "subscription.fetch.requested.events.invalid", "refused"),
    ],
)
def test_troubles(remote: Remote, status: grpc.StatusCode, code: str, kind: str) -> None:
    """Each says the channel, the API's own code, and what to do."""
    remote.server.trouble = (status, code)
    with pytest.raises(RefetchFailed, match=code) as failed:
        list(remote.port.subscribe(CHANNEL, None))
    assert failed.value.kind == kind
    assert CHANNEL in str(failed.value)


def test_a_renewed_token_counts_at_once(remote: Remote) -> None:
    """The token is read for each call, and never said."""
    remote.server.token = "renewed"
    with pytest.raises(RefetchFailed, match="token") as failed:
        list(remote.port.subscribe(CHANNEL, None))
    assert failed.value.kind == "unauthorised"
    assert "that-counts" not in str(failed.value)
    remote.token.write_text("renewed", encoding="ascii")
    assert events(remote.port.subscribe(CHANNEL, None)) == []


def test_a_channel_that_does_not_exist(remote: Remote) -> None:
    """The name is said."""
    with pytest.raises(RefetchFailed, match="/data/None"):
        list(remote.port.subscribe("/data/None", None))
