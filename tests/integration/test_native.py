"""The native servers are the real ones, survive what the fault tests do to them, and touch nobody else's processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.write_api import SYNCHRONOUS
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from planwatch.native import down, status, up
from planwatch.native_build import INFLUXD, KAFKA
from planwatch.native_process import NativeServer, free_port, until
from planwatch.native_servers import InfluxServer, KafkaServer
from schemas.base import PlanwatchError
from tests.servers import InfluxFactory, KafkaFactory, need

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30


def create_topic(kafka: KafkaServer, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap, **kafka.client)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    admin.close()


def produce(kafka: KafkaServer, topic: str, *values: bytes, compression: str | None = None) -> None:
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap, acks="all", compression_type=compression, linger_ms=20, **kafka.client
    )
    for sent in [producer.send(topic, value) for value in values]:
        sent.get(timeout=DEADLINE_S)
    producer.close()


def consume(kafka: KafkaServer, topic: str, count: int) -> list[bytes]:
    """The first values of a topic, as many as asked for, or those that came in time."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", **kafka.client)
    consumer.assign([TopicPartition(topic, 0)])
    values: list[bytes] = []

    def enough() -> bool:
        for records in consumer.poll(timeout_ms=200).values():
            values.extend(record.value for record in records)
        return len(values) >= count

    until(enough, DEADLINE_S)
    consumer.close()
    return values


def write_point(influx: InfluxServer, measurement: str, value: float) -> None:
    with InfluxDBClient(influx.url, influx.admin_token, org=influx.org) as client:
        point = Point(measurement).field("value", value)
        client.write_api(write_options=SYNCHRONOUS).write(influx.bucket, record=point)


def read_points(influx: InfluxServer, measurement: str) -> list[float]:
    flux = (
        f'from(bucket: "{influx.bucket}") |> range(start: -1h) |> filter(fn: (r) => r._measurement == "{measurement}")'
    )
    with InfluxDBClient(influx.url, influx.admin_token, org=influx.org) as client:
        return [record.get_value() for table in client.query_api().query(flux) for record in table.records]


def ended(pid: int) -> bool:
    """Whether the process is gone, or only its entry is left for its parent to fetch."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "zstd"])
def test_messages_go_through_kafka_and_back(kafka: KafkaServer, prefix: str, compression: str | None) -> None:
    """What is produced is consumed, in order and unchanged, with every compression that a topic may have."""
    create_topic(kafka, prefix)
    values = [b"%d " % number * 100 for number in range(50)]
    produce(kafka, prefix, *values, compression=compression)
    assert consume(kafka, prefix, 50) == values


def test_a_topic_is_not_made_by_using_it(kafka: KafkaServer, prefix: str) -> None:
    """A misspelt topic is an error, not a new topic with the broker's defaults."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, max_block_ms=1000)
    with pytest.raises(KafkaError):
        producer.send(prefix, b"lost").get(timeout=5)
    producer.close()
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    assert prefix not in admin.list_topics()
    admin.close()


def test_a_point_goes_into_influx_and_back(influx: InfluxServer, prefix: str) -> None:
    """A point written with the administrator's token is read with Flux."""
    write_point(influx, prefix, 42.5)
    assert read_points(influx, prefix) == [42.5]


def test_influx_is_closed_without_the_token(influx: InfluxServer) -> None:
    """The token is a secret that counts: it is in a private file, and another one opens nothing."""
    assert stat.S_IMODE(influx.token_file.stat().st_mode) == 0o600
    with InfluxDBClient(influx.url, "wrong", org=influx.org) as client, pytest.raises(Exception, match="401"):
        client.query_api().query("buckets()")


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_kafka_comes_back_with_its_data(kafka_factory: KafkaFactory, end: str) -> None:
    """A broker that was stopped or killed, paused or not, has the same address and messages when it is started again."""
    kafka = kafka_factory()
    address, pid = kafka.bootstrap, kafka.pid
    create_topic(kafka, "kept")
    produce(kafka, "kept", b"before")
    kafka.pause()
    getattr(kafka, end)()
    assert not kafka.running
    assert ended(pid or 0)
    kafka.start()
    produce(kafka, "kept", b"after")
    assert (kafka.bootstrap, consume(kafka, "kept", 2)) == (address, [b"before", b"after"])


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_influx_comes_back_with_its_data(influx_factory: InfluxFactory, end: str) -> None:
    """An InfluxDB that was stopped or killed has the same address, token and points when it is started again."""
    influx = influx_factory()
    before = influx.url, influx.admin_token
    write_point(influx, "kept", 1.5)
    getattr(influx, end)()
    assert not influx.running
    influx.start()
    assert ((influx.url, influx.admin_token), read_points(influx, "kept")) == (before, [1.5])


