"""Tokens and connections: which token a role has, where it is kept, and what is wrong when it does not do."""

from __future__ import annotations

import os
from pathlib import Path

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException

from schemas.base import PlanwatchError
from schemas.config import Config
from schemas.stack import InfluxConfig, InfluxRole

REASON_CHARS = 300


def settings_of(config: Config) -> InfluxConfig:
    """The settings of InfluxDB. Raises PlanwatchError where there are none."""
    if config.influx is None:
        raise PlanwatchError("planwatch.yaml: there is no `influx`. Add it with the `url` of your InfluxDB.")
    if config.influx.bucket == config.influx.live_bucket:
        raise PlanwatchError("planwatch.yaml: `influx.bucket` and `influx.live_bucket` are the same; they must differ.")
    return config.influx


def token_file(settings: InfluxConfig, role: InfluxRole, home: Path) -> Path:
    """Where the token of a role is kept."""
    return home / settings.secrets / f"influx-{role}.token"


def token_of(settings: InfluxConfig, role: InfluxRole, home: Path) -> str:
    """The token of a role: from PLANWATCH_INFLUX_<ROLE>_TOKEN, PLANWATCH_INFLUX_TOKEN or its file.

    Raises PlanwatchError, which never shows the token, where there is none or it cannot be one.
    """
    path = token_file(settings, role, home)
    own, common = f"PLANWATCH_INFLUX_{role.upper()}_TOKEN", "PLANWATCH_INFLUX_TOKEN"
    for name in (own, common):
        if token := os.environ.get(name, "").strip():
            return _sound(token, name)
    if token := read_token(path):
        return _sound(token, str(path))
    if role == "admin":
        raise PlanwatchError(f"{path}: no token. Put the one of an InfluxDB administrator there, or into {own}.")
    raise PlanwatchError(f"{path}: no token. `planwatch influx apply` makes it; or put one into {own}.")


def connect(config: Config, role: InfluxRole, home: Path) -> InfluxDBClient:
    """A client with the token of a role; it connects when it is used. Raises PlanwatchError without a token."""
    settings = settings_of(config)
    token = token_of(settings, role, home)
    return InfluxDBClient(settings.url, token, org=settings.org, timeout=int(settings.timeout_s * 1000))


def read_token(path: Path) -> str:
    """What is in a token file; empty when there is none. Raises PlanwatchError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "this is no text"
        raise PlanwatchError(f"{path}: the token cannot be read: {reason}.") from None


def said(error: Exception) -> str:
    """What the server or the network said, in one line of bounded length. Never a header or a token."""
    text = getattr(error, "message", None)
    if isinstance(error, ApiException) and error.response is None:
        text = error.reason
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return " ".join(str(text or error).split())[:REASON_CHARS]


def _sound(token: str, place: str) -> str:
    # What HTTP cannot carry would come back in the text of an exception.
    if not token.isascii() or not token.isprintable() or " " in token:
        raise PlanwatchError(f"{place}: this is no token of InfluxDB: it has to be one word of plain characters.")
    return token
