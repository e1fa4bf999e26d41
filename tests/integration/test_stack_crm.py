"""The public data set as change events through the whole stack: the embedded export, byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from planwatch.home import Home
from planwatch.native_servers import InfluxServer, KafkaServer
from planwatch.store import Store
from schemas.change import Change
from schemas.message import decode_changes
from tests.stack import ROOT, Stack

DATA = ROOT.parent / "shared" / "data" / "crm_sales_opportunities"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the data set is not at {DATA}")


def planwatch(home: Path, *words: str) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "planwatch", "--home", str(home), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def from_csv(folder: Path) -> tuple[list[Change], bytes]:
    """The data set through the CSV door of the embedded form: its changes, and its export with time from the log."""
    planwatch(folder, "init", "--example", "crm_sales_opportunities")
    config = folder / "planwatch.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("time: system", "time: log"), encoding="utf-8")
    planwatch(folder, "ingest", "csv", str(DATA))
    planwatch(folder, "export", "--out", str(folder / "export.json"))
    log = Store(Home(folder)).log
    rows = [row for entry in log.read(0, 10_000) for row in decode_changes(entry.payload)]
    return [Change(**row) for row in rows], (folder / "export.json").read_bytes()


def test_the_data_set(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> None:
    """8,800 deals by CSV into one process, and as Salesforce CDC through Kafka: the same export, the known revenue."""
    changes, exported = from_csv(tmp_path / "csv")
    stack = Stack(tmp_path / "stack", kafka, influx, prefix, tenants=("default",), example="crm_sales_opportunities")
    try:
        stack.send("default", changes)
        stack.start("bridge").wait_ready()
        stack.start("worker").wait_ready(180)
        stack.verify("default")
        assert stack.worker_export("default") == exported
        answer = json.loads(planwatch(stack.path, "query", "revenue", "--period", "2017", "--json"))
        assert [row["value"] for row in answer["rows"]] == [10_005_534]
    finally:
        stack.close()
