"""A small in-process server that speaks the documented Pub/Sub API of Salesforce, for contract tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from storage.salesforce_messages import (
    CUSTOM,
    PACKAGE,
    FetchRequest,
    FetchResponse,
    SchemaInfo,
    SchemaRequest,
    TopicInfo,
    TopicRequest,
)
from tests.unit.salesforce_samples import SCHEMA

PREFIX = "sfdc.platform.eventbus.grpc."


class PubSubServer:
    """Channels with events (replay id, payload). A subscriber gets what it asks for, then the stream ends."""

    def __init__(self) -> None:
        self.token = "token-that-counts"
        self.events: dict[str, list[tuple[bytes, bytes]]] = {}
        self.expired: set[bytes] = set()
        self.trouble: tuple[grpc.StatusCode, str] | None = None
        self.requests: list[Any] = []
        self.schemas_asked: list[str] = []
        self._lock = threading.Lock()

    def publish(self, channel: str, payload: bytes) -> bytes:
        """An event happens; gives its replay id."""
        events = self.events.setdefault(channel, [])
        replay_id = b"\x00\x01" + len(events).to_bytes(8, "big")
        events.append((replay_id, payload))
        return replay_id

    def get_topic(self, request: Any, call: Any) -> Any:
        self._admit(call)
        if request.topic_name not in self.events:
            self._abort(call, grpc.StatusCode.NOT_FOUND, "topic.not.found")
        return TopicInfo(topic_name=request.topic_name, can_subscribe=True, schema_id="schema-1")

    def get_schema(self, request: Any, call: Any) -> Any:
        self._admit(call)
        with self._lock:
            self.schemas_asked.append(request.schema_id)
        return SchemaInfo(schema_json=json.dumps(SCHEMA), schema_id=request.schema_id)

    def subscribe(self, requests: Iterator[Any], call: Any) -> Iterator[Any]:
        self._admit(call)
        first = next(requests)
        self.requests.append(first)
        events = self.events[first.topic_name]
        ids = [replay_id for replay_id, _ in events]
        at = len(ids)
        if first.replay_preset == CUSTOM:
            if first.replay_id not in ids or first.replay_id in self.expired:
                self._abort(call, grpc.StatusCode.INVALID_ARGUMENT, "subscription.fetch.replayid.corrupted")
            at = ids.index(first.replay_id) + 1
        yield FetchResponse(latest_replay_id=ids[at - 1] if at else b"\x00", pending_num_requested=first.num_requested)
        asked = first.num_requested
        while at < len(events):
            if not asked:
                following = next(requests)
                self.requests.append(following)
                asked = following.num_requested
            part = events[at : at + min(asked, 3)]
            at, asked = at + len(part), asked - len(part)
            found = [
                {"event": {"id": "e", "schema_id": "schema-1", "payload": payload}, "replay_id": replay_id}
                for replay_id, payload in part
            ]
            yield FetchResponse(events=found, latest_replay_id=part[-1][0], pending_num_requested=asked)

    def _admit(self, call: Any) -> None:
        given = dict(call.invocation_metadata())
        if given.get("accesstoken") != self.token or not given.get("instanceurl") or not given.get("tenantid"):
            self._abort(call, grpc.StatusCode.UNAUTHENTICATED, "service.auth.error")
        if self.trouble is not None:
            self._abort(call, *self.trouble)

    @staticmethod
    def _abort(call: Any, status: grpc.StatusCode, code: str) -> None:
        call.set_trailing_metadata((("error-code", PREFIX + code),))
        call.abort(status, "no. rpcId: 1")


@contextmanager
def serving(server: PubSubServer) -> Iterator[str]:
    """The server, running; gives its address."""

    def unary(act: Any, request: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(act, request.FromString, lambda message: message.SerializeToString())

    handlers = {
        "GetTopic": unary(server.get_topic, TopicRequest),
        "GetSchema": unary(server.get_schema, SchemaRequest),
        "Subscribe": grpc.stream_stream_rpc_method_handler(
            server.subscribe, FetchRequest.FromString, FetchResponse.SerializeToString
        ),
    }
    running = grpc.server(ThreadPoolExecutor(8))
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{PACKAGE}.PubSub", handlers),))
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        running.stop(None).wait()
