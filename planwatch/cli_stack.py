"""Commands of the stack: servers, topics, roles. `planwatch.cli` adds them to the program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from planwatch.cli_common import JsonFlag, OpsPort, chosen_home, open_home
from planwatch.cli_serve import serve
from planwatch.printing import console, print_json, print_table

topics_app = typer.Typer(help="The topics in Kafka.", no_args_is_help=True)
influx_app = typer.Typer(help="Buckets and tokens in InfluxDB.", no_args_is_help=True)
grafana_app = typer.Typer(help="Dashboards in Grafana.", no_args_is_help=True)
native_app = typer.Typer(
    help="Kafka and InfluxDB on this machine, without Docker. What they are built from is kept in PLANWATCH_CACHE "
    "(~/.cache/planwatch).",
    no_args_is_help=True,
)
Folder = Annotated[Path | None, typer.Option("--dir", help="Where the servers keep their data; else HOME/native.")]


def add_to(app: typer.Typer) -> None:
    """Add every command to the program."""
    for command in (bridge, serve, worker, board, scheduler, simulate, stack):
        app.command()(command)
    for name, group in (
        ("topics", topics_app),
        ("influx", influx_app),
        ("grafana", grafana_app),
        ("native", native_app),
    ):
        app.add_typer(group, name=name)


def bridge(ops_port: OpsPort = None) -> None:
    """Read the sources' own topics and write the change log. Several may run. SIGTERM ends it cleanly."""
    from planwatch.bridging import bridge as go

    go(open_home(), ops_port)


def worker(ops_port: OpsPort = None) -> None:
    """Fold the change log of the tenants that Kafka assigns, keep their series, raise alerts. Several may run."""
    from planwatch.working import work

    work(open_home(), ops_port)


def board(
    port: Annotated[int | None, typer.Option(help="Port of the board; else the configured one.")] = None,
    ops_port: OpsPort = None,
) -> None:
    """Serve the web board of a home with Kafka: it follows the log and needs no worker. `planwatch run` has its own."""
    from planwatch.boarding import board as go

    go(open_home(), port, ops_port)


def scheduler(ops_port: OpsPort = None) -> None:
    """Do what happens by the clock: check the servers, refresh gauges, take a Grafana snapshot every week."""
    from planwatch.scheduling import schedule

    schedule(open_home(), ops_port)


def simulate(
    speed: Annotated[
        float, typer.Option(help="Seconds of the company's time in one of ours, once history is sent.")
    ] = 600,
    history_days: Annotated[int, typer.Option(help="Days of history that are sent at once on the first start.")] = 273,
) -> None:
    """Play the CRM: send a simulated company as Salesforce change events to the topic of the home's first source."""
    from planwatch.simulating import simulate as go

    go(open_home(), speed, history_days)


def stack(
    workers: Annotated[int, typer.Option(help="How many workers.")] = 2,
    simulated: Annotated[bool, typer.Option("--simulate/--no-simulate", help="Play the CRM as well.")] = True,
    speed: Annotated[float, typer.Option(help="Of the simulated company.")] = 600,
) -> None:
    """Run every role of the stack as processes of this one: topics and tokens, bridge, workers, scheduler, board."""
    from planwatch.stacking import run_stack

    run_stack(open_home(), workers, speed if simulated else None)


