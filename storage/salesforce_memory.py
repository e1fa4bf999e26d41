"""The refetch and channel ports in memory, for tests and rehearsals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from storage.ports import ChannelEvent, RefetchFailed, ReplayExpired


class MemoryRefetch:
    """Records in a dictionary: object → record id → fields. Those that are deleted are not in it."""

    def __init__(self, records: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        self.records = {name: dict(items) for name, items in records.items()}
        self.failing: RefetchFailed | None = None

    def fetch(self, object_name: str, record_id: str) -> Mapping[str, Any] | None:
        """The current version of a record; none when it is gone."""
        if self.failing is not None:
            raise self.failing
        return self.records.get(object_name, {}).get(record_id)

    def fetch_all(self, object_name: str) -> Iterator[Mapping[str, Any]]:
        """Every record of an object."""
        if self.failing is not None:
            raise self.failing
        yield from list(self.records.get(object_name, {}).values())


class MemoryChannel:
    """Channels as lists of events, of which the oldest may have been dropped."""

    def __init__(self) -> None:
        self._events: dict[str, list[ChannelEvent]] = {}
        self._dropped: set[bytes] = set()

    def publish(self, channel: str, body: bytes) -> bytes:
        """An event happens; gives its replay id."""
        events = self._events.setdefault(channel, [])
        replay_id = f"{channel}@{len(events)}".encode()
        events.append(ChannelEvent(replay_id, body))
        return replay_id

    def expire(self, channel: str) -> None:
        """What happened so far is kept no longer."""
        self._dropped |= {event.replay_id for event in self._events.get(channel, [])}

    def subscribe(self, channel: str, replay_id: bytes | None) -> Iterator[ChannelEvent]:
        """The events after a replay id; none: those that come while it is read."""
        events = self._events.setdefault(channel, [])
        if replay_id in self._dropped:
            raise ReplayExpired
        ids = [event.replay_id for event in events]
        at = len(ids) if replay_id is None else ids.index(replay_id) + 1
        while at < len(events):
            yield events[at]
            at += 1
