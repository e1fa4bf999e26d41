"""The watchdog in a process of its own, which really stalls and really comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from planwatch.watchdog import EXIT_GIVEN_UP, RESTARTS_MAX, VARIABLE

ROOT = Path(__file__).parents[2]

#: Works a little, then waits for ever for a lock that it holds, in its first life; in its second it says so and ends.
STALLS_ONCE = """
import os, sys, threading
from planwatch import logs
from planwatch.watchdog import Watchdog, restart_in_place, restarts

logs.setup("json")
done = 0
Watchdog(0.3, lambda: (done, True), restart_in_place).start()
print("started", os.getpid(), restarts(), sys.argv[1], flush=True)
if restarts():
    print("back", flush=True)
    sys.exit(0)
done += 1
def stalls_here():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
stalls_here()
"""

#: Stalls in every life.
STALLS_ALWAYS = STALLS_ONCE.replace("if restarts():", "if False:")


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, "an argument"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


def test_a_process_that_stalls_comes_back() -> None:
    """Its successor has the same process number and arguments, knows that it is one, and the log says why and where."""
    ended = run(STALLS_ONCE)
    assert ended.returncode == 0, ended.stderr
    first, second, back = ended.stdout.splitlines()
    number = first.split()[1]
    assert (first, second, back) == (f"started {number} 0 an argument", f"started {number} 1 an argument", "back")
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["message"] for line in lines if "restart" in line["message"]] == ["restarting in place"]
    assert next(line for line in lines if line["message"] == "stalled")["reason"].startswith("no progress")
    (stack,) = [line["stack"] for line in lines if line["message"] == "stack of thread MainThread"]
    assert "stalls_here" in stack


def test_a_crash_loop_ends_with_its_code() -> None:
    """A process that stalls in every life gives up after its restarts, so that a supervisor can see it."""
    ended = run(STALLS_ALWAYS)
    assert ended.returncode == EXIT_GIVEN_UP, ended.stderr
    lives = [line.split()[2] for line in ended.stdout.splitlines()]
    assert lives == [str(i) for i in range(RESTARTS_MAX + 1)]
    last = json.loads(ended.stderr.splitlines()[-1])
    assert (last["level"], last["message"]) == ("critical", "too many restarts: giving up")
    assert VARIABLE not in ended.stdout
