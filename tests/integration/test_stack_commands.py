"""The commands of the stack as people type them, on real servers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ingest.topic_quarantine import TopicQuarantine
from planwatch.native_servers import InfluxServer, KafkaServer
from storage.kafka_table import TopicTable
from tests.brief_company import brief_company
from tests.integration.test_program import planwatch
from tests.integration.test_stack import MakeStack, make_stack
from tests.integration.test_stack_faults import NERVOUS
from tests.stack import Stack, wait_for

__all__ = ["make_stack"]

LOAD = 1_400


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaServer, influx: InfluxServer) -> Iterator[Stack]:
    """A stack with bridge and worker and two tenants: «demo» has a load that stays as it is, «files» has nothing yet."""
    folder, prefix = tmp_path_factory.mktemp("commands"), f"t{secrets.token_hex(5)}"
    made = Stack(folder, kafka, influx, prefix, tenants=("demo", "files"), rules=NERVOUS)
    try:
        made.send("demo", islice(brief_company("demo"), LOAD))
        made.start("bridge").wait_ready()
        worker = made.start("worker").wait_ready()
        wait_for(lambda: worker.metric("planwatch_events_total") >= LOAD, "the load is folded")
        yield made
    finally:
        made.close()


def said(code: int, home: Path, *words: str) -> Any:
    """The JSON document that a command prints; it must end with the code."""
    done = planwatch(home, *words, "--json")
    assert done.returncode == code, done.stderr or done.stdout
    return json.loads(done.stdout)


def configure(home: Path, change: Callable[[Any], object]) -> None:
    """Change the configuration of a home."""
    yaml = YAML()
    document = yaml.load(home / "planwatch.yaml")
    change(document)
    yaml.dump(document, home / "planwatch.yaml")


def test_topics(make_stack: MakeStack) -> None:
    """What is missing is made once, what differs is told and left as it is; the exit code says whether all is well."""
    stack = make_stack()
    fresh = f"{stack.prefix}x"

    def elsewhere(document: Any) -> None:
        document["kafka"]["prefix"] = fresh
        document["sources"]["crm"]["topic"] = f"{fresh}.cdc"

    configure(stack.path, elsewhere)
    ours = {f"{fresh}.{name}" for name in ("changes", "status", "alerts", "quarantine", "drift")}

    def kinds(code: int, *words: str) -> dict[str, str]:
        return {f["topic"]: f["kind"] for f in said(code, stack.path, "topics", *words)["findings"]}

    assert kinds(1, "check") == dict.fromkeys([*ours, f"{fresh}.cdc"], "missing")
    assert kinds(1, "apply") == dict.fromkeys(ours, "created") | {f"{fresh}.cdc": "missing"}
    assert kinds(0, "apply", "--sources") == {f"{fresh}.cdc": "created"}
    assert kinds(0, "apply", "--sources") == {}
    done = planwatch(stack.path, "topics", "check")
    assert (done.returncode, done.stdout) == (0, "All topics are as configured.\n")

    configure(stack.path, lambda d: d["kafka"].update(partitions=6, quarantine_retention_days=3))
    differs = said(1, stack.path, "topics", "check")["findings"]
    assert {f["topic"] for f in differs} == ours
    assert {f["kind"] for f in differs} == {"differs"}
    assert said(1, stack.path, "topics", "apply")["findings"] == differs
    assert said(1, stack.path, "topics", "check")["findings"] == differs
    told = planwatch(stack.path, "topics", "check").stdout
    assert f"{fresh}.changes" in told
    assert "Set kafka.partitions to 4 in planwatch.yaml." in told


def test_influx(make_stack: MakeStack) -> None:
    """Buckets and tokens are made once; another retention is told, and altered only by force."""
    stack = make_stack()

    def elsewhere(document: Any) -> None:
        document["influx"] |= {"bucket": f"{stack.prefix}a", "live_bucket": f"{stack.prefix}b", "secrets": "others"}

    configure(stack.path, elsewhere)
    others = stack.path / "others"
    others.mkdir(mode=0o700)
    (others / "influx-admin.token").write_text(stack.influx.admin_token)

    def outcomes(code: int, *words: str) -> list[str]:
        return [done["outcome"] for done in said(code, stack.path, "influx", "apply", *words)["done"]]

    assert outcomes(0) == ["kept", *["created"] * 5]
    tokens = {path.name: path.read_text() for path in others.iterdir()}
    assert set(tokens) == {f"influx-{role}.token" for role in ("admin", "worker", "board", "grafana")}
    assert all(path.stat().st_mode & 0o077 == 0 for path in others.iterdir() if "admin" not in path.name)
    assert outcomes(0) == ["kept"] * 6
    configure(stack.path, lambda d: d.update(live_series_days=3))
    assert outcomes(1) == ["kept", "kept", "differs", "kept", "kept", "kept"]
    assert outcomes(1) == ["kept", "kept", "differs", "kept", "kept", "kept"]
    assert "differs" not in outcomes(0, "--force")
    assert outcomes(0) == ["kept"] * 6
    assert {path.name: path.read_text() for path in others.iterdir()} == tokens


QUESTIONS = (
    ("query", "win_rate", "--by", "rep", "--each", "month", "--period", "2026"),
    ("query", "coverage", "--by", "territory", "--period", "2026-Q1"),
    ("status",),
    ("status", "--where", "team=jakarta", "--as-of", "2026-01-06"),
    ("movement", "--from", "2026-01-05", "--to", "2026-01-06", "--by", "territory"),
    ("plan", "check"),
)


def test_questions(at_work: Stack) -> None:
    """Over Kafka every question has the answer that it has in one process, to the last character; so has the export."""
    exported = at_work.embedded_export("demo")
    embedded, home = at_work.folder / "embedded-demo", at_work.tenants["demo"].path
    out = at_work.folder / "cli.json"
    for words in QUESTIONS:
        one, other = planwatch(embedded, *words, "--json"), planwatch(home, *words, "--json")
        assert (words, other.returncode, other.stdout) == (words, one.returncode, one.stdout), other.stderr
        assert len(json.loads(other.stdout)) >= 1
    assert json.loads(planwatch(home, "alerts", "--all", "--json").stdout)["alerts"]
    assert planwatch(home, "export", "--out", str(out)).returncode == 0
    assert out.read_bytes() == exported == at_work.worker_export("demo")


def test_a_file_goes_through_the_log(at_work: Stack, tmp_path: Path) -> None:
    """Rows of a file become changes that the worker folds; refused rows are in the quarantine topic with line and reason."""
    home = at_work.tenants["files"].path
    mapping, deals = tmp_path / "mapping.yaml", tmp_path / "deals.csv"
    mapping.write_text(
        "snapshot_at: 2026-01-05\n"
        "files:\n"
        "  - match: deals*.csv\n"
        "    entity: opportunity\n"
        "    id: Deal\n"
        "    fields: {name: Deal, amount: Amount, close_date: Closed}\n"
        "    undated: {set: {stage: {column: Stage}}}\n",
        encoding="utf-8",
    )
    deals.write_text(
        "Deal,Stage,Amount,Closed\nA,Won,100.50,2026-01-03\nB,Won,200,2026-01-04\nC,Won,much,2026-01-04\n"
        "D,Proposal,400,2026-03-01\n",
        encoding="utf-8",
    )
    words = ("ingest", "csv", str(deals), "--mapping", str(mapping), "--source", "files")
    first = said(0, home, *words)
    assert (first["received"], first["applied"], first["duplicate"], first["quarantined"]) == (4, 3, 0, 1)
    revenue = said(0, home, "query", "revenue", "--period", "2026-Q1")
    assert [row["value"] for row in revenue["rows"]] == [300.50]
    out = tmp_path / "export.json"
    planwatch(home, "export", "--out", str(out))
    wait_for(lambda: at_work.worker_export("files") == out.read_bytes(), "the worker has folded the file")
    wait_for(lambda: at_work.influx_points("files"), "the worker has written its points")
    (refused,) = TopicQuarantine(at_work.config, "files").items()
    assert (refused.source, refused.origin, refused.position) == ("files", str(deals), 4)
    assert "much" in refused.reason
    again = said(0, home, *words)
    assert (again["received"], again["applied"], again["duplicate"], again["quarantined"]) == (4, 0, 3, 1)
    assert TopicQuarantine(at_work.config, "files").count() == 1
    nothing = tmp_path / "deals-bad.csv"
    nothing.write_text("Deal,Stage,Amount,Closed\nE,Won,little,2026-01-04\n", encoding="utf-8")
    done = planwatch(home, "ingest", "csv", str(nothing), "--mapping", str(mapping), "--source", "files")
    assert done.returncode == 3
    assert f"{nothing}, line 2" in done.stderr


def test_doctor_of_a_stack_at_work(at_work: Stack) -> None:
    """Everything is in order, and it says who is at work."""
    checks = {check["name"]: check for check in said(0, at_work.path, "doctor")["checks"]}
    assert all(check["ok"] for check in checks.values())
    assert "1 at work" in checks["worker group"]["detail"]
    assert "1 at work" in checks["bridge group"]["detail"]


def test_run_is_refused_with_advice(at_work: Stack) -> None:
    """A home with Kafka has roles of its own; the one-process form says which."""
    done = planwatch(at_work.path, "run")
    assert done.returncode == 1
    assert "`planwatch stack` runs them all" in done.stderr


def test_a_home_without_kafka_has_no_roles(tmp_path: Path) -> None:
    """The answer is one line that says what to do."""
    assert planwatch(tmp_path, "init", "--example", "demo").returncode == 0
    for words in (("worker",), ("board",), ("simulate",), ("stack",), ("topics", "check")):
        done = planwatch(tmp_path, *words)
        assert (words, done.returncode) == (words, 1)
        assert "there is no `kafka` section" in done.stderr
        assert "Traceback" not in done.stderr


def snapshots(stack: Stack) -> list[Path]:
    """The workers' snapshots."""
    return sorted((stack.path / "data" / "snapshots").rglob("*.snapshot"))


