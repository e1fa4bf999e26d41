"""What a worker knows of its records without Kafka: which may be acknowledged, and when they were produced."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from processors.runners.acks import UNACKED_MAX, OpenPartition, Unacked
from processors.runners.worker import produced_at


class Acks:
    """Records of a partition as Faust brings them; it is kept which were acknowledged, in their order."""

    def __init__(self) -> None:
        self.acked: list[int] = []

    def events(self, *offsets: int) -> list[Any]:
        """A record at each offset."""
        return [
            SimpleNamespace(message=SimpleNamespace(offset=n), ack=lambda n=n: self.acked.append(n)) for n in offsets
        ]

    @property
    def committed(self) -> int:
        """The offset that Faust would commit: it commits only what is acknowledged without a gap from 0."""
        known = set(self.acked)
        return next(n for n in range(10**6) if n not in known)


class TestUnacked:
    """Records wait for what they caused."""

    def test_only_what_is_durable_is_acknowledged(self) -> None:
        """In order, and each once."""
        acks, unacked = Acks(), Unacked()
        unacked.hold(acks.events(0, 1, 2, 5))
        assert acks.acked == []
        unacked.settle(2)
        assert acks.acked == [0, 1]
        unacked.settle(2)
        unacked.settle(5)
        assert acks.acked == [0, 1, 2]
        unacked.settle(6)
        assert acks.acked == [0, 1, 2, 5]

    def test_a_long_wait_is_bounded_and_safe(self) -> None:
        """However long InfluxDB is away: no more records are remembered, and none of those that wait is committed."""
        acks, unacked = Acks(), Unacked()
        for start in range(0, 4 * UNACKED_MAX, 100):
            unacked.hold(acks.events(*range(start, start + 100)))
            assert start + 100 - len(acks.acked) <= UNACKED_MAX
            assert acks.committed == 0
        for until in (1, UNACKED_MAX, 3 * UNACKED_MAX):
            unacked.settle(until)
            assert acks.committed == 0  # with the oldest one everything would be committed up to what still waits
        unacked.settle(3 * UNACKED_MAX + 5)
        assert acks.committed == 3 * UNACKED_MAX + 5
        unacked.settle(4 * UNACKED_MAX)
        assert acks.committed == 4 * UNACKED_MAX
        assert len(acks.acked) == 4 * UNACKED_MAX


def partition(following: int, *tenants: tuple[int, int]) -> OpenPartition:
    """A partition whose next record is `following`; of each tenant its position and how far it is durable."""
    runner: Any = SimpleNamespace(next=following)
    owned: Sequence[Any] = [SimpleNamespace(position=at, durable=lambda d=d: d) for at, d in tenants]
    return OpenPartition(runner, owned)


@pytest.mark.parametrize(
    ("tenants", "expected"),
    [
        ((), 100),
        (((100, 100), (40, 40)), 100),  # a tenant of whom nothing came for long holds nobody up
        (((100, 90), (40, 40)), 90),
        (((100, 90), (40, 10)), 10),
        (((100, 100), (40, 55)), 100),  # positions of others may be passed without anything to write
    ],
)
def test_a_partition_is_as_durable_as_its_slowest_tenant(tenants: tuple[tuple[int, int], ...], expected: int) -> None:
    """Only tenants with points that are not written yet hold the partition's offset."""
    assert partition(100, *tenants).durable == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("produced_at", b"1767567600000")], 1_767_567_600_000),
        ({"other": b"1", "produced_at": b"1767567600000"}, 1_767_567_600_000),
        ([("other", b"5"), ("produced_at", b"7"), ("produced_at", b"9")], 7),
        ([], None),
        (None, None),
        ([("produced_at", None)], None),
        ([("produced_at", b"")], None),
        ([("produced_at", b"-5")], None),
        ([("produced_at", b"soon")], None),
        ([("produced_at", b"1.5")], None),
    ],
)
def test_when_a_message_was_produced(headers: Any, expected: int | None) -> None:
    """From its header, as Faust gives it (a mapping) and as kafka-python does (pairs); none where that says no time."""
    assert produced_at(headers) == expected
