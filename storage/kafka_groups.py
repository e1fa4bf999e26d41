"""Who of a consumer group reads what."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from kafka import TopicPartition

from schemas.stack import KafkaConfig
from storage.kafka_client import admin

#: In these states the group's shares are what they will be until somebody joins or leaves.
SETTLED = ("Stable", "Empty", "Dead")


def unheld(config: KafkaConfig, group: str, wanted: Iterable[TopicPartition]) -> set[TopicPartition]:
    """Those of some partitions that no member of a group reads; none while the shares are being made.

    Raises PlanwatchError where no broker answers, and KafkaError for what it answers.
    """
    with closing(admin(config)) as client:
        said = client.describe_groups([group])[group]
    if said["group_state"] not in SETTLED:
        return set()
    held = {
        TopicPartition(share["topic"], partition)
        for member in said["members"]
        for share in (member["member_assignment"] or {}).get("assigned_partitions", ())
        for partition in share["partitions"]
    }
    return set(wanted) - held
