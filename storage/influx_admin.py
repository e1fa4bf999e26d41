"""What InfluxDB must hold before we write: the organisation, both buckets, and a token for each role that may do just its job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.authorization import Authorization
from influxdb_client.domain.bucket import Bucket
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.domain.permission import Permission
from influxdb_client.domain.permission_resource import PermissionResource
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from schemas.base import PlanwatchError
from schemas.config import Config
from schemas.stack import InfluxConfig, InfluxRole
from storage.influx_connect import connect, read_token, said, settings_of, token_file

DAY_S = 86_400
#: What a role may do with each of the two buckets; with anything else it may do nothing.
ALLOWED: dict[InfluxRole, Literal["read", "write"]] = {"worker": "write", "board": "read", "grafana": "read"}


class Applied(NamedTuple):
    """A thing that has to be there, and what was done about it."""

    what: str
    outcome: Literal["created", "kept", "differs", "renewed"]
    detail: str


def apply(config: Config, home: Path, force: bool = False) -> list[Applied]:
    """Make what is missing, with the administrator's token; what is there and right is left alone.

    A bucket whose retention differs is reported, and altered only with `force`. Raises PlanwatchError when InfluxDB
    cannot be reached or does not let us.
    """
    settings = settings_of(config)
    with connect(config, "admin", home) as client:
        try:
            return _apply(client, settings, config.live_series_days, home, force)
        except ApiException as error:
            advice = "Is the administrator's token right? It needs the rights of an operator of InfluxDB."
            where = f"{settings.url}: InfluxDB answers {error.status}"
            raise PlanwatchError(
                f"{where}: {said(error)}. {advice if error.status in (401, 403) else ''}".strip()
            ) from None
        except HTTPError as error:
            advice = "Is it running, and is `influx.url` in planwatch.yaml right?"
            raise PlanwatchError(f"{settings.url}: InfluxDB does not answer: {said(error)}. {advice}") from None


def _apply(client: InfluxDBClient, settings: InfluxConfig, live_days: int, home: Path, force: bool) -> list[Applied]:
    org_id, org = _organisation(client, settings.org)
    day, day_id = _bucket(client, org_id, settings.bucket, 0, force)
    live, live_id = _bucket(client, org_id, settings.live_bucket, live_days * DAY_S, force)
    done = [org, day, live]
    done += [_token(client, settings, org_id, (day_id, live_id), role, home) for role in ALLOWED]
    return done


def _organisation(client: InfluxDBClient, name: str) -> tuple[str, Applied]:
    api = client.organizations_api()
    try:
        found = api.find_organizations(org=name)
    except ApiException as error:
        if error.status != 404:
            raise
        found = []
    if found:
        return found[0].id, Applied(f"organisation {name}", "kept", "")
    return api.create_organization(name=name).id, Applied(f"organisation {name}", "created", "")


def find_bucket(client: InfluxDBClient, org_id: str, name: str) -> Bucket | None:
    """A bucket by its name, or none. Raises ApiException."""
    try:
        found = client.buckets_api().find_buckets(name=name, org_id=org_id).buckets
    except ApiException as error:
        if error.status != 404:
            raise
        return None
    return found[0] if found else None


def retention_s(bucket: Bucket) -> int:
    """For how long a bucket keeps its points, in seconds; 0: for good."""
    return sum(rule.every_seconds or 0 for rule in bucket.retention_rules or [] if rule.type == "expire")


def words(seconds: int) -> str:
    """A retention for people."""
    if not seconds:
        return "for good"
    return f"for {seconds // DAY_S} days" if seconds % DAY_S == 0 else f"for {seconds / 3600:.4g} hours"


def _bucket(client: InfluxDBClient, org_id: str, name: str, wanted_s: int, force: bool) -> tuple[Applied, str]:
    api, what = client.buckets_api(), f"bucket {name}"
    rules = [BucketRetentionRules(every_seconds=wanted_s)]
    bucket = find_bucket(client, org_id, name)
    if bucket is None:
        made = api.create_bucket(Bucket(name=name, org_id=org_id, retention_rules=rules))
        return Applied(what, "created", f"kept {words(wanted_s)}"), made.id
    held_s = retention_s(bucket)
    if held_s == wanted_s:
        return Applied(what, "kept", f"kept {words(held_s)}"), bucket.id
    if not force:
        advice = "`planwatch influx apply --force` alters it; what is older than a shorter time is then lost"
        return Applied(what, "differs", f"kept {words(held_s)}, not {words(wanted_s)}; {advice}"), bucket.id
    bucket.retention_rules = rules
    api.update_bucket(bucket)
    return Applied(what, "renewed", f"kept {words(wanted_s)}, before {words(held_s)}"), bucket.id


def _token(
    client: InfluxDBClient, settings: InfluxConfig, org_id: str, bucket_ids: Sequence[str], role: InfluxRole, home: Path
) -> Applied:
    api, what, path = client.authorizations_api(), f"token of the {role}", token_file(settings, role, home)
    action = ALLOWED[role]
    description = f"Planwatch {role}: {action} {settings.bucket}, {settings.live_bucket}"
    all_known: list[Authorization] = api.find_authorizations(org_id=org_id)
    held = read_token(path)
    ours = next((known for known in all_known if held and known.token == held), None)
    wanted = [
        Permission(action, PermissionResource(type="buckets", id=bucket_id, org_id=org_id)) for bucket_id in bucket_ids
    ]
    fault = _fault(ours, wanted) if held else "its file was not there"
    stale = [known for known in all_known if known.description == description and known is not ours]
    if ours is None or fault:
        made = Authorization(org_id=org_id, permissions=wanted)
        made.description = description
        ours, left = api.create_authorization(authorization=made), ours
        _keep_secret(path, ours.token)
        stale += [left] if left is not None and left.description == description else []
    else:
        _protect(path)
    for known in stale:
        api.delete_authorization(known.id)
    if not fault:
        return Applied(what, "kept", str(path))
    return Applied(what, "renewed" if held or stale else "created", f"{path}" + (f"; {fault}" if held or stale else ""))


def _fault(held: Authorization | None, wanted: Sequence[Permission]) -> str:
    """What is wrong with a token that a file holds; empty when it is right."""
    if held is None:
        return "InfluxDB did not know the one in the file"
    if held.status != "active":
        return "the one in the file was not active"
    if _as_set(held.permissions) != _as_set(wanted):
        return "the one in the file had other permissions"
    return ""


def _as_set(permissions: Sequence[Permission]) -> set[tuple[str, str, str | None, str | None]]:
    return {(p.action, p.resource.type, p.resource.id, p.resource.org_id) for p in permissions}


def _keep_secret(path: Path, token: str) -> None:
    """Write a token aside and move it into place: readable by its owner alone, and never half there."""
    aside = path.with_suffix(".partial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        aside.unlink(missing_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise PlanwatchError(f"{path}: the token cannot be written: {error.strerror or error}.") from None


def _protect(path: Path) -> None:
    try:
        path.parent.chmod(0o700)
        path.chmod(0o600)
    except OSError as error:
        raise PlanwatchError(f"{path}: its permissions cannot be set: {error.strerror or error}.") from None
