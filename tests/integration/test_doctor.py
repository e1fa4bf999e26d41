"""`planwatch doctor` and the lag of groups, against a real Kafka and a real InfluxDB."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from kafka.errors import NoOffsetForPartitionError

from planwatch.doctor import examine
from planwatch.doctor_stack import Check
from planwatch.home import Home
from planwatch.native_servers import InfluxServer, KafkaServer
from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage import influx_admin, kafka_topics
from storage.kafka_client import consumer, producer
from storage.kafka_lag import group_lag, group_members
from tests.servers import InfluxFactory, KafkaFactory

EXAMPLES = Path(__file__).parents[2] / "examples"


def produce(config: KafkaConfig, topic: str, count: int) -> None:
    out = producer(config)
    for _ in range(count):
        out.send(topic, b"x", b"demo")
    out.flush()
    out.close()


@contextmanager
def member(config: KafkaConfig, group: str, topic: str) -> Iterator[KafkaConsumer]:
    """A consumer that has joined a group and stands at the beginning of every partition."""
    with closing(consumer(config, group=group)) as one:
        one.subscribe([topic])
        until = time.monotonic() + 30
        while not one.assignment():
            assert time.monotonic() < until
            with suppress(NoOffsetForPartitionError):  # it has a share, and no place in it yet
                one.poll(100)
        one.seek_to_beginning()
        yield one


def test_lag_is_what_was_not_committed(kafka: KafkaServer, prefix: str) -> None:
    """Nobody: everything. After a commit: the rest. Topics that are not there: nothing."""
    config = KafkaConfig(bootstrap=kafka.address, prefix=prefix, partitions=2)
    kafka_topics.apply(config)
    topic, group = config.topic("changes"), f"{prefix}-group"
    produce(config, topic, 5)
    assert sum(lag.messages for lag in group_lag(config, group, [topic, f"{prefix}.nothing"])) == 5
    assert {lag.committed for lag in group_lag(config, group, [topic])} == {None}
    assert group_lag(config, group, [f"{prefix}.nothing"]) == group_lag(config, group, []) == []
    assert group_members(config, group) == 0
    with member(config, group, topic) as one:
        read, until = 0, time.monotonic() + 30
        while read < 3:
            assert time.monotonic() < until
            read += sum(len(records) for records in one.poll(500, max_records=3 - read).values())
        one.commit()
        assert group_members(config, group) == 1
        assert sum(lag.messages for lag in group_lag(config, group, [topic])) == 2
    assert group_members(config, group) == 0


def test_a_fresh_broker_has_no_lag(kafka_factory: KafkaFactory) -> None:
    """The first question about groups that a broker is ever asked is answered."""
    config = KafkaConfig(bootstrap=kafka_factory().address, partitions=1)
    kafka_topics.apply(config)
    assert group_members(config, "nobody") == 0
    assert [lag.messages for lag in group_lag(config, "nobody", [config.topic("changes")])] == [0]


def test_no_broker_is_said() -> None:
    """With the address, and as an error that people can mend."""
    config = KafkaConfig(bootstrap="127.0.0.1:1")
    with pytest.raises(PlanwatchError, match=r"127\.0\.0\.1:1 does not answer"):
        group_lag(config, "g", ["t"], bootstrap_timeout_ms=200)


def test_doctor_follows_the_setup(
    kafka: KafkaServer, influx_factory: InfluxFactory, prefix: str, tmp_path: Path
) -> None:
    """Before: what is missing, with the command that makes it. After: all in order. Messages that wait for nobody: said."""
    influx = influx_factory()
    path = stack_home(tmp_path, kafka, influx, prefix)
    config = Home(path).config
    assert config.kafka is not None
    before = by_name(examine(path))
    assert "planwatch topics apply" in before[f"topic {prefix}.changes"].detail
    assert not before[f"topic {prefix}.crm"].ok
    assert before["InfluxDB server"].ok
    assert "planwatch influx apply" in before["InfluxDB organisation and buckets"].detail
    assert not before["InfluxDB token of the worker"].ok

    kafka_topics.apply(config.kafka, [f"{prefix}.crm"], create_sources=True)
    influx_admin.apply(config, path)
    after = by_name(examine(path))
    assert [check for check in after.values() if not check.ok] == []
    assert after["topics"].detail == "5 of ours as wanted"
    assert after["worker group"].detail == "none at work, 0 messages behind"
    assert {f"InfluxDB worker, {prefix}", f"InfluxDB grafana, {prefix}"} <= set(after)
    assert influx.admin_token not in str(after)

    produce(config.kafka, f"{prefix}.crm", 3)
    found = by_name(examine(path))["bridge group"]
    assert found == Check("bridge group", False, "3 messages wait and none at work: start `planwatch bridge`")
    with member(config.kafka, f"{prefix}-bridge", f"{prefix}.crm"):
        assert by_name(examine(path))["bridge group"] == Check("bridge group", True, "1 at work, 3 messages behind")


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def stack_home(path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> Path:
    """A home on these servers, with the administrator's token of InfluxDB."""
    for file in (EXAMPLES / "demo").glob("*.yaml"):
        text = file.read_text()
        if file.name == "planwatch.yaml":
            text = text.replace("    kind: simulator", f"    kind: salesforce\n    topic: {prefix}.crm")
            text += f"""
kafka: {{ bootstrap: "{kafka.address}", prefix: {prefix}, partitions: 2 }}
influx: {{ url: "{influx.address}", bucket: {prefix}, live_bucket: {prefix}_live }}
"""
        (path / file.name).write_text(text)
    (path / "secrets").mkdir(mode=0o700)
    (path / "secrets" / "influx-admin.token").write_text(influx.admin_token)
    return path
