"""Which records may be acknowledged: those whose effects are where they belong."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from processors.runners.owned import OwnedTenant
from processors.runners.partition import PartitionRunner

#: Unacknowledged records remembered per partition; beyond it only the oldest holds the offset.
UNACKED_MAX = 1_000


class OpenPartition:
    """A partition that is open."""

    def __init__(self, runner: PartitionRunner, tenants: Sequence[OwnedTenant]) -> None:
        self.runner, self.tenants = runner, tenants

    @property
    def durable(self) -> int:
        """The offset before which every record's effects are where they belong."""
        return min([self.runner.next, *(d for t in self.tenants if (d := t.durable()) < t.position)])


class Unacked:
    """Records of a partition that are not acknowledged yet, whether it is open or failed."""

    def __init__(self) -> None:
        self._events: deque[Any] = deque()
        self._early = -1  # the newest offset that was acknowledged before its time

    def hold(self, events: Iterable[Any]) -> None:
        """Remember records until their effects are durable. Commits are contiguous, so the oldest one holds them all."""
        for event in events:
            self._events.append(event)
            if len(self._events) > UNACKED_MAX:
                self._events[1].ack()
                self._early = self._events[1].message.offset
                del self._events[1]

    def settle(self, until: int) -> None:
        """Acknowledge those before an offset; none while the oldest one holds what would be committed with it."""
        if until <= self._early:
            return
        while self._events and self._events[0].message.offset < until:
            self._events.popleft().ack()
