"""Commands that go on until they are told to end, on real servers: scheduler, simulation, the whole stack at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from ingest.simulator import Simulator
from storage.kafka_lag import group_lag
from storage.kafka_log import PartitionReader
from tests.brief_company import brief_company
from tests.integration.test_program import planwatch
from tests.integration.test_stack import MakeStack, make_stack
from tests.integration.test_stack_commands import configure, said
from tests.stack import ROOT, Stack, free_port, get, wait_for

__all__ = ["make_stack"]


@contextmanager
def process(home: Path, log: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that goes on until it is told to end; it is killed where the test fails before that."""
    with log.open("ab") as out:
        command = [sys.executable, "-m", "planwatch", "--home", str(home), *words]
        with subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT) as running:
            try:
                yield running
            finally:
                if running.poll() is None:
                    running.kill()


def test_the_scheduler(make_stack: MakeStack) -> None:
    """It checks the servers and measures lags as soon as it starts, and ends cleanly on SIGTERM."""
    stack = make_stack()
    stack.send("demo", islice(brief_company("demo"), 25))
    scheduler = stack.start("scheduler").wait_ready()
    done = [f'planwatch_jobs_total{{job="{job}",outcome="done"}} 1.0' for job in ("check-servers", "refresh-gauges")]
    wait_for(lambda: all(line in metrics(scheduler.url) for line in done), "both jobs were done")
    assert scheduler.metric("planwatch_group_lag") == 25
    assert "failed" not in metrics(scheduler.url)
    configure(stack.path, lambda d: d["kafka"].update(quarantine_retention_days=3))
    assert scheduler.stop() == 0
    second = stack.start("scheduler").wait_ready()
    wait_for(lambda: "differs from the configuration" in second.tail(), "the log says what differs")
    assert second.stop() == 0


def metrics(url: str) -> str:
    """What a role counts."""
    return get(f"{url}/metrics", 5)[1].decode()


def noted(stack: Stack) -> dict[str, int]:
    """How far the simulation says that it has come."""
    file = stack.path / "data" / "simulated.json"
    found: dict[str, int] = json.loads(file.read_text()) if file.exists() else {"reached_us": 0, "history_until_us": 0}
    return found


def in_topic(stack: Stack, tenant: str) -> list[bytes]:
    """Every event in the topic of a tenant's CRM."""
    found: list[bytes] = []
    for lag in group_lag(stack.config, "nobody", [stack.topic(tenant)]):
        reader = PartitionReader(stack.config, lag.topic, lag.partition)
        found += [record.value for record in reader.read(0, 100_000) if record.value is not None]
        reader.close()
    return found


def test_the_simulation_goes_on_where_it_stopped(make_stack: MakeStack, tmp_path: Path) -> None:
    """Stopped and killed in the midst of history and stopped again at its pace: every change was sent, in the end."""
    stack, log = make_stack(), tmp_path / "simulate.log"

    def run(number: signal.Signals, far_enough: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """Simulate until it has come far enough, then send the signal: how far it had come."""
        with process(stack.path, log, "simulate", "--history-days", "40", "--speed", "86400") as running:

            def come() -> bool:
                assert running.poll() is None, log.read_text()
                return far_enough(noted(stack))

            wait_for(come, "the simulation has come far enough")
            running.send_signal(number)
            assert running.wait(30) == (0 if number is signal.SIGTERM else -number), log.read_text()
        return noted(stack)

    first = run(signal.SIGTERM, lambda at: at["reached_us"] > 0)
    second = run(signal.SIGKILL, lambda at: at["reached_us"] > first["reached_us"])
    assert second["history_until_us"] == first["history_until_us"]
    run(signal.SIGTERM, lambda at: at["reached_us"] > max(second.values()))
    events = in_topic(stack, "demo")
    unique = set(events)
    writer = stack.writer("demo")
    company = Simulator(tenant="demo", source="crm").changes()
    assert unique == {writer.event(change) for change in islice(company, len(unique))}
    assert len(unique) > 8_000
    assert len(events) - len(unique) < len(unique) / 2  # it did not begin anew


def children(pid: int) -> dict[str, int]:
    """The roles among the children of a process: command → process id."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        if "--home" in words and "stack" not in words:  # one that has ended, or that is only being made, is none
            found[words[words.index("--home") + 2]] = int(child)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_whole_stack_by_one_command(make_stack: MakeStack, tmp_path: Path) -> None:
    """`planwatch stack` runs every role, starts a killed one again, and on SIGTERM ends them all with itself."""
    port = free_port()
    stack = make_stack(board={"host": "127.0.0.1", "port": port})
    log = tmp_path / "stack.log"

    def received() -> int:
        status, body = get(f"http://127.0.0.1:{port}/api/view")
        return sum(s["received"] for s in json.loads(body)["trust"]["sources"]) if status == 200 else 0

    with process(stack.path, log, "stack", "--workers", "1", "--no-simulate") as running:
        load = brief_company("demo")
        stack.send("demo", islice(load, 1_200))
        wait_for(lambda: received() >= 1_200, "bridge and board have the load")
        wait_for(lambda: stack.influx_points("demo"), "the worker has written points")
        first = children(running.pid)
        assert set(first) == {"bridge", "board", "scheduler", "worker"}
        os.kill(first["worker"], signal.SIGKILL)
        wait_for(lambda: children(running.pid).get("worker", first["worker"]) != first["worker"], "it is started again")
        assert "worker 1 ended with -9; it is started again." in log.read_text()
        assert {name: pid for name, pid in children(running.pid).items() if name != "worker"} == {
            name: pid for name, pid in first.items() if name != "worker"
        }
        stack.send("demo", islice(load, 300))
        newest = max(max(series) for series in stack.influx_points("demo").values())
        wait_for(lambda: max(max(s) for s in stack.influx_points("demo").values()) > newest, "the new worker works")
        last = children(running.pid)
        running.send_signal(signal.SIGTERM)
        assert running.wait(40) == 0
    assert not any(alive(pid) for pid in (*first.values(), *last.values()))
    assert log.read_text().endswith("Stopped. Everything that was taken in is kept.\n")


def test_roles_end_with_a_stack_that_is_killed(make_stack: MakeStack, tmp_path: Path) -> None:
    """`kill -9` of `planwatch stack` leaves no role behind."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv of util-linux is not here: nothing tells the roles that their parent was killed")
    stack = make_stack(board={"host": "127.0.0.1", "port": free_port()})
    with process(stack.path, tmp_path / "stack.log", "stack", "--workers", "0", "--no-simulate") as running:
        roles = wait_for(lambda: found if len(found := children(running.pid)) == 3 else None, "the roles run")
        running.kill()
    wait_for(lambda: not any(alive(pid) for pid in roles.values()), "the roles have ended")


def test_native_status_without_servers(tmp_path: Path) -> None:
    """Both are stopped, and looking at them makes nothing."""
    home = tmp_path / "home"
    servers = said(0, home, "native", "status")["servers"]
    assert [(s["name"], s["running"], s["address"], s["pid"]) for s in servers] == [
        ("kafka", False, None, None),
        ("influxd", False, None, None),
    ]
    assert "stopped" in planwatch(home, "native", "status").stdout
    assert planwatch(home, "native", "down").stdout == "Nothing was running.\n"
    assert not home.exists()
