"""The channel port over Salesforce's Pub/Sub API (gRPC)."""

from __future__ import annotations

import base64
import json
import queue
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import grpc

from storage.ports import ChannelEvent, RefetchFailed, ReplayExpired
from storage.salesforce_messages import (
    CUSTOM,
    LATEST,
    SERVICE,
    FetchRequest,
    FetchResponse,
    SchemaInfo,
    SchemaRequest,
    TopicInfo,
    TopicRequest,
)
from storage.salesforce_rest import LOOPBACK, Token

#: Events that are asked for at once; Salesforce gives no more.
EVENTS_MAX = 100
CALL_TIMEOUT_S = 30.0
#: A connection that is dead is noticed by its pings.
OPTIONS = (
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
#: The custom error code, in the trailers of a failed call, of a replay id that is too old or was never one.
ERROR_CODE, CORRUPTED = "error-code", "fetch.replayid.corrupted"
_KINDS: dict[Any, tuple[str, str]] = {
    grpc.StatusCode.UNAUTHENTICATED: ("unauthorised", "renew the access token"),
    grpc.StatusCode.PERMISSION_DENIED: ("forbidden", "let the token's user read the channel's objects"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: ("limited", "it is tried again later"),
    grpc.StatusCode.NOT_FOUND: ("absent", "check the channel's name"),
    grpc.StatusCode.INVALID_ARGUMENT: ("refused", "check the channel's name"),
}


class SalesforcePubSub:
    """Change events of one organisation.

    `keep_schema` is called with the id and the JSON of each Avro schema before the first event that was written with it,
    so that the door finds it. Only a server on this machine is asked without TLS.
    """

    def __init__(
        self,
        target: str,
        instance_url: str,
        organisation: str,
        token: Token,
        keep_schema: Callable[[str, str], object],
    ) -> None:
        self._target, self._instance, self._organisation, self._token = target, instance_url, organisation, token
        self._keep_schema = keep_schema
        self._kept: set[str] = set()
        if target.rpartition(":")[0] in LOOPBACK:
            self._channel = grpc.insecure_channel(target, OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(), OPTIONS)
        self._subscribe = self._channel.stream_stream(
            f"{SERVICE}/Subscribe", FetchRequest.SerializeToString, FetchResponse.FromString
        )
        self._topic = self._channel.unary_unary(
            f"{SERVICE}/GetTopic", TopicRequest.SerializeToString, TopicInfo.FromString
        )
        self._schema = self._channel.unary_unary(
            f"{SERVICE}/GetSchema", SchemaRequest.SerializeToString, SchemaInfo.FromString
        )

    def __enter__(self) -> SalesforcePubSub:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection; a subscription ends with it."""
        self._channel.close()

    def subscribe(self, channel: str, replay_id: bytes | None) -> Iterator[ChannelEvent]:
        """The events of a channel after a replay id; none: those that happen from now on."""
        try:
            info = self._topic(TopicRequest(topic_name=channel), metadata=self._metadata(), timeout=CALL_TIMEOUT_S)
            if not info.can_subscribe:
                raise RefetchFailed("forbidden", f"{self._target}: {channel} may not be subscribed to with this token.")
            yield from self._events(channel, replay_id)
        except grpc.RpcError as error:
            raise self._failure(error, channel) from error

    def _events(self, channel: str, replay_id: bytes | None) -> Iterator[ChannelEvent]:
        # One request at a time: the next is sent when what was asked for has been taken, so that nothing piles up.
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        preset = LATEST if replay_id is None else CUSTOM
        first = FetchRequest(
            topic_name=channel, replay_preset=preset, replay_id=replay_id or b"", num_requested=EVENTS_MAX
        )
        requests.put(first)
        call = self._subscribe(iter(requests.get, None), metadata=self._metadata())
        try:
            for answer in call:
                for item in answer.events:
                    self._keep(item.event.schema_id)
                    yield ChannelEvent(item.replay_id, _body(item))
                if answer.latest_replay_id:
                    yield ChannelEvent(answer.latest_replay_id, b"")
                if answer.pending_num_requested <= 0:
                    requests.put(FetchRequest(topic_name=channel, num_requested=EVENTS_MAX))
        finally:
            call.cancel()
            requests.put(None)

    def _keep(self, schema_id: str) -> None:
        if schema_id not in self._kept:
            found = self._schema(SchemaRequest(schema_id=schema_id), metadata=self._metadata(), timeout=CALL_TIMEOUT_S)
            self._keep_schema(schema_id, found.schema_json)
            self._kept.add(schema_id)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._token.read()
        return ("accesstoken", token), ("instanceurl", self._instance), ("tenantid", self._organisation)

    def _failure(self, error: Any, channel: str) -> Exception:
        trailers = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}
        code = trailers.get(ERROR_CODE, "")
        if code.endswith(CORRUPTED):
            return ReplayExpired()
        kind, todo = _KINDS.get(error.code(), ("unavailable", "it is tried again later"))
        said = f"{error.code().name}{f' {code[:120]}' if code else ''}"
        return RefetchFailed(kind, f"{self._target}: {channel}: {said}; {todo}.")  # type: ignore[arg-type]


def _body(item: Any) -> bytes:
    """A ConsumerEvent as proto3 JSON, as the salesforce door takes it."""
    event = {
        "id": item.event.id,
        "schemaId": item.event.schema_id,
        "payload": base64.b64encode(item.event.payload).decode("ascii"),
    }
    return json.dumps({"event": event, "replayId": base64.b64encode(item.replay_id).decode("ascii")}).encode()
