"""Our topics: how they should be, and how the brokers have them. What differs is reported, never altered in silence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from itertools import chain
from typing import Any, Literal, NamedTuple

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError, for_code

from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig, TopicName
from storage.kafka_client import admin, failure

DAY_MS = 86_400_000
UNKNOWN_TOPIC = 3  # the protocol's UNKNOWN_TOPIC_OR_PARTITION


class Topic(NamedTuple):
    """How a topic should be. `key` says in words what keys its records have."""

    name: str
    key: str
    partitions: int
    replication: int
    settings: dict[str, str]


class Finding(NamedTuple):
    """Something about a topic that a person should know; `fix` is what to do, empty where nothing is to be done."""

    topic: str
    kind: Literal["created", "missing", "differs"]
    setting: str = ""
    found: str = ""
    wanted: str = ""
    fix: str = ""

    @property
    def text(self) -> str:
        """One sentence, and what to do."""
        if self.kind == "created":
            return f"{self.topic}: created."
        if self.kind == "missing":
            return f"{self.topic}: there is no such topic. {self.fix}"
        return f"{self.topic}: {self.setting} is {self.found}, planwatch.yaml wants {self.wanted}. {self.fix}"


#: How the records of each of our topics are keyed.
KEYS: dict[TopicName, str] = {
    "changes": "tenant",
    "status": "tenant|target key",
    "alerts": "tenant|alert id",
    "quarantine": "tenant",
    "drift": "tenant|source|kind|entity|name",
}


def wanted(config: KafkaConfig) -> list[Topic]:
    """Our topics as the configuration wants them, in the order in which data passes through them."""
    if config.min_insync_replicas > config.replication:
        raise PlanwatchError(
            f"planwatch.yaml: kafka.min_insync_replicas is {config.min_insync_replicas} and kafka.replication only "
            f"{config.replication}: nothing could be written. Lower the first or raise the second."
        )
    days: dict[TopicName, int | None] = {
        "changes": config.changes_retention_days,
        "status": config.status_retention_days,
        "alerts": config.alerts_retention_days,
        "quarantine": config.quarantine_retention_days,
        "drift": None,
    }
    return [
        Topic(config.topic(name), key, config.partitions, config.replication, _settings(config, name, days[name]))
        for name, key in KEYS.items()
    ]


def _settings(config: KafkaConfig, name: TopicName, days: int | None) -> dict[str, str]:
    compacted = name in ("status", "alerts", "drift")
    policy = ("compact" if days is None else "compact,delete") if compacted else "delete"
    return {
        "cleanup.policy": policy,
        "retention.ms": "-1" if days is None else str(days * DAY_MS),
        "retention.bytes": "-1",
        "min.insync.replicas": str(config.min_insync_replicas),
        "max.message.bytes": str(config.message_bytes_max),
        # The broker's time: a writer whose clock is wrong can neither age a record nor be refused for its date.
        "message.timestamp.type": "LogAppendTime",
    }


def apply(config: KafkaConfig, sources: Iterable[str] = (), *, create_sources: bool = False) -> list[Finding]:
    """Make the topics that are missing; report what was made and what differs.

    `sources` are the sources' own topics: made only with `create_sources`, otherwise looked for. Raises PlanwatchError
    where the brokers do not answer or refuse.
    """
    return _look(config, list(dict.fromkeys(sources)), create=True, create_sources=create_sources)


def check(config: KafkaConfig, sources: Iterable[str] = ()) -> list[Finding]:
    """What is missing and what differs; alters nothing. Raises PlanwatchError where the brokers do not answer."""
    return _look(config, list(dict.fromkeys(sources)), create=False, create_sources=False)


def partitions_of(config: KafkaConfig, topic: str) -> int:
    """How many partitions a topic has. Raises PlanwatchError where there is no such topic or no broker answers."""
    with closing(admin(config)) as client:
        try:
            found = _described(client, [topic]).get(topic)
        except KafkaError as error:
            raise _failed(config, error) from error
    if found is None:
        raise PlanwatchError(
            f"Kafka at {config.bootstrap}: there is no topic {topic}. Run `planwatch topics apply`, "
            "or correct kafka.prefix in planwatch.yaml."
        )
    return len(found["partitions"])


def missing(config: KafkaConfig, topics: Sequence[str]) -> list[str]:
    """Those of some topics that do not exist. Raises PlanwatchError where no broker answers."""
    with closing(admin(config)) as client:
        try:
            there = _described(client, topics)
        except KafkaError as error:
            raise _failed(config, error) from error
    return [topic for topic in topics if topic not in there]


def _look(config: KafkaConfig, sources: Sequence[str], *, create: bool, create_sources: bool) -> list[Finding]:
    ours = wanted(config)
    own = {topic.name for topic in ours}
    foreign = [name for name in sources if name not in own]
    findings: list[Finding] = []
    with closing(admin(config)) as client:
        try:
            there = _described(client, [*own, *foreign])
            new = [topic for topic in ours if topic.name not in there] if create else []
            if create_sources:
                new += [_source_topic(config, name) for name in foreign if name not in there]
            findings += _create(client, new)
            made = {finding.topic for finding in findings}
            fix = "Create it: planwatch topics apply"
            findings += [Finding(t.name, "missing", fix=fix) for t in ours if t.name not in {*there, *made}]
            fix = "Correct the source's topic in planwatch.yaml, or create it."
            findings += [Finding(name, "missing", fix=fix) for name in foreign if name not in {*there, *made}]
            kept = [topic for topic in ours if topic.name in there]
            findings += _differences(config, client, kept, there)
        except KafkaError as error:
            raise _failed(config, error) from error
    return findings


def _failed(config: KafkaConfig, error: KafkaError) -> PlanwatchError:
    if isinstance(error, InvalidReplicationFactorError):
        return PlanwatchError(
            f"Kafka at {config.bootstrap} cannot keep {config.replication} replicas: it has fewer brokers. "
            "Lower kafka.replication in planwatch.yaml or start more brokers."
        )
    return failure(config, error)


def _source_topic(config: KafkaConfig, name: str) -> Topic:
    settings = {"max.message.bytes": str(config.message_bytes_max)}
    return Topic(name, "the source's own", config.partitions, config.replication, settings)


def _described(client: KafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Topic → its description, for those that exist."""
    found = {}
    for topic in client.describe_topics(list(names)):
        if topic["error_code"] == UNKNOWN_TOPIC:
            continue
        if topic["error_code"]:
            raise for_code(topic["error_code"])(f"topic {topic['name']}")
        found[topic["name"]] = topic
    return found


