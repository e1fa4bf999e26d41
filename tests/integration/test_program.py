"""The program as a user runs it, on data that the test writes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = "opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value\n"
TEAMS = "sales_agent,manager,regional_office\nMoses Frase,Dustin Brinkmann,Central\n"


def planwatch(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "planwatch", "--home", str(home), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def won(home: Path, number: int, amount: int) -> None:
    """Take in one more won deal."""
    file = home / "in" / "sales_pipeline.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        f"{HEADER}W{number},Moses Frase,GTX Pro,,Won,2017-01-02,2017-02-0{number},{amount}\n", encoding="utf-8"
    )
    done = planwatch(home, "ingest", "csv", str(file), "--json")
    assert json.loads(done.stdout)["applied"] > 0, done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one agent and one won deal."""
    assert planwatch(tmp_path, "init", "--example", "crm_sales_opportunities").returncode == 0
    teams = tmp_path / "sales_teams.csv"
    teams.write_text(TEAMS, encoding="utf-8")
    assert planwatch(tmp_path, "ingest", "csv", str(teams)).returncode == 0
    won(tmp_path, 1, 1000)
    return tmp_path


@contextmanager
def running(home: Path) -> Iterator[str]:
    """`planwatch run`, stopped by SIGINT; gives the board's address."""
    command = [sys.executable, "-m", "planwatch", "--home", str(home), "run", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        try:
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0


def events(url: str) -> Iterator[str]:
    """Lines of the board's event stream."""
    with urllib.request.urlopen(f"{url}/events?period=2017-Q1", timeout=30) as stream:
        for line in stream:
            yield line.decode()


def test_a_change_reaches_the_open_board(home: Path) -> None:
    """The stream of an open page brings what another process takes in, without a reload; Ctrl-C ends it cleanly."""
    with running(home) as url:
        lines = events(url)
        next(line for line in lines if "1000" in line or "1,000" in line or "1.0" in line)
        won(home, 2, 250_000)
        assert next(line for line in lines if "251,000" in line or "251" in line)


def test_a_second_run_on_the_same_home_is_refused(home: Path) -> None:
    """Two pipelines never fold one home at a time; the message says what to do."""
    with running(home):
        second = planwatch(home, "run", "--port", "0")
    assert second.returncode == 1
    assert "Stop it first" in second.stderr


def test_alerts_survive_and_do_not_repeat(home: Path) -> None:
    """Asked twice, the same alerts with the same ids; rebuilt from the log, the same again."""
    first = json.loads(planwatch(home, "alerts", "--all", "--json").stdout)["alerts"]
    again = json.loads(planwatch(home, "alerts", "--all", "--json").stdout)["alerts"]
    assert first
    assert [a["id"] for a in first if a["kind"] != "source_silent"] == [
        a["id"] for a in again if a["kind"] != "source_silent"
    ]
    assert planwatch(home, "rebuild").returncode == 0
    rebuilt = json.loads(planwatch(home, "alerts", "--all", "--json").stdout)["alerts"]
    assert {a["id"] for a in rebuilt if a["kind"] != "source_silent"} == {
        a["id"] for a in first if a["kind"] != "source_silent"
    }


def test_environment_overrides_a_setting(home: Path) -> None:
    """PLANWATCH_CURRENCY wins over the file."""
    command = [sys.executable, "-m", "planwatch", "--home", str(home), "query", "revenue", "--json"]
    env = {**os.environ, "PLANWATCH_CURRENCY": "EUR"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert json.loads(done.stdout)["unit"] == "EUR", done.stderr


def test_a_board_for_others_demands_a_token(home: Path) -> None:
    """Any address but loopback is refused without a token."""
    config = home / "planwatch.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "planwatch", "--home", str(home), "run"],
        capture_output=True,
        timeout=60,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PLANWATCH_BOARD__HOST": "0.0.0.0", "PLANWATCH_BOARD__PORT": "0"},
    )
    assert config.is_file()
    assert done.returncode == 1
    assert "token" in done.stderr


@pytest.mark.parametrize("name", ["config", "plan", "mapping", "alerts", "measures", "change", "status"])
def test_schemas_are_published(home: Path, name: str) -> None:
    """Each document has a JSON Schema that editors can use."""
    schema = json.loads(planwatch(home, "schema", name).stdout)
    assert schema["properties"]


def test_doctor_names_what_is_wrong(home: Path) -> None:
    """A sound home is sound; a broken plan is named with its setting."""
    assert planwatch(home, "doctor").returncode == 0
    (home / "plan.yaml").write_text("name: X\nhorizon: ['2017-01-01', '2017-12-31']\ntarget: []\n", encoding="utf-8")
    done = planwatch(home, "doctor", "--json")
    checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert not checks["plan"]["ok"]
    assert "target" in checks["plan"]["detail"]