def test_rebuild(make_stack: MakeStack) -> None:
    """Not while workers run. Afterwards what is derived is gone, and new workers make the same of the log again."""
    stack = make_stack(rules=NERVOUS)
    assert planwatch(stack.path, "rebuild").returncode == 0  # also where no worker ever ran
    stack.send("demo", islice(brief_company("demo"), LOAD))
    stack.start("bridge").wait_ready()
    worker = stack.start("worker").wait_ready()
    wait_for(lambda: worker.metric("planwatch_events_total") >= LOAD, "the load is folded")
    wait_for(lambda: snapshots(stack), "there is a snapshot")
    exported = stack.worker_export("demo")
    alerts = said(0, stack.path, "alerts", "--all")
    assert alerts["alerts"]
    refused = planwatch(stack.path, "rebuild")
    assert refused.returncode == 1
    assert "1 worker is at work" in refused.stderr
    assert said(0, stack.path, "alerts", "--all") == alerts
    assert worker.stop() == 0
    points = stack.influx_points("demo")
    assert points
    assert snapshots(stack)

    done = planwatch(stack.path, "rebuild")
    assert done.returncode == 0, done.stderr
    assert stack.influx_points("demo") == {}
    assert snapshots(stack) == []
    assert said(0, stack.path, "alerts", "--all") == {"alerts": []}
    table = TopicTable(stack.config, f"{stack.prefix}-worker-alert-state-changelog", b"[")
    table.refresh()
    assert table.values == {}

    stack.start("worker").wait_ready()
    stack.verify("demo")
    assert stack.worker_export("demo") == exported
    wait_for(lambda: stack.influx_points("demo") == points, "the same points are there again")
    wait_for(lambda: said(0, stack.path, "alerts", "--all") == alerts, "the same alerts are there again")
