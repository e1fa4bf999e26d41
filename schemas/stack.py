"""Settings of the stack: Kafka, InfluxDB, Grafana, the workers and what operators look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.base import Strict

#: The topics of ours, in the order in which data passes through them.
TopicName = Literal["changes", "status", "alerts", "quarantine", "drift"]
#: Who reads or writes InfluxDB; each has a token of its own.
InfluxRole = Literal["admin", "worker", "board", "grafana"]


class KafkaSecurity(Strict):
    """How clients prove who they are to Kafka, and how the brokers prove it to them. Files are relative to the home."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: Annotated[str, Field(min_length=1)] | None = None
    password_file: str | None = None  # read at every new connection; PLANWATCH_KAFKA_PASSWORD comes before it
    ca_file: str | None = None  # PEM: who may vouch for the brokers; none: whom the system trusts
    cert_file: str | None = None  # PEM: our own certificate, where the brokers ask for one
    key_file: str | None = None  # its key; none: in cert_file too
    key_password_file: str | None = None
    check_hostname: bool = True  # off: any broker of the same authority is believed to be the one that was called

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.protocol in ("SSL", "SASL_SSL")

    @property
    def sasl(self) -> bool:
        """Whether a user and a password are given."""
        return self.protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """A setting without effect is an error: whoever wrote it believes that it protects something."""
        if self.sasl and self.user is None:
            raise ValueError(f"protocol {self.protocol} needs a `user`")
        if not self.sasl and (self.user or self.password_file):
            raise ValueError(
                f"`user` and `password_file` have no effect with protocol {self.protocol}: set it to SASL_SSL"
            )
        if not self.tls and (self.ca_file or self.cert_file or not self.check_hostname):
            raise ValueError(
                f"`ca_file`, `cert_file` and `check_hostname` have no effect with protocol {self.protocol}: "
                "set it to SASL_SSL or SSL"
            )
        if self.cert_file is None and (self.key_file or self.key_password_file):
            raise ValueError("`key_file` and `key_password_file` need a `cert_file`")
        return self

    def under(self, home: Path) -> KafkaSecurity:
        """The same with its files looked for in a home."""
        names = ("password_file", "ca_file", "cert_file", "key_file", "key_password_file")
        files = {name: getattr(self, name) for name in names}
        return self.model_copy(update={name: str(home / file) for name, file in files.items() if file})


class KafkaConfig(Strict):
    """The brokers and how our topics are made. The defaults suit one broker; production wants three replicas."""

    bootstrap: str = "127.0.0.1:9092"  # host:port, several with commas
    security: KafkaSecurity = KafkaSecurity()
    prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,100}$")] = "planwatch"  # planwatch.changes, ...
    partitions: Annotated[int, Field(ge=1, le=1000)] = 8  # how far tenants can spread over workers
    replication: Annotated[int, Field(ge=1, le=9)] = 1
    min_insync_replicas: Annotated[int, Field(ge=1, le=9)] = 1
    compression: Literal["none", "gzip", "lz4", "zstd"] = "lz4"
    message_bytes_max: Annotated[int, Field(ge=1 << 16, le=1 << 26)] = 4 << 20
    changes_retention_days: Annotated[int, Field(ge=1)] | None = None  # none: for good, as the truth should be
    status_retention_days: Annotated[int, Field(ge=1)] | None = 90
    alerts_retention_days: Annotated[int, Field(ge=1)] | None = 730
    quarantine_retention_days: Annotated[int, Field(ge=1)] | None = 90
    session_timeout_s: Annotated[float, Field(ge=1, le=300)] = 15.0  # after which a silent worker or bridge is evicted

    def topic(self, name: TopicName) -> str:
        """The full name of one of our topics."""
        return f"{self.prefix}.{name}"

    @property
    def change_bytes_max(self) -> int:
        """Bytes of a change, and of a log message, at most: well below what the topic takes, so that none is refused."""
        return self.message_bytes_max // 2

    @property
    def servers(self) -> list[str]:
        """The bootstrap servers as a list."""
        return [part.strip() for part in self.bootstrap.split(",") if part.strip()]


class InfluxConfig(Strict):
    """InfluxDB 2: where it is and how points are written to it."""

    url: str = "http://127.0.0.1:8086"
    org: str = "planwatch"
    bucket: str = "planwatch"  # daily series, kept for good
    live_bucket: str = "planwatch_live"  # series by the minute, kept for `live_series_days`
    secrets: str = "secrets"  # folder with influx-<role>.token, relative to the home
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    batch_points: Annotated[int, Field(ge=1, le=50_000)] = 5_000
    flush_ms: Annotated[int, Field(ge=1, le=60_000)] = 100
    buffer_points_max: Annotated[int, Field(ge=1_000)] = 500_000  # values in memory, some 270 bytes each


class GrafanaConfig(Strict):
    """Grafana: where it is and how it reaches InfluxDB."""

    url: str = "http://127.0.0.1:3000"
    token_file: str | None = "secrets/grafana.token"  # noqa: S105 – a file of a service account; or user and password_file
    user: str | None = None
    password_file: str | None = None
    influx_url: str | None = None  # InfluxDB as Grafana reaches it; none: the same as ours
    folder: str = "Planwatch"
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0


class WorkerConfig(Strict):
    """The workers: snapshots, ticks and the watchdog."""

    snapshots: str = "data/snapshots"  # relative to the home; a shared volume lets a tenant move without a replay
    snapshot_every_s: Annotated[float, Field(gt=0)] = 60.0
    tick_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    stall_s: Annotated[float, Field(ge=1)] = 60.0  # no progress for so long while there is work: restarted


class OpsConfig(Strict):
    """/healthz, /readyz and /metrics of every role."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0  # 0: any free port, which is logged
