"""Watched folders as a user has them: put a file there while the program runs, look at a KPI; kill it in the middle."""

from __future__ import annotations

import csv
import io
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from planwatch.home import Home
from planwatch.store import Store
from storage.sqlite_log import SqliteLog

ROOT = Path(__file__).parents[2]
WAIT_S = 60
CONFIG = """
tenant: acme
time: log
stages: [{name: Open}, {name: Won, kind: won}]
sources: {crm: {kind: csv, mapping: mapping.yaml, watch: inbox, watch_settle_s: 0.2}}
"""
MAPPING = """
files:
  - match: "deals*.csv"
    entity: opportunity
    id: id
    fields: {amount: amount, owner: owner, stage: {constant: Won}}
    milestones: [{name: won, date: closed, op: create, set: {close_date: {moment: true}}}]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a watched folder."""
    (tmp_path / "planwatch.yaml").write_text(CONFIG)
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    (tmp_path / "inbox").mkdir()
    return tmp_path


def wait_for(true: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


@contextmanager
def program(home: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A role, killed at the end where it still runs."""
    command = [sys.executable, "-m", "planwatch", "--home", str(home), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def revenue(home: Path) -> list[list[str]]:
    """The rows of revenue by rep, as a spreadsheet would read them."""
    command = [sys.executable, "-m", "planwatch", "--home", str(home), "query", "revenue", "--by", "rep", "--csv", "-"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return list(csv.reader(io.StringIO(done.stdout)))[1:]


def stopped(process: subprocess.Popen[str]) -> str:
    """What a program said, once SIGTERM has ended it cleanly."""
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, told
    return told


def log_end(home: Path) -> int:
    log = SqliteLog(home / "data" / "log.sqlite")
    try:
        return log.end()
    finally:
        log.close()


def test_a_file_while_the_program_runs(home: Path) -> None:
    """From the folder to the KPI; a rep whose name is a formula is text in the exported file."""
    with program(home, "run", "--port", "0") as process:
        assert process.stdout is not None
        assert re.search(r"http://\S+", process.stdout.readline())
        (home / "inbox" / "deals.csv.part").write_text("id,amount,owner,closed\n1,100.50,=1+1,2024-03-01\n")
        (home / "inbox" / "deals.csv.part").rename(home / "inbox" / "deals.csv")
        wait_for(lambda: log_end(home) > 0)
        told = stopped(process)
    assert f"crm: {home}/inbox/deals.csv: received 1, of them 0 refused." in told
    assert [row[:3] for row in revenue(home)] == [["'=1+1", "", "100.50"]]


def test_killed_in_the_middle_of_a_file(home: Path) -> None:
    """The next process takes the file from its start; every row counts once, and the file is not taken a third time."""
    rows = 60_000
    text = "".join(f"{n},1,Ada,2024-03-{1 + n % 28:02}\n" for n in range(rows))
    (home / "inbox" / "deals.csv").write_text(f"id,amount,owner,closed\n{text}")
    with program(home, "watch") as process:
        wait_for(lambda: (home / "data" / "log.sqlite").exists() and log_end(home) > 0)
        process.kill()
        process.wait()
    assert log_end(home) > 0
    with program(home, "watch") as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "file taken in" in line)
        assert str(rows) in line
        stopped(process)
    end = log_end(home)
    assert [row[2] for row in revenue(home)] == [f"{rows}.00"]
    with program(home, "watch") as process:
        (home / "inbox" / "deals-2.csv").write_text("id,amount,owner,closed\nlast,1,Ada,2024-03-01\n")
        assert process.stdout is not None
        line = next(line for line in process.stdout if "file taken in" in line)
        assert "deals-2.csv" in line
        stopped(process)
    assert log_end(home) == end + 1
    state = Store(Home(home)).state()
    assert len(state.tables["opportunity"].ids) == rows + 1
