"""Passwords and tokens of the stack in compose.yaml: made once, and handed to those who need them.

    make_secrets.py create      before any server starts; what is there stays
    make_secrets.py hand-over   when `planwatch influx apply` has made the tokens: Grafana's goes to Grafana

A server sees only the volume with its own. Files there can be read by its user, whoever that is, since nothing else
mounts them. Nothing is printed but names.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

OURS = Path(os.environ.get("PLANWATCH_SECRETS_DIR", "/planwatch/secrets"))
FOR_INFLUXDB = Path(os.environ.get("FOR_INFLUXDB_DIR", "/var/lib/planwatch/for-influxdb"))
FOR_GRAFANA = Path(os.environ.get("FOR_GRAFANA_DIR", "/var/lib/planwatch/for-grafana"))
PRIVATE, SHARED = 0o600, 0o444


def write(path: Path, text: str, mode: int) -> None:
    """Write aside and move into place: never half there."""
    aside = path.with_name(f".{path.name}.partial")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.chmod(mode)
    aside.replace(path)


def kept(path: Path, mode: int, text: str | None = None) -> str:
    """What the file holds; a file that is not there is made, with a new secret or the given text."""
    if path.is_file() and (found := path.read_text(encoding="ascii").strip()):
        return found
    made = text or secrets.token_urlsafe(32)
    write(path, made, mode)
    print(f"made {path}", flush=True)
    return made


def create() -> None:
    """Secrets of ours, and what InfluxDB and Grafana need for their first start."""
    admin = kept(OURS / "influx-admin.token", PRIVATE)
    kept(FOR_INFLUXDB / "admin.token", SHARED, admin)
    kept(FOR_INFLUXDB / "password", SHARED)
    password = kept(OURS / "grafana.password", PRIVATE)
    kept(FOR_GRAFANA / "grafana.password", SHARED, password)
    kept(OURS / "board.token", PRIVATE)


def hand_over() -> None:
    """The token with which Grafana reads InfluxDB, the newest one."""
    token = (OURS / "influx-grafana.token").read_text(encoding="ascii").strip()
    write(FOR_GRAFANA / "influx-grafana.token", token, SHARED)
    print(f"handed over {FOR_GRAFANA / 'influx-grafana.token'}", flush=True)


if __name__ == "__main__":
    {"create": create, "hand-over": hand_over}[sys.argv[1]]()