@topics_app.command("apply")
def topics_apply(
    sources: Annotated[bool, typer.Option(help="Also make the sources' own topics that are missing.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make the topics that are missing; what differs from the configuration is reported, and left as it is."""
    _topics(json, create=True, create_sources=sources)


@topics_app.command("check")
def topics_check(json: JsonFlag = False) -> None:
    """Compare the topics with the configuration. Exit code 1 when something is missing or differs."""
    _topics(json, create=False, create_sources=False)


def _topics(json: bool, *, create: bool, create_sources: bool) -> None:
    from planwatch.doctor_stack import source_topics
    from planwatch.roles import kafka_of
    from storage.kafka_topics import apply, check

    home = open_home()
    kafka, sources = kafka_of(home), source_topics(home.tenants().values())
    found = apply(kafka, sources, create_sources=create_sources) if create else check(kafka, sources)
    if json:
        print_json({"findings": [f._asdict() for f in found]})
    else:
        for finding in found:
            console.print(finding.text, highlight=False, soft_wrap=True, markup=False)
        if not found:
            console.print("All topics are as configured.")
    if any(f.kind != "created" for f in found):
        raise typer.Exit(1)


@topics_app.command("acls")
def topics_acls(
    user: Annotated[
        list[str] | None, typer.Option(help="ROLE=USER; else the user of a role is planwatch-ROLE. May be repeated.")
    ] = None,
) -> None:
    """Print the commands of Kafka's kafka-acls that allow each role what it needs, and nothing else."""
    from planwatch.acls import commands

    for line in commands(open_home(), user or ()):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@influx_app.command("apply")
def influx_apply(
    force: Annotated[bool, typer.Option(help="Also alter the retention of buckets that differ.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make buckets with their retention, and a least-privilege token for each role, by the administrator's token."""
    from storage.influx_admin import apply

    home = open_home()
    _report([a._asdict() for a in apply(home.config, home.stack_path, force)], json)


@grafana_app.command("apply")
def grafana_apply(
    force: Annotated[bool, typer.Option(help="Also overwrite our dashboards that people changed.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make folder, data source and dashboards. What people added stays; a second time changes nothing."""
    from planwatch.grafana import apply

    _report([d._asdict() for d in apply(open_home(), force)], json)


@grafana_app.command("snapshot")
def grafana_snapshot(
    name: Annotated[str, typer.Option("--board", help="leadership, territory, rep, deals or health.")] = "leadership",
    scope: Annotated[str, typer.Option(help="DIM=VALUE, for boards of one scope: rep=ID, team=ID, territory=ID.")] = "",
    period: Annotated[str | None, typer.Option(help="2026-Q2; else the one that runs.")] = None,
    json: JsonFlag = False,
) -> None:
    """Freeze a dashboard with its data in Grafana; prints the address to share and the one that deletes it."""
    from planwatch.grafana import snapshot

    taken = snapshot(open_home(), name, scope, period)
    if json:
        print_json(taken)
    else:
        console.print(
            f"{taken['name']}\n{taken['url']}\ndelete: {taken['delete_url']}", highlight=False, soft_wrap=True
        )


@native_app.command("up")
def native_up(
    folder: Folder = None,
    kafka_port: Annotated[int, typer.Option(help="Port of Kafka.")] = 9092,
    influx_port: Annotated[int, typer.Option(help="Port of InfluxDB.")] = 8086,
    json: JsonFlag = False,
) -> None:
    """Start both on loopback, detached; the first time they are built, which takes some minutes."""
    from planwatch.native import up

    home = chosen_home()
    found = up(folder or home / "native", kafka_port, influx_port, home / "secrets")
    _servers(found, json)


@native_app.command("down")
def native_down(folder: Folder = None) -> None:
    """Stop both; their data stays."""
    from planwatch.native import down

    stopped = down(folder or chosen_home() / "native")
    console.print(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")


@native_app.command("status")
def native_status(folder: Folder = None, json: JsonFlag = False) -> None:
    """Say for each whether it runs, at which address, with which data."""
    from planwatch.native import status

    _servers(status(folder or chosen_home() / "native"), json)


def _servers(found: list[Any], json: bool) -> None:
    rows = [{**s._asdict(), "folder": str(s.folder)} for s in found]
    if json:
        print_json({"servers": rows})
        return
    table = [[s.name, "running" if s.running else "stopped", s.address or "–", str(s.pid or "–")] for s in found]
    print_table("Servers", ["", "state", "address", "process"], table)


def _report(rows: list[dict[str, Any]], json: bool) -> None:
    """What was done about each thing; exit code 1 when something differs and was left so."""
    if json:
        print_json({"done": rows})
    else:
        for row in rows:
            detail = f": {row['detail']}" if row["detail"] else ""
            console.print(f"{row['outcome']}  {row['what']}{detail}", highlight=False, soft_wrap=True, markup=False)
    if any(row["outcome"] == "differs" for row in rows):
        raise typer.Exit(1)