def test_a_paused_server_is_silent_until_it_goes_on(influx_factory: InfluxFactory) -> None:
    """Paused, it runs and answers nobody; afterwards it goes on where it was."""
    influx = influx_factory()
    influx.pause()
    with InfluxDBClient(influx.url, influx.admin_token, org=influx.org, timeout=300) as client:
        assert influx.running
        assert not client.ping()
    influx.resume()
    write_point(influx, "later", 2.5)
    assert read_points(influx, "later") == [2.5]


def test_kafka_takes_further_properties(kafka_factory: KafkaFactory) -> None:
    """Properties given to the broker count: with SASL for clients, a password opens it and a wrong one does not."""
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_planwatch="open";'
    client: dict[str, Any] = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}
    client |= {"sasl_plain_username": "planwatch", "sasl_plain_password": "open"}
    kafka = kafka_factory(
        properties={
            "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": login,
        },
        client=client,
    )
    create_topic(kafka, "guarded")
    produce(kafka, "guarded", b"inside")
    assert consume(kafka, "guarded", 1) == [b"inside"]
    wrong = {**client, "sasl_plain_password": "wrong"}
    with pytest.raises(KafkaError):
        KafkaAdminClient(bootstrap_servers=kafka.bootstrap, bootstrap_timeout_ms=2000, **wrong)


def test_a_server_is_not_started_twice(influx_factory: InfluxFactory) -> None:
    """A second start on the same folder is refused, also by another object, and names the process."""
    influx = influx_factory()
    with pytest.raises(PlanwatchError, match=f"process {influx.pid}"):
        InfluxServer(influx.folder).start()
    assert influx.running


def test_a_taken_port_is_named(influx: InfluxServer, tmp_path: Path) -> None:
    """A port that another program has is an error that names it, and nothing is left running."""
    server = InfluxServer(tmp_path, influx.port)
    with pytest.raises(PlanwatchError, match=f"Port {influx.port} .* is taken"):
        server.start()
    assert not server.running


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A broker with a bad property is an error with the end of its log, and nothing is left running."""
    need(KAFKA)
    server = KafkaServer(tmp_path, properties={"num.io.threads": "0"})
    with pytest.raises(PlanwatchError, match=r"num\.io\.threads"):
        server.start()
    assert not server.running


def test_servers_end_with_a_killed_program(tmp_path: Path) -> None:
    """`kill -9` of a program takes its servers along, so that no test run leaves any behind."""
    need(INFLUXD)
    source = "import sys, pathlib, planwatch.native_servers as n\n"
    source += "print(n.InfluxServer(pathlib.Path(sys.argv[1])).start().pid, flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", source, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        assert not ended(pid)
        program.kill()
    assert until(lambda: ended(pid), DEADLINE_S)


@pytest.fixture
def native(tmp_path: Path) -> Iterator[Path]:
    """A folder for `up`, whose servers are stopped afterwards."""
    need(KAFKA)
    need(INFLUXD)
    yield tmp_path / "native"
    down(tmp_path / "native")


def test_up_status_down(native: Path, tmp_path: Path) -> None:
    """`up` leaves both running when its program has ended; `status` describes them; `down` stops them and keeps the data."""
    ports, secrets = (free_port(), free_port()), tmp_path / "secrets"
    assert [server.running for server in status(native)] == [False, False]
    source = "import sys, pathlib, planwatch.native as n\n"
    source += "n.up(pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4]))"
    arguments = [str(native), str(ports[0]), str(ports[1]), str(secrets)]
    subprocess.run([sys.executable, "-c", source, *arguments], check=True, cwd=ROOT)

    first, second = status(native)
    assert (first.running, first.address) == (True, f"127.0.0.1:{ports[0]}")
    assert (second.running, second.address) == (True, f"http://127.0.0.1:{ports[1]}")
    token = secrets / "influx-admin.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    influx = InfluxServer(second.folder)
    assert token.read_text().strip() == influx.admin_token
    write_point(influx, "kept", 3.5)

    again = up(native, *ports, secrets)
    assert [server.pid for server in again] == [first.pid, second.pid]
    assert down(native) == ["kafka", "influxd"]
    assert ended(first.pid or 0)
    assert ended(second.pid or 0)
    assert [server.running for server in status(native)] == [False, False]
    assert down(native) == []

    influx.start()
    assert read_points(influx, "kept") == [3.5]
    influx.kill()


def test_up_takes_a_token_that_is_there(native: Path, tmp_path: Path) -> None:
    """A token in the secrets' folder becomes the administrator's at the first start; a foreign one is never overwritten."""
    ports, secrets = (free_port(), free_port()), tmp_path / "secrets"
    secrets.mkdir()
    token = secrets / "influx-admin.token"
    token.write_text("chosen-by-a-person\n")
    up(native, *ports, secrets)
    influx = InfluxServer(native / "influxd")
    assert influx.admin_token == "chosen-by-a-person"
    assert read_points(influx, "none") == []

    token.write_text("of-another-server\n")
    with pytest.raises(PlanwatchError, match=r"influx-admin\.token"):
        up(native, *ports, secrets)
    assert token.read_text() == "of-another-server\n"


def test_down_spares_a_foreign_process(tmp_path: Path) -> None:
    """A stale process file that names somebody else's process, even another server of ours, ends nothing."""
    need(INFLUXD)
    with InfluxServer(tmp_path / "other" / "influxd") as other:
        foreign = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        for name, pid in (("kafka", foreign.pid), ("influxd", other.pid)):
            (tmp_path / "native" / name).mkdir(parents=True)
            (tmp_path / "native" / name / "server.pid").write_text(f"{pid}\n")
        assert [server.running for server in status(tmp_path / "native")] == [False, False]
        assert down(tmp_path / "native") == []
        assert other.running
        assert foreign.poll() is None
        foreign.communicate()
        assert foreign.returncode == 0  # it ended on its own, not by a signal


