"""`planwatch stack`: every role as a child process, started again when it fails, stopped together."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from typing import IO, NamedTuple

from planwatch.doctor_stack import source_topics
from planwatch.home import Home
from planwatch.printing import console, errors
from planwatch.roles import kafka_of, stopped_by_signals
from planwatch.subscribing import subscribed
from planwatch.watching import watched_sources
from storage import influx_admin
from storage.backoff import backoff_s
from storage.kafka_topics import apply as apply_topics

LOOK_S = 0.2
STOP_S = 30.0
#: A role that ran for so long before it ended begins its waits anew.
WELL_S = 60.0


class Role(NamedTuple):
    """A child process: its name in the output, and its command."""

    name: str
    words: tuple[str, ...]


class _Child:
    """A role's process and when it may be started again."""

    def __init__(self, role: Role, home: Home) -> None:
        self.role, self._home = role, home
        self.process: subprocess.Popen[str] | None = None
        self._failures = 0
        self._started_at = self._due_at = 0.0

    def look(self) -> None:
        """Start it where it does not run and its time has come."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None:
            self._failures = 1 if now - self._started_at > WELL_S else self._failures + 1
            self._due_at = now + backoff_s(self._failures, 0.5, 30.0)
            errors.print(f"{self.role.name} ended with {self.process.returncode}; it is started again.", soft_wrap=True)
            self.process = None
        if now >= self._due_at:
            self._started_at = now
            self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "planwatch", "--home", str(self._home.path), *self.role.words]
        if setpriv := shutil.which("setpriv"):
            # Also where this process is killed: roles that nobody looks after would go on beside those of the next one.
            command = [setpriv, "--pdeathsig", "TERM", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603
        assert self.process.stdout is not None
        threading.Thread(target=_copy, args=(self.role.name, self.process.stdout), daemon=True).start()

    def terminate(self) -> None:
        """Ask it to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def wait(self, until: float) -> None:
        """Wait for its end; what does not come to one in time is killed."""
        if self.process is None:
            return
        try:
            self.process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run_stack(home: Home, workers: int, speed: float | None) -> None:
    """Make topics and tokens, then run the roles until SIGTERM or SIGINT. `speed` none: no simulated company."""
    for finding in apply_topics(kafka_of(home), source_topics(home.tenants().values()), create_sources=True):
        console.print(finding.text, highlight=False, soft_wrap=True, markup=False)
    for done in influx_admin.apply(home.config, home.stack_path):
        console.print(f"{done.outcome}  {done.what}", highlight=False, soft_wrap=True, markup=False)
    roles = roles_of(home, workers, speed)
    children = [_Child(role, home) for role in roles]
    with stopped_by_signals() as stop:
        while not stop.wait(LOOK_S):
            for child in children:
                child.look()
    for child in children:
        child.terminate()
    until = time.monotonic() + STOP_S
    for child in children:
        child.wait(until)
    console.print("Stopped. Everything that was taken in is kept.")


def roles_of(home: Home, workers: int, speed: float | None) -> list[Role]:
    """The roles of a stack: those for hooks, watched folders and channels where a source has some, a simulator at its speed."""
    roles = [Role("bridge", ("bridge",)), Role("board", ("board",)), Role("scheduler", ("scheduler",))]
    roles += [Role(f"worker {n + 1}", ("worker",)) for n in range(workers)]
    tenants = home.tenants().values()
    if any(source.hook is not None for tenant in tenants for source in tenant.config.sources.values()):
        roles.append(Role("serve", ("serve",)))
    if any(map(watched_sources, tenants)):
        roles.append(Role("watch", ("watch",)))
    if any(map(subscribed, tenants)):
        roles.append(Role("subscribe", ("sources", "subscribe")))
    if speed is not None:
        roles.append(Role("simulator", ("simulate", "--speed", str(speed))))
    return roles


def _copy(name: str, lines: IO[str]) -> None:
    for line in lines:
        console.print(f"{name:<10} {line.rstrip()}", highlight=False, soft_wrap=True, markup=False)