def _create(client: KafkaAdminClient, topics: Sequence[Topic]) -> list[Finding]:
    if not topics:
        return []
    new = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": topic.replication,
            "configs": topic.settings,
        }
        for topic in topics
    }
    with suppress(TopicAlreadyExistsError):  # somebody else was as quick: what differs is seen the next time
        client.create_topics(new)
    client.wait_for_topics(list(new))
    return [Finding(topic.name, "created") for topic in topics]


def _differences(
    config: KafkaConfig, client: KafkaAdminClient, topics: Sequence[Topic], there: dict[str, dict[str, Any]]
) -> list[Finding]:
    if not topics:
        return []
    asked = [ConfigResource("TOPIC", topic.name, list(topic.settings)) for topic in topics]
    settings = client.describe_configs(asked, config_filter="all")["topic"]
    brokers = sorted(broker["broker_id"] for broker in client.describe_cluster()["brokers"])
    each = (
        [
            *_partitions(config, topic, len(there[topic.name]["partitions"])),
            *_replicas(config, topic, there[topic.name]["partitions"], brokers),
            *_values(config, topic, {name: entry["value"] for name, entry in settings[topic.name].items()}),
        ]
        for topic in topics
    )
    return list(chain.from_iterable(each))


def _command(config: KafkaConfig, words: str) -> str:
    return f"python -m kafka.admin -b {config.bootstrap} {words}"


def _partitions(config: KafkaConfig, topic: Topic, found: int) -> Iterable[Finding]:
    if found == topic.partitions:
        return
    fix = f"Set kafka.partitions to {found} in planwatch.yaml."
    if found < topic.partitions:
        more = _command(config, f"partitions create -p {topic.name}:{topic.partitions}")
        # A key's partition depends on their number: with more of them, a tenant's log would go on somewhere else.
        fix += f" Only while the topic holds nothing it may get more: {more}"
    yield Finding(topic.name, "differs", "the number of partitions", str(found), str(topic.partitions), fix)


def _replicas(
    config: KafkaConfig, topic: Topic, partitions: Sequence[dict[str, Any]], brokers: Sequence[int]
) -> Iterable[Finding]:
    counts = sorted({len(partition["replica_nodes"]) for partition in partitions})
    if counts == [topic.replication]:
        return
    found = " to ".join(dict.fromkeys([str(counts[0]), str(counts[-1])]))
    if len(brokers) < topic.replication:
        fix = (
            f"There are only {len(brokers)} brokers: start more of them, or lower kafka.replication in planwatch.yaml."
        )
    else:
        ring = [*brokers, *brokers]
        moves = " ".join(
            f"-r {topic.name}:{i}={','.join(map(str, ring[(s := i % len(brokers)) : s + topic.replication]))}"
            for i in range(len(partitions))
        )
        fix = f"Change it: {_command(config, f'partitions alter-reassignments {moves}')}"
    yield Finding(topic.name, "differs", "replication", found, str(topic.replication), fix)


def _values(config: KafkaConfig, topic: Topic, found: dict[str, str | None]) -> Iterable[Finding]:
    for name, value in topic.settings.items():
        other = found.get(name) or "absent"
        if set(other.split(",")) == set(value.split(",")):
            continue
        command = _command(config, f"configs alter -r topic -n {topic.name} -c {name}={value}")
        yield Finding(topic.name, "differs", name, other, value, f"Change it: {command}")
