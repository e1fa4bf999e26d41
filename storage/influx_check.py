"""Is InfluxDB as a role needs it? What `planwatch doctor` asks; nothing is altered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from influxdb_client.client.flux_csv_parser import FluxQueryException
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.health_service import HealthService
from influxdb_client.service.ping_service import PingService
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from schemas.base import PlanwatchError
from schemas.config import Config
from schemas.stack import InfluxConfig, InfluxRole
from storage import flux
from storage.influx_admin import ALLOWED, DAY_S, find_bucket, retention_s, words
from storage.influx_connect import connect, said, settings_of

APPLY = "`planwatch influx apply` mends it."


class Finding(NamedTuple):
    """One thing looked at, and where it is not in order what to do."""

    name: str
    ok: bool
    detail: str


class _Fault(Exception):
    """Not in order; the text says what to do."""


def check(config: Config, role: InfluxRole, home: Path) -> list[Finding]:
    """Every finding, in the order in which they depend on each other; stops where the next make no sense."""
    found: list[Finding] = []

    def attempt(name: str, look: Callable[[], str]) -> bool:
        try:
            found.append(Finding(f"InfluxDB {name}", True, look()))
        except (PlanwatchError, _Fault) as error:
            found.append(Finding(f"InfluxDB {name}", False, str(error)))
        except (ApiException, HTTPError, FluxQueryException) as error:
            found.append(Finding(f"InfluxDB {name}", False, f"{said(error)}. {_advice(error)}"))
        return found[-1].ok

    settings = settings_of(config)
    with InfluxDBClient(settings.url, "", org=settings.org, timeout=int(settings.timeout_s * 1000)) as nobody:
        if not attempt("server", lambda: _version(nobody, settings)) or not attempt("health", lambda: _health(nobody)):
            return found
    try:
        client = connect(config, role, home)
    except PlanwatchError as error:
        return [*found, Finding(f"InfluxDB token of the {role}", False, str(error))]
    with client:
        if role == "admin":
            attempt("organisation and buckets", lambda: _buckets(client, config, settings))
            return found
        for bucket in (settings.bucket, settings.live_bucket):
            may = ALLOWED[role]
            look = _may_write if may == "write" else _may_read
            attempt(f"{role}, {bucket}", lambda look=look, bucket=bucket: look(client, settings, bucket))  # type: ignore[misc]
    return found


def _version(client: InfluxDBClient, settings: InfluxConfig) -> str:
    try:
        answer = PingService(client.api_client).get_ping_with_http_info(_return_http_data_only=False)
    except HTTPError as error:
        raise _Fault(
            f"{settings.url} does not answer: {said(error)}. Start InfluxDB 2, or mend `influx.url` in planwatch.yaml."
        ) from None
    version = str(answer[2].get("X-Influxdb-Version", "of unknown version")).removeprefix("v")
    if not version.startswith("2."):
        raise _Fault(
            f"{settings.url} is InfluxDB {version}. Version 2 is needed: the image `influxdb:2.7`, not `latest`."
        )
    return f"{settings.url} is InfluxDB {version}"


def _health(client: InfluxDBClient) -> str:
    health = HealthService(client.api_client).get_health()
    if health.status != "pass":
        raise _Fault(f"{health.message or health.status}. Its own log says why.")
    return str(health.message or health.status)


def _buckets(client: InfluxDBClient, config: Config, settings: InfluxConfig) -> str:
    try:
        orgs = client.organizations_api().find_organizations(org=settings.org)
    except ApiException as error:
        if error.status != 404:
            raise
        orgs = []
    if not orgs:
        raise _Fault(f"There is no organisation «{settings.org}». {APPLY}")
    for name, wanted_s in ((settings.bucket, 0), (settings.live_bucket, config.live_series_days * DAY_S)):
        bucket = find_bucket(client, orgs[0].id, name)
        if bucket is None:
            raise _Fault(f"There is no bucket «{name}». {APPLY}")
        if retention_s(bucket) != wanted_s:
            held = words(retention_s(bucket))
            raise _Fault(
                f"Bucket «{name}» keeps its points {held}, not {words(wanted_s)}. `planwatch influx apply --force` alters it."
            )
    return f"«{settings.org}» with «{settings.bucket}» and «{settings.live_bucket}»"


def _may_write(client: InfluxDBClient, settings: InfluxConfig, bucket: str) -> str:
    # A comment is no point: InfluxDB checks token and bucket, and writes nothing.
    WriteService(client.api_client).post_write(
        org=settings.org, bucket=bucket, body=b"# planwatch doctor", precision="us"
    )
    return "may write"


def _may_read(client: InfluxDBClient, settings: InfluxConfig, bucket: str) -> str:
    list(client.query_api().query_stream(flux.probe(bucket), org=settings.org))
    return "may read"


def _advice(error: Exception) -> str:
    status = getattr(error, "status", None)
    if status == 401:
        return "InfluxDB does not know the token; `planwatch influx apply` makes a new one."
    if status in (403, 404):
        return "The bucket is not there, or the token may not do this; `planwatch influx apply` mends both."
    return "Its own log says more."
