"""The one place where kafka-python clients are made, and what they are made with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import (
    AuthorizationError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from kafka.net.compat import KafkaNetClient
from kafka.net.connection import KafkaConnection
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaTCPTransport
from kafka.partitioner import murmur2

from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage.kafka_refusal import AccessError, forbidden, is_refusal, probed, refusal
from storage.kafka_security import client_settings

#: How long a client looks for a broker that answers before it gives up.
CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 10.0
#: How long a record may stay unacknowledged before its producer gives it up.
DELIVERY_TIMEOUT_S = 30.0
#: After an outage a client tries again at least this often.
RECONNECT_MAX_S = 1.0
#: New topics and partitions are seen after this time at the latest.
METADATA_AGE_S = 30.0
CLOSE_TIMEOUT_S = 5.0
#: Records of one partition that go to the broker as one compressed batch, at most.
BATCH_BYTES = 256 * 1024
FETCH_BYTES_MAX = 32 << 20
STOP_POLL_S = 0.25
STOP_GRACE_S = 3.0
#: What says that a record is beyond what a topic takes: sending it again is no use.
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

T = TypeVar("T")


class Outgoing(NamedTuple):
    """A record on its way into a topic. `partition` none: by the key's hash."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


def connection(config: KafkaConfig) -> dict[str, Any]:
    """How any client reaches the brokers: the settings that consumer, producer and admin share.

    Password and certificates are read anew, so that a client made after a change has the new ones. Raises
    PlanwatchError where they cannot be read.
    """
    return {
        **client_settings(config.security),
        "bootstrap_servers": config.servers,
        "client_id": "planwatch",
        "bootstrap_timeout_ms": int(CONNECT_TIMEOUT_S * 1000),
        "request_timeout_ms": int(REQUEST_TIMEOUT_S * 1000),
        "reconnect_backoff_max_ms": int(RECONNECT_MAX_S * 1000),
        "metadata_max_age_ms": int(METADATA_AGE_S * 1000),
        # A frame holds a fetch of the largest size, and the largest message beyond it.
        "receive_message_max_bytes": FETCH_BYTES_MAX + 2 * config.message_bytes_max,
    }


def consumer(config: KafkaConfig, group: str | None = None, **settings: Any) -> KafkaConsumer:
    """A consumer that commits nothing on its own and does not jump when an offset is out of range: it raises.

    Raises PlanwatchError where no broker answers.
    """
    session_ms = int(config.session_timeout_s * 1000)
    ours = {
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "allow_auto_create_topics": False,
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": max(session_ms // 5, 100),
        "fetch_max_bytes": FETCH_BYTES_MAX,
        "max_partition_fetch_bytes": config.message_bytes_max,
        "metrics_enabled": False,
    }
    return _made(config, KafkaConsumer, {**ours, **settings})


