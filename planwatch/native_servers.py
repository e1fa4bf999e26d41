"""Real Kafka and InfluxDB without Docker, part three: what each server is started with, and when it is ready."""

from __future__ import annotations

import base64
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planwatch.native_build import influxd_binary, kafka_classpath
from planwatch.native_process import HOST, START_TIMEOUT_S, NativeServer, write_private
from planwatch.native_secured import Secured
from schemas.base import PlanwatchError


class KafkaServer(NativeServer):
    """A Kafka broker that is its own controller (KRaft).

    `properties` add to its server.properties or replace what stands there; the listener for clients is named CLIENT.
    `secured` closes that listener; the one named BROKER stays open, on loopback. `client` is what kafka-python needs
    besides the address to get in, such as a security protocol and credentials.
    """

    name = "kafka"
    listens = ("client", "broker", "controller")

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        *,
        properties: Mapping[str, str] | None = None,
        secured: Secured | None = None,
        client: Mapping[str, Any] | None = None,
        heap_mb: int = 384,
        detached: bool = False,
    ) -> None:
        super().__init__(folder, port, detached=detached)
        self.properties = {**(secured.properties(self.listens) if secured else {}), **(properties or {})}
        self.secured = secured
        self.client = dict(client or {})
        self.heap_mb = heap_mb

    @property
    def bootstrap(self) -> str:
        """The address for clients: host and port."""
        return f"{HOST}:{self.port}"

    @property
    def inner(self) -> str:
        """The address that stays open when the listener for clients is closed: who comes there may do everything."""
        return f"{HOST}:{self.ports['broker']}"

    @property
    def address(self) -> str:
        """As in `NativeServer`."""
        return self.bootstrap

    def mark(self) -> str:
        """As in `NativeServer`."""
        return f"-Dplanwatch.folder={self.folder}"

    def command(self) -> list[str]:
        """As in `NativeServer`."""
        return [*self._java(self.heap_mb), self.mark(), "kafka.Kafka", self._file.name]

    def prepare(self) -> None:
        """Write its properties; at the first start also the identity of the cluster."""
        write_private(self._file, "".join(f"{name}={value}\n" for name, value in self._settings().items()))
        data = self.folder / "data"
        if (data / "meta.properties").exists():  # written last
            return
        # The first byte is small, so that the id never begins with a dash, which would be read as an option.
        cluster = base64.urlsafe_b64encode(b"p" + secrets.token_bytes(15)).decode().rstrip("=")
        arguments = ["format", "--ignore-formatted", "--cluster-id", cluster, "--config", self._file.name]
        arguments += self.secured.format_arguments() if self.secured else []
        try:
            done = subprocess.run(  # noqa: S603 (our own command)
                [*self._java(128), "kafka.tools.StorageTool", *arguments],
                cwd=self.folder,
                check=False,
                capture_output=True,
                text=True,
                timeout=START_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise PlanwatchError(f"{data}: Kafka has not made its folder in {START_TIMEOUT_S:.0f} s.") from None
        if done.returncode != 0:
            raise PlanwatchError(f"{data}: Kafka cannot make its folder:\n{(done.stdout + done.stderr).strip()}")

    def ready(self) -> bool:
        """Whether it is in its own list of brokers, asked as a client would, or by its own listener."""
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        asked = self.inner if self.secured else self.bootstrap
        try:
            admin = KafkaAdminClient(bootstrap_servers=asked, bootstrap_timeout_ms=5000, **self.client)
        except KafkaError:
            return False
        try:
            return bool(admin.describe_cluster()["brokers"])
        except KafkaError:
            return False
        finally:
            admin.close()

    @property
    def _file(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, heap_mb: int) -> list[str]:
        classes = kafka_classpath()
        logger = "-Dorg.slf4j.simpleLogger"
        logs = [
            f"{logger}.defaultLogLevel=warn",
            f"{logger}.showDateTime=true",
            f"{logger}.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
        ]
        if self.secured:
            logs.append(f"{logger}.log.org.apache.kafka.common.network.Selector=info")  # who is not let in, and why
        return ["java", f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-cp", f"{classes}/*", *logs]

    def _settings(self) -> dict[str, str]:
        ports = self.ports
        addresses = {use.upper(): f"{HOST}:{ports[use]}" for use in self.listens}
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{addresses['CONTROLLER']}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "BROKER",
            "listeners": ",".join(f"{name}://{address}" for name, address in addresses.items()),
            "advertised.listeners": f"CLIENT://{addresses['CLIENT']},BROKER://{addresses['BROKER']}",
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in addresses),
            "log.dirs": "data",  # in its working folder, whose name may hold a comma or an umlaut
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "8",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "8",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # A broker that was killed may come back at once: until its old session ends it is refused as a double.
            "broker.session.timeout.ms": "4000",
            "broker.heartbeat.interval.ms": "500",
            "log.cleaner.dedupe.buffer.size": "16777216",
            **self.properties,
        }


class InfluxServer(NativeServer):
    """An InfluxDB 2 server with one organisation and the bucket that its set-up asks for.

    `token` becomes the administrator's token at the first start; without it one is made. It is kept in the folder.
    """

    name = "influxd"
    org = "planwatch"
    bucket = "planwatch"

    def __init__(self, folder: Path, port: int = 0, *, token: str | None = None, detached: bool = False) -> None:
        super().__init__(folder, port, detached=detached)
        self._first_token = token

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://{HOST}:{self.port}"

    @property
    def address(self) -> str:
        """As in `NativeServer`."""
        return self.url

    @property
    def token_file(self) -> Path:
        """Where the administrator's token is kept, readable by its owner only."""
        return self.folder / "admin.token"

    @property
    def admin_token(self) -> str:
        """The token that may do everything. Raises PlanwatchError before the first start."""
        try:
            return self.token_file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise PlanwatchError(f"{self.token_file}: no such file; InfluxDB has not been started here yet.") from None

    def mark(self) -> str:
        """As in `NativeServer`."""
        return f"--bolt-path={self.folder / 'influxd.bolt'}"

    def command(self) -> list[str]:
        """As in `NativeServer`."""
        return [
            str(influxd_binary()),
            "run",
            self.mark(),
            f"--sqlite-path={self.folder / 'influxd.sqlite'}",
            f"--engine-path={self.folder / 'engine'}",
            f"--http-bind-address={HOST}:{self.port}",
            "--reporting-disabled",
            "--log-level=warn",
        ]

    def prepare(self) -> None:
        """Make the token before the server is set up with it, so that no crash can lose it."""
        if not self.token_file.exists():
            write_private(self.token_file, self._first_token or secrets.token_urlsafe(48))

    def ready(self) -> bool:
        """Whether it is healthy and knows our token; sets it up when that has not been done."""
        import httpx

        headers = {"Authorization": f"Token {self.admin_token}"}
        with httpx.Client(base_url=self.url, trust_env=False, timeout=10) as client:
            try:
                if client.get("/health").status_code != 200:
                    return False
                if client.get("/api/v2/setup").json()["allowed"]:
                    wanted = {"username": "planwatch", "password": secrets.token_urlsafe(24), "token": self.admin_token}
                    done = client.post("/api/v2/setup", json={**wanted, "org": self.org, "bucket": self.bucket})
                    if done.is_error:
                        raise PlanwatchError(f"{self.url}: InfluxDB refuses to be set up: {done.text}")
                answer = client.get("/api/v2/orgs", params={"org": self.org}, headers=headers)
            except httpx.TransportError:
                return False
        if answer.status_code == 401:
            raise PlanwatchError(
                f"{self.token_file}: InfluxDB does not know this token. Put back the one it was set up with."
            )
        return answer.status_code == 200