def test_a_killed_build_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    """A build that is killed halfway gives no product; the next build makes the whole and clears the rest away."""
    source = (
        "import pathlib, sys\n"
        "from tests.unit.test_native_build import toy\n"
        "from planwatch.native_build import built\n"
        "print(built(toy(sys.argv[1])), flush=True)"
    )
    environment = {**os.environ, "PLANWATCH_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}

    def build(script: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", source, script]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)

    with build(f'echo half > "$0/product"; echo $$ > {tmp_path}/at-work; exec sleep 1000') as builder:
        assert until(lambda: (tmp_path / "at-work").exists() and (tmp_path / "at-work").read_text() != "", DEADLINE_S)
        builder.kill()
    os.kill(int((tmp_path / "at-work").read_text()), signal.SIGKILL)
    assert not list(tmp_path.glob("toy-*"))
    with build('echo whole > "$0/product"') as builder:
        place = Path(builder.communicate()[0].strip())
    assert (place / "product").read_text() == "whole\n"
    assert not list(tmp_path.glob(".building-*"))


def test_the_build_command_says_what_is_missing(tmp_path: Path) -> None:
    """Without tools `build` names every one and ends well, for the tests can do without; in CI it fails."""
    (tmp_path / "bin").mkdir()
    environment = {"PATH": str(tmp_path / "bin"), "PLANWATCH_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "planwatch.native", "build"]
    plain = subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True, text=True)
    in_ci = subprocess.run(command, check=False, env={**environment, "CI": "true"}, cwd=ROOT, capture_output=True)
    assert (plain.returncode, in_ci.returncode) == (0, 1)
    for tool in ("java", "mvn", "go", "cargo", "cc", "pkg-config"):
        assert f"{tool} is missing: install" in plain.stderr


def test_all_servers_listen_on_loopback_only(kafka: KafkaServer, influx: InfluxServer) -> None:
    """No socket of theirs can be reached from another machine."""
    for server in (kafka, influx):
        assert listening(server)
        assert {address for address, _ in listening(server)} == {"127.0.0.1"}
        assert {port for _, port in listening(server)} == set(server.ports.values())


def listening(server: NativeServer) -> set[tuple[str, int]]:
    """The addresses and ports on which a server's process listens, from the kernel's tables."""
    sockets = {str(path.readlink()) for path in Path(f"/proc/{server.pid}/fd").iterdir() if path.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                address, _, port = fields[1].rpartition(":")
                words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
                found.add((".".join(str(byte) for byte in b"".join(words)[-4:]), int(port, 16)))
    return found
