"""A compacted topic as a table, on a real broker: the newest value of each key, and keys that are deleted for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage.kafka_client import Outgoing, close_producer, producer, send_all
from storage.kafka_lag import group_lag
from storage.kafka_table import TopicTable, delete_all

Change = tuple[bytes, bytes | None]
Send = Callable[..., None]


@pytest.fixture
def send(config: KafkaConfig) -> Iterator[Send]:
    """Writes keys and values to the alerts topic; a key may be put into a partition."""
    out = producer(config)

    def write(*changes: Change, partition: int | None = None) -> None:
        topic = config.topic("alerts")
        send_all(out, [Outgoing(topic, key, value, partition=partition) for key, value in changes])

    yield write
    close_producer(out)


class TestTable:
    """What is read."""

    def test_the_newest_value_of_each_key(self, config: KafkaConfig, send: Send) -> None:
        """Only keys with the prefix, over all partitions; a key without a value is gone; each change is told once."""
        told: list[Change] = []
        with closing(TopicTable(config, config.topic("alerts"), b"acme|", lambda k, v: told.append((k, v)))) as table:
            assert (table.refresh(), table.values) == (0, {})
            send(*[(b"acme|%d" % n, b"old") for n in range(20)], (b"acme2|1", b"x"), (b"other|1", b"x"))
            assert table.refresh() == 20
            send((b"acme|3", b"new"), (b"acme|4", None), (b"acme|5", b""))
            assert table.refresh() == 3
            assert table.refresh() == 0
            expected = {b"acme|%d" % n: b"old" for n in range(20) if n != 4} | {b"acme|3": b"new", b"acme|5": b""}
            assert table.values == expected
        assert len(told) == 23
        assert set(told[-3:]) == {(b"acme|3", b"new"), (b"acme|4", None), (b"acme|5", b"")}
        with closing(TopicTable(config, config.topic("alerts"), b"acme|")) as again:
            again.refresh()
            assert again.values == expected

    def test_a_topic_that_is_not_there(self, config: KafkaConfig) -> None:
        """It is said with its name."""
        with pytest.raises(PlanwatchError, match=r"there is no topic .*nowhere"):
            TopicTable(config, f"{config.prefix}.nowhere", b"")


class TestDeleting:
    """What is deleted."""

    def test_every_key_with_a_prefix(self, config: KafkaConfig, send: Send) -> None:
        """Each in the partition in which it stands, wherever its hash would put it; the others stay."""
        topic = config.topic("alerts")
        for partition in (0, 1):
            send(
                *[(b"a|%d%d" % (partition, n), b"1") for n in range(5)],
                (b"b|%d" % partition, b"1"),
                partition=partition,
            )
        send((b"c|1", b"1"), (b"d|1", b"1"), (b"a|00", None))
        assert delete_all(config, topic, [b"a|", b"c|"]) == 10
        with closing(TopicTable(config, topic, b"")) as table:
            table.refresh()
            assert set(table.values) == {b"b|0", b"b|1", b"d|1"}
        ends = [lag.end for lag in group_lag(config, "nobody", [topic])]
        assert delete_all(config, topic, [b"a|", b"c|"]) == 0
        assert [lag.end for lag in group_lag(config, "nobody", [topic])] == ends

    def test_nothing_where_there_is_no_topic(self, config: KafkaConfig) -> None:
        """The topic of a table that nobody has used yet is not there, and that is well."""
        assert delete_all(config, f"{config.prefix}.nowhere", [b""]) == 0
