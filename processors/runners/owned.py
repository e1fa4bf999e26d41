"""What a worker is given: its settings, and what opens the tenants of a partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from processors.runners.partition import PartitionRunner, Tenant
from schemas.stack import KafkaConfig, TopicName
from storage.changelog_journal import Due


class Event(NamedTuple):
    """A record for one of our topics."""

    topic: TopicName
    key: bytes
    value: bytes


class OwnedTenant(Tenant, Protocol):
    """A tenant as the worker owns it: with alert state to keep, events to publish and a state to save."""

    def take_due(self) -> list[Due]:
        """Changes of the alert state that the table has not been given yet."""
        ...

    def give_back(self, due: Iterable[Due]) -> None:
        """These did not get there."""
        ...

    def take_events(self) -> list[Event]:
        """Status and alert events that were not published yet."""
        ...

    def return_events(self, events: Iterable[Event]) -> None:
        """These were not published."""
        ...

    def durable(self) -> int:
        """The position up to which every point is in the series store."""
        ...

    def lost_points(self) -> bool:
        """Whether points after the durable position were dropped, so that the log must be replayed from there."""
        ...

    def chore(self) -> bool:
        """Do one piece of slow work, if one is due; whether there was."""
        ...

    def save(self, now_s: float) -> None:
        """Take or store a snapshot when it is time."""
        ...

    def close(self, save: bool) -> None:
        """Let go; with `save` after storing a snapshot."""
        ...


Opened = tuple[PartitionRunner, Sequence[OwnedTenant]]


class Opener(Protocol):
    """Opens a partition's tenants: called in the fold's thread with the tenants' alert state."""

    def __call__(self, partition: int, changelog: Mapping[bytes, bytes]) -> Opened:
        """The partition at its last snapshots, not yet caught up."""
        ...


class Settings(NamedTuple):
    """What the worker is run with."""

    kafka: KafkaConfig
    tick_s: float
    data: Path
