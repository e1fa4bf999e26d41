"""Real Kafka and InfluxDB without Docker, for people: up, status, down. `python -m planwatch.native build` builds ahead.

The servers run detached: they outlive the command that starts them, until `down` or the end of the machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from planwatch.native_build import build_all, influxd_binary, kafka_classpath, say
from planwatch.native_process import NativeServer, write_private
from planwatch.native_servers import InfluxServer, KafkaServer
from schemas.base import PlanwatchError
from storage.lease import Lease

TOKEN_FILE = "influx-admin.token"  # noqa: S105 (a file's name)


class ServerStatus(NamedTuple):
    """How one server is; `address` is none before its first start, `pid` when it is not running."""

    name: str
    running: bool
    address: str | None
    pid: int | None
    folder: Path


def up(
    folder: Path, kafka_port: int = 9092, influx_port: int = 8086, secrets_folder: Path | None = None
) -> list[ServerStatus]:
    """Start what is not running, detached, and return when both answer.

    `folder` keeps their data. With `secrets_folder` InfluxDB's administrator token stands there as
    `influx-admin.token`; a token that stands there before the first start becomes the administrator's. What is not
    built yet is built, with progress on standard error. Raises PlanwatchError when tools are missing, a port is taken
    or a server does not come up; then nothing that this call started is left running.
    """
    kafka, influx = _servers(folder, kafka_port, influx_port, _kept_token(secrets_folder))
    _check_token(influx, secrets_folder)
    kafka_classpath(), influxd_binary()
    started: list[NativeServer] = []
    with _alone(folder):
        try:
            for server in (kafka, influx):
                if not server.running:
                    say(f"Starting {server.name} …")
                    started.append(server.start())
        except BaseException:
            for one in started:
                one.stop()
            raise
        if secrets_folder is not None:
            secrets_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(secrets_folder / TOKEN_FILE, influx.admin_token)
    return status(folder)


def status(folder: Path) -> list[ServerStatus]:
    """How both servers of the folder are; a folder without servers has two that do not run."""
    return [
        ServerStatus(server.name, server.running, server.address if server.ports else None, server.pid, server.folder)
        for server in _servers(folder)
    ]


def down(folder: Path) -> list[str]:
    """Stop the servers of the folder, and only those: the names of what was running. Their data stays."""
    if not folder.is_dir():
        return []
    with _alone(folder):
        stopped = [server for server in _servers(folder) if server.running]
        for server in _servers(folder):
            server.stop()
    return [server.name for server in stopped]


def _servers(
    folder: Path, kafka_port: int = 0, influx_port: int = 0, token: str | None = None
) -> tuple[KafkaServer, InfluxServer]:
    return (
        KafkaServer(folder / "kafka", kafka_port, detached=True),
        InfluxServer(folder / "influxd", influx_port, token=token, detached=True),
    )


def _kept_token(secrets_folder: Path | None) -> str | None:
    path = secrets_folder / TOKEN_FILE if secrets_folder is not None else None
    return path.read_text(encoding="utf-8").strip() or None if path is not None and path.exists() else None


def _check_token(influx: InfluxServer, secrets_folder: Path | None) -> None:
    """A token of another InfluxDB is not overwritten: it may be the only copy."""
    kept = _kept_token(secrets_folder)
    if secrets_folder is not None and kept and influx.token_file.exists() and influx.admin_token != kept:
        raise PlanwatchError(
            f"{secrets_folder / TOKEN_FILE}: holds another token than the native InfluxDB has ({influx.token_file}). "
            "Move the file away, or name another home."
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lease = Lease(folder / "native.lock")
    if not lease.acquire():
        raise PlanwatchError(
            f"{folder}: process {lease.holder()} is starting or stopping these servers. Try again after it."
        )
    try:
        yield
    finally:
        lease.release()


def main(arguments: list[str]) -> int:
    """`build`: 0, also when tools are missing, for the tests that need them say so; with CI=true then 1."""
    if arguments != ["build"]:
        sys.stderr.write("Usage: python -m planwatch.native build\n")
        return 2
    return 0 if build_all() or os.environ.get("CI") != "true" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
