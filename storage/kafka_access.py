"""What each role needs to be allowed in Kafka: as commands that allow it, and as a check of what is missing.

A right is an operation of Kafka's authorizer on a resource; READ and WRITE include DESCRIBE. A topic whose records a
role writes idempotently needs nothing more (Kafka 3.0 and later).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Literal, NamedTuple, get_args

from kafka.errors import KafkaError, TopicAuthorizationFailedError

from schemas.stack import KafkaConfig, TopicName
from storage.kafka_client import admin, failure
from storage.kafka_lag import group_members
from storage.kafka_refusal import AccessError

#: Who has a user of its own where least privilege is wanted. `admin` is a person with commands: topics, doctor,
#: quarantine, rebuild.
KafkaRole = Literal["admin", "bridge", "serve", "watch", "worker", "board", "scheduler", "simulate"]
ROLES: tuple[KafkaRole, ...] = get_args(KafkaRole)
READ, WRITE, BOTH = ("READ",), ("WRITE",), ("READ", "WRITE")
LOOK = ("DESCRIBE", "DESCRIBE_CONFIGS")


class Right(NamedTuple):
    """Operations on a topic or group, or on all whose names begin so."""

    resource: Literal["topic", "group"]
    name: str
    operations: tuple[str, ...]
    prefixed: bool = False


def rights(config: KafkaConfig, role: KafkaRole, sources: Sequence[str]) -> list[Right]:
    """What a role needs; `sources` are the sources' own topics."""

    def ours(name: TopicName, operations: tuple[str, ...]) -> Right:
        return Right("topic", config.topic(name), operations)

    every = f"{config.prefix}."
    faust = f"{config.prefix}-worker"  # the names of Faust's topics begin with that of its group
    any_group = Right("group", f"{config.prefix}-", ("DESCRIBE",), prefixed=True)
    needed: dict[KafkaRole, list[Right]] = {
        "admin": [
            Right("topic", every, ("CREATE", *BOTH, *LOOK), prefixed=True),
            Right("topic", faust, BOTH, prefixed=True),
            *(Right("topic", name, ("CREATE", *LOOK)) for name in sources),
            any_group,
        ],
        "bridge": [
            *(Right("topic", name, READ) for name in sources),
            ours("changes", WRITE),
            ours("quarantine", WRITE),
            ours("drift", BOTH),
            Right("group", f"{config.prefix}-bridge", READ),
        ],
        "serve": [ours("changes", WRITE), ours("quarantine", WRITE), ours("drift", BOTH)],
        "watch": [ours(name, BOTH) for name in ("changes", "quarantine", "drift")],
        "worker": [
            ours("changes", READ),
            ours("status", WRITE),
            ours("alerts", WRITE),
            ours("quarantine", BOTH),
            ours("drift", READ),
            Right("topic", faust, ("CREATE", *BOTH, *LOOK), prefixed=True),
            Right("group", faust, READ),
        ],
        "board": [ours(name, READ) for name in ("changes", "alerts", "quarantine", "drift")],
        "scheduler": [
            Right("topic", every, LOOK, prefixed=True),
            *(Right("topic", name, LOOK) for name in sources),
            any_group,
        ],
        "simulate": [Right("topic", name, WRITE) for name in sources],
    }
    return needed[role]


def acl_commands(
    config: KafkaConfig, role: KafkaRole, sources: Sequence[str], user: str, properties: str = "admin.properties"
) -> Iterator[str]:
    """Commands of Kafka's own kafka-acls that give a user what a role needs.

    `properties`: the file with which that program connects as an administrator.
    """
    begin = ["kafka-acls", "--bootstrap-server", config.bootstrap, "--command-config", properties, "--add"]
    begin += ["--allow-principal", f"User:{user}"]
    for right in rights(config, role, sources):
        operations = [word for name in right.operations for word in ("--operation", _as_option(name))]
        pattern = ["--resource-pattern-type", "prefixed"] if right.prefixed else []
        yield shlex.join([*begin, *operations, f"--{right.resource}", right.name, *pattern])


def lacking(config: KafkaConfig, role: KafkaRole, sources: Sequence[str] = ()) -> list[str]:
    """What our user may not do and the role needs, a sentence each; topics that are not there are passed over.

    Raises PlanwatchError where the brokers do not answer or do not let us in at all.
    """
    needed = rights(config, role, sources)
    topics = [right for right in needed if right.resource == "topic" and not right.prefixed]
    groups = [right for right in needed if right.resource == "group" and not right.prefixed]
    user = config.security.user or "anonymous"
    with closing(admin(config)) as client:
        try:
            found = {topic["name"]: topic for topic in client.describe_topics([right.name for right in topics])}
            missing = list(_of_topics(topics, found))
        except KafkaError as error:
            raise failure(config, error) from error
    for right in groups:
        try:
            group_members(config, right.name)
        except AccessError:
            missing.append(f"READ of the group {right.name}")
    return [
        f"an ACL forbids the user «{user}» {what}; `planwatch topics acls` prints what to allow" for what in missing
    ]


def _of_topics(needed: Sequence[Right], found: dict[str, dict[str, object]]) -> Iterator[str]:
    for right in needed:
        topic = found.get(right.name, {})
        if topic.get("error_code") == TopicAuthorizationFailedError.errno:
            yield f"{', '.join(right.operations)} of the topic {right.name}"
        allowed = topic.get("authorized_operations")
        if not topic.get("error_code") and isinstance(allowed, list):
            absent = [name for name in right.operations if name not in allowed]
            if absent:
                yield f"{', '.join(absent)} of the topic {right.name}"


def _as_option(operation: str) -> str:
    return "".join(part.capitalize() for part in operation.split("_"))
