"""Real Kafka and InfluxDB without Docker, part two: one server process, on 127.0.0.1, with all it keeps in one folder.

A server can be started, stopped, killed and paused, and started again on the same port and data. It is known by its
process file and by its own folder in its command line, so that another process may stop it, and never a foreign one.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from schemas.base import PlanwatchError

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
KILL_TIMEOUT_S = 10.0
POLL_S = 0.05
LOG_BYTES_MAX = 10_000_000
LOG_LINES_SHOWN = 15
HOST = "127.0.0.1"
#: Below the ports that Linux gives to outgoing connections: a client that dials a stopped server's port must not get
#: that very port for its own end and talk to itself.
FREE_PORTS = range(15_000, 32_000)
#: Processes that may outlive us; kept, since Python warns when it drops one that is still running.
_detached: list[subprocess.Popen[bytes]] = []


class NativeServer(ABC):
    """One server. `folder` holds its data, log, ports and process file; `port` 0 means the one it had, or a free one.

    A detached server outlives this program; another one is killed with it at the latest.
    """

    name: ClassVar[str]
    #: What it listens on; the first is the one for clients.
    listens: ClassVar[tuple[str, ...]] = ("client",)

    def __init__(self, folder: Path, port: int = 0, *, detached: bool = False) -> None:
        if sys.platform != "linux":
            raise PlanwatchError("The native servers run on Linux only. Elsewhere use Docker.")
        self.folder = folder.absolute()
        self.detached = detached
        self._wanted_port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def address(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line; it is run in the server's folder."""

    @abstractmethod
    def mark(self) -> str:
        """The argument in its command line that only the server of this folder has."""

    @abstractmethod
    def prepare(self) -> None:
        """Write what the server reads at its start."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it answers as it should; may finish setting it up. False while it is still coming up."""

    @property
    def ports(self) -> dict[str, int]:
        """The ports by what they are for, as kept in the folder; empty before the first start."""
        try:
            kept: dict[str, int] = json.loads((self.folder / "ports.json").read_text(encoding="ascii"))
        except FileNotFoundError:
            return {}
        return kept

    @property
    def port(self) -> int:
        """The port for clients. Raises PlanwatchError before the first start, when it was left open."""
        port = self._wanted_port or self.ports.get("client", 0)
        if not port:
            raise PlanwatchError(f"{self.folder}: {self.name} has not been started yet and has no port.")
        return port

    @property
    def log(self) -> Path:
        """What the server says. One older file is kept beside it."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The number of its running process."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return pid if self._is_ours(pid) else None

    @property
    def running(self) -> bool:
        """Whether its process is there, paused or not."""
        return self.pid is not None

    def start(self, timeout_s: float = START_TIMEOUT_S) -> Self:
        """Start it and return when it answers. Raises PlanwatchError with the end of its log when it does not."""
        if (pid := self.pid) is not None:
            raise PlanwatchError(f"{self.folder}: {self.name} is running already, as process {pid}.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._choose_ports()
        self.prepare()
        self._launch(self.command())
        deadline_s = time.monotonic() + timeout_s
        try:
            while not (self._listening() and self.ready()):
                if not self.running:
                    raise PlanwatchError(f"{self.name} ended while it started. {self._log_end()}")
                if time.monotonic() >= deadline_s:
                    raise PlanwatchError(f"{self.name} does not answer after {timeout_s:.0f} s. {self._log_end()}")
                time.sleep(POLL_S)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask it to end (SIGTERM), also when it is paused; kill it when it has not ended in time."""
        with self._held() as process:
            if process is not None:
                _send(process, signal.SIGTERM)
                _send(process, signal.SIGCONT)
                if not _has_ended(process, timeout_s):
                    self.kill()
        self._forget()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a power failure would; returns when it is gone."""
        with self._held() as process:
            if process is not None:
                _send(process, signal.SIGKILL)
                if not _has_ended(process, KILL_TIMEOUT_S):
                    raise PlanwatchError(f"{self.folder}: {self.name} does not end, even when killed.")
        self._forget()

    def pause(self) -> None:
        """Stop the clock for it (SIGSTOP): it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def _pid_file(self) -> Path:
        return self.folder / "server.pid"

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is there, not yet ended, and is the server of this folder."""
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
            )
        except (OSError, IndexError):
            return False
        return state not in "ZX" and os.fsencode(self.mark()) in arguments

    def _signal(self, number: signal.Signals) -> None:
        with self._held() as process:
            if process is None:
                raise PlanwatchError(f"{self.folder}: {self.name} is not running.")
            _send(process, number)

    @contextmanager
    def _held(self) -> Iterator[int | None]:
        """A handle on its process, which no later process of the same number can take over; None without a process."""
        handle = None
        if (pid := self.pid) is not None:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                pid = None
        try:
            yield handle if pid is not None and self.pid == pid else None
        finally:
            if handle is not None:
                os.close(handle)

    def _forget(self) -> None:
        """After its end: fetch its exit code, which frees its number, and drop the process file."""
        if self._process is not None:
            self._process.poll()
        self._pid_file.unlink(missing_ok=True)

    def _choose_ports(self) -> None:
        """Keep the ports that it had, choose free ones for the rest, and see that nobody else listens on them."""
        kept = self.ports
        if self._wanted_port:
            kept["client"] = self._wanted_port
        for use in self.listens:
            if use not in kept:
                kept[use] = free_port()
            elif not is_free(kept[use]):
                raise PlanwatchError(
                    f"Port {kept[use]} of {HOST}, which {self.name} needs, is taken by another program."
                )
        write_private(self.folder / "ports.json", json.dumps(kept))

    def _launch(self, command: list[str]) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        # The kernel ends the server with the thread that started it: only the main one lives as long as the program.
        tied = not self.detached and threading.current_thread() is threading.main_thread()
        if tied and (setpriv := shutil.which("setpriv")):
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command)
                command,
                cwd=self.folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("INFLUXD_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        write_private(self._pid_file, str(self._process.pid))
        if self.detached:
            _detached.append(self._process)
        else:
            atexit.unregister(self.kill)
            atexit.register(self.kill)

    def _listening(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _log_end(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return f"The end of {self.log}:\n" + "\n".join(f"  {line}" for line in lines)


def _has_ended(process: int, timeout_s: float) -> bool:
    """Whether the process of a handle ends in time, with all its sockets and locks."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has just ended on its own
        signal.pidfd_send_signal(process, number)


def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for a condition; whether it came true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def is_free(port: int) -> bool:
    """Whether nobody listens on the port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on now."""
    for port in secrets.SystemRandom().sample(FREE_PORTS, 100):
        if is_free(port):
            return port
    raise PlanwatchError(f"No free port found between {FREE_PORTS.start} and {FREE_PORTS.stop} on {HOST}.")


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text + ("" if text.endswith("\n") else "\n"))
    aside.replace(path)