def producer(config: KafkaConfig, **settings: Any) -> KafkaProducer:
    """A producer whose acknowledged records are safe and in order. Raises PlanwatchError where no broker answers."""
    ours = {
        "acks": "all",
        "enable_idempotence": True,
        "compression_type": None if config.compression == "none" else config.compression,
        "max_request_size": config.message_bytes_max,
        "batch_size": min(BATCH_BYTES, config.message_bytes_max // 2),
        "delivery_timeout_ms": int(DELIVERY_TIMEOUT_S * 1000),
        "max_block_ms": int(REQUEST_TIMEOUT_S * 1000),
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }
    return _made(config, KafkaProducer, {**ours, **settings})


def admin(config: KafkaConfig, **settings: Any) -> KafkaAdminClient:
    """A client for topics and their settings. Raises PlanwatchError where no broker answers."""
    return _made(config, KafkaAdminClient, settings)


class _Manager(KafkaConnectionManager):  # type: ignore[misc]
    """Connections of one client, which end with the first refusal.

    The library would try a refused user again for ever, at once and in its own thread. Instead everything that is asked
    of this client fails with the refusal; whoever owns it makes another one, with the password of that time, when its
    own wait is over.
    """

    def __init__(self, net: NetworkSelector, **settings: Any) -> None:
        super().__init__(net, **settings)
        self.refused: BaseException | None = None

    def get_connection(self, node_id: Any, *args: Any, **options: Any) -> KafkaConnection:
        """A connection that is there or is being made. Raises the refusal that an earlier one met."""
        if self.refused is not None:
            raise self.refused
        made = super().get_connection(node_id, *args, **options)
        if made.initializing:
            made.init_future.add_errback(self._failed)
        return made

    def reset_backoff(self, node_id: Any) -> None:
        """Begin the waits between connections anew: not, as the library has it, after one that was not let in too."""
        connection = self._conns.get(node_id)
        if connection is not None and connection.connected:
            super().reset_backoff(node_id)
        else:
            self.update_backoff(node_id)

    async def _build_transport(self, *args: Any, **options: Any) -> KafkaTCPTransport:
        transport = await super()._build_transport(*args, **options)
        # The library drops what arrives together with the end of a connection: just what a broker says to whom it
        # does not let in. The end is still there at the next call.
        receive = transport._sock_recv
        transport._sock_recv = lambda: (found[0], None) if (found := receive())[0] else found
        return transport

    def _failed(self, error: BaseException) -> None:
        if is_refusal(error):
            self.refused = error


#: The connections of every client that is in use.
_NETS: WeakKeyDictionary[Any, KafkaNetClient] = WeakKeyDictionary()


def _made(config: KafkaConfig, make: Callable[..., T], settings: Mapping[str, Any]) -> T:
    nets: list[KafkaNetClient] = []

    def remember(**given: Any) -> KafkaNetClient:
        net = NetworkSelector(**given)
        nets.append(KafkaNetClient(net=net, manager=_Manager(net, **given)))
        return nets[-1]

    try:
        made = make(**{**connection(config), "kafka_client": remember, **settings})
        _NETS[made] = nets[-1]
        return made
    except BaseException as error:
        # A client that was not finished leaves its network thread behind.
        for net in nets:
            net.close()
        if isinstance(error, KafkaError):
            raise failure(config, error) from error
        raise


def failure(config: KafkaConfig, error: KafkaError) -> PlanwatchError:
    """What to tell people about an error of a client; an AccessError where the brokers refuse it."""
    if (text := refusal(config, error)) is not None:
        return AccessError(f"Kafka at {config.bootstrap}: {text}.")
    if isinstance(error, KafkaTimeoutError):
        return PlanwatchError(unreachable(config))
    return PlanwatchError(f"Kafka at {config.bootstrap}: {describe(error)}.")


def unreachable(config: KafkaConfig) -> str:
    """What to say when no broker answers, with the reason that a plain connection gets."""
    reason, by_settings = probed(config)
    if by_settings:
        return f"Kafka at {config.bootstrap}: {reason}."
    return (
        f"Kafka at {config.bootstrap} does not answer: {reason}. "
        "Start it (planwatch native up) or set kafka.bootstrap in planwatch.yaml."
    )


def describe(error: BaseException) -> str:
    """An error of kafka-python in a few words: its name and what it says; of an ACL also what to do."""
    if isinstance(error, AuthorizationError):
        return f"{type(error).__name__}: {forbidden(error)}"
    said = str(error).strip()
    name = type(error).__name__
    return said if said.startswith(name) or not said else f"{name}: {said}"


def partition_for(key: bytes, partitions: int) -> int:
    """The partition of a key among so many: as every Kafka client in any language finds it (murmur2)."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def send_all(out: KafkaProducer, records: Sequence[Outgoing], stop: threading.Event | None = None) -> list[int]:
    """Send records and wait for every acknowledgement. Gives their offsets, in order.

    Raises KafkaError for the first record that was not acknowledged in DELIVERY_TIMEOUT_S, or within STOP_GRACE_S
    after `stop` was set, or as soon as the brokers no longer let us in. Some of the records may then be in their topics all the same; the producer should not be used
    again.
    """
    futures = [out.send(r.topic, r.value, r.key, list(r.headers), r.partition, r.timestamp_ms) for r in records]
    deadline = time.monotonic() + DELIVERY_TIMEOUT_S + REQUEST_TIMEOUT_S
    offsets = []
    for future in futures:
        while not future.is_done:
            if stop is not None and stop.is_set():
                deadline, stop = min(deadline, time.monotonic() + STOP_GRACE_S), None
            left = deadline - time.monotonic()
            if left <= 0:
                raise KafkaTimeoutError("the brokers have not acknowledged a record in time")
            if (refused := _NETS[out]._manager.refused) is not None:
                raise refused
            try:
                future.get(min(left, STOP_POLL_S))
            except KafkaTimeoutError:
                continue
        offsets.append(int(future.get(0).offset))
    return offsets


def close_producer(out: KafkaProducer) -> None:
    """Close a producer without waiting long for what it could not send: that is given up."""
    try:
        out.close(CLOSE_TIMEOUT_S)
    except KafkaTimeoutError:
        # Its own close waits for what is under way before it comes to this.
        out._sender.force_close()
        out._sender.join(CLOSE_TIMEOUT_S)
        out._closed = True
