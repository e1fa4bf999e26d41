"""The commands of the stack as people type them, on real servers."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ingest.simulator import Simulator
from ingest.topic_quarantine import TopicQuarantine
from planwatch.native_servers import InfluxServer, KafkaServer
from storage.kafka_lag import group_lag
from storage.kafka_log import PartitionReader
from storage.kafka_table import TopicTable
from tests.brief_company import brief_company
from tests.integration.test_program import planwatch
from tests.integration.test_stack_faults import NERVOUS
from tests.stack import ROOT, Stack, free_port, get, wait_for

LOAD = 1_400
MakeStack = Callable[..., Stack]


@pytest.fixture
def make_stack(tmp_path: Path, kafka: KafkaServer, influx: InfluxServer, prefix: str) -> Iterator[MakeStack]:
    """Makes stacks for this test alone; their roles end with it."""
    made: list[Stack] = []

    def make(**options: Any) -> Stack:
        made.append(Stack(tmp_path / f"stack{len(made)}", kafka, influx, f"{prefix}{len(made)}", **options))
        return made[-1]

    yield make
    for stack in made:
        stack.close()


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


def test_topics(make_stack: MakeStack) -> None:
    """What is missing is made once, what differs is told and left as it is; the exit code says whether all is well."""
    stack = make_stack()
    fresh = f"{stack.prefix}x"

    def elsewhere(document: Any) -> None:
        document["kafka"]["prefix"] = fresh
        document["sources"]["crm"]["topic"] = f"{fresh}.cdc"

    configure(stack.path, elsewhere)
    ours = {f"{fresh}.{name}" for name in ("changes", "status", "alerts", "quarantine")}

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
    run(signal.SIGTERM, lambda at: at["reached_us"] > at["history_until_us"])
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
