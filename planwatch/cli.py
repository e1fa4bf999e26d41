"""The command line. Exit codes: 0 done; 1 something you can mend, said in one line; 2 wrong usage; 3 a file gave nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from planwatch import __version__
from planwatch.cli_common import JsonFlag, choose_home, chosen_home, open_home, open_store
from planwatch.cli_quarantine import quarantine_app
from planwatch.cli_salesforce import add_salesforce_to
from planwatch.cli_sources import sources_app, watch
from planwatch.cli_stack import add_to
from planwatch.csv_out import query_table, status_table, write_csv
from planwatch.printing import console, errors, print_json, print_table, when
from schemas.base import PlanwatchError

app = typer.Typer(
    name="planwatch",
    help="Watch a sales plan while the business runs.\n\nStart with `planwatch init`, take in your CRM's export with "
    "`planwatch ingest csv FILE`, look at `planwatch status`, and open the board with `planwatch run`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
AsOf = Annotated[str | None, typer.Option(help="As known at this moment: a date (midnight in your zone) or a time.")]
CsvFile = Annotated[
    str | None,
    typer.Option("--csv", help="Write the table to this CSV file, for a spreadsheet; - is standard output."),
]
#: What to do after `init`, by example.
NEXT = {
    "demo": "planwatch run",
    "hubspot": "set PLANWATCH_HUBSPOT_SECRET to the client secret of your HubSpot app, then planwatch serve, and beside it "
    "planwatch run for the board (docs/hubspot.md)",
    "stack": "planwatch native up, then planwatch stack",
}
NEXT_FOR_FILES = "planwatch ingest csv YOUR-FILES, then planwatch status, then planwatch run"
Where = Annotated[list[str] | None, typer.Option(help="Only this scope: DIM=VALUE. May be repeated.")]


@app.callback()
def options(
    home: Annotated[
        Path, typer.Option(envvar="PLANWATCH_HOME", help="The folder with your configuration and data.")
    ] = Path(),
) -> None:
    """Where everything is."""
    choose_home(home)


def parse_where(items: Sequence[str] | None) -> dict[str, str | None]:
    """DIM=VALUE texts as a dictionary; an empty value means «without one»."""
    found: dict[str, str | None] = {}
    for item in items or ():
        for part in item.split(","):
            name, equals, value = part.partition("=")
            if not equals:
                raise PlanwatchError(f"--where {item}: expected DIM=VALUE, for example team=North.")
            found[name.strip()] = value or None
    return found


def examples() -> Path:
    """Where the shipped examples are: beside the packages in a checkout, inside the program when installed."""
    inside = Path(__file__).parent / "examples"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "examples"


@app.command()
def version() -> None:
    """Print the version."""
    console.print(f"planwatch {__version__}")


@app.command()
def init(
    example: Annotated[str, typer.Option(help="Which configuration to start from.")] = "starter",
) -> None:
    """Write a commented configuration, plan, mapping and alert rules into the home."""
    source = examples() / example
    if not source.is_dir():
        names = ", ".join(sorted(p.name for p in examples().iterdir() if p.is_dir()))
        raise PlanwatchError(f"There is no example «{example}». There are: {names}.")
    home = chosen_home()
    home.mkdir(parents=True, exist_ok=True)
    written = []
    for file in sorted(source.glob("*.yaml")):
        target = home / file.name
        if target.exists():
            errors.print(f"{target} is there already and stays as it is.")
        else:
            shutil.copyfile(file, target)
            written.append(file.name)
    console.print(f"Wrote {', '.join(written) or 'nothing'} in {home.resolve()}.", highlight=False, soft_wrap=True)
    console.print(f"Next: {NEXT.get(example, NEXT_FOR_FILES)}.", highlight=False, soft_wrap=True)


@app.command()
def ingest(
    kind: Annotated[
        str,
        typer.Argument(help="csv, field-history, salesforce, hubspot, debezium, cloudevents or webhook."),
    ],
    paths: Annotated[list[str], typer.Argument(help="Files or folders; - is standard input.")],
    mapping: Annotated[Path | None, typer.Option(help="How columns are named; else the configured mapping.")] = None,
    source: Annotated[
        str | None, typer.Option(help="Name of the source; else the configured one of this kind.")
    ] = None,
    object_name: Annotated[
        str | None, typer.Option("--object", help="salesforce: of which object the rows are; else by the file's name.")
    ] = None,
    count: Annotated[
        bool,
        typer.Option(help="Count what is applied, duplicate and stale, for which the state of all records is made."),
    ] = True,
    json: JsonFlag = False,
) -> None:
    """Take in files: a CRM's export, or events as JSON lines.

    What cannot be read goes to the quarantine with its reason; the rest goes in.
    """
    from ingest import DOORS
    from planwatch.ingesting import ingest as take_in

    if kind not in DOORS:
        raise PlanwatchError(f"There is no door «{kind}». There are: {', '.join(DOORS)}.")
    with errors.status("Reading …") if sys.stderr.isatty() else nullcontext():
        summary = take_in(open_store(), kind, paths, mapping, source, object_name, counted=count)
    for refused in summary.refused:
        place = f"{refused.origin}, line {refused.position}" if refused.position else refused.origin
        errors.print(f"{place}: {refused.reason}", highlight=False, soft_wrap=True, markup=False)
    if more := summary.quarantined - len(summary.refused):
        errors.print(f"… and {more:,} more in the quarantine.")
    if summary.drift:
        errors.print(f"{len(summary.drift)} names or values are not known: see planwatch sources check.")
    if json:
        print_json(summary.as_json())
    else:
        parts = " + ".join(f"{outcome} {count:,}" for outcome, count in summary.outcomes.items())
        line = f"received {summary.received:,} = {parts}   ({summary.seconds:.1f} s)"
        console.print(line, highlight=False, soft_wrap=True)
    if summary.received and summary.received == summary.quarantined:
        raise typer.Exit(3)


@app.command()
def query(
    kpi: Annotated[str, typer.Argument(help="A KPI, for example revenue, win_rate, pipeline. See docs/kpis.md.")],
    by: Annotated[list[str] | None, typer.Option(help="Dimensions, comma-separated: territory, team, rep, …")] = None,
    where: Where = None,
    period: Annotated[str | None, typer.Option(help="2017, 2017-Q2, 2017-04, or a first..last day.")] = None,
    each: Annotated[str | None, typer.Option(help="A row for each month, quarter or year of the period.")] = None,
    as_of: AsOf = None,
    json: JsonFlag = False,
    csv: CsvFile = None,
) -> None:
    """The value of a KPI, by any scope and period, now or at any past moment."""
    from planwatch.asking import ask

    dimensions = [d for b in by or () for d in b.split(",")]
    answer = ask(open_store(), kpi, dimensions, parse_where(where), period, each, as_of)
    if csv:
        write_csv(csv, *query_table(answer, dimensions))
    if json:
        print_json(answer)
    if json or csv:
        return
    rows = [
        [
            ", ".join(str(v) if v is not None else "(none)" for v in r["scope"].values()) or "Company",
            r["period"] or "all",
            f"{r['value']:,}" if r["value"] is not None else f"– ({r['reason']})",
        ]
        for r in answer["rows"]
    ]
    print_table(f"{kpi} ({answer['unit']}) as of {answer['as_of']}", ["", "period", "value"], rows)


@app.command()
def status(
    where: Where = None, period: str | None = None, as_of: AsOf = None, json: JsonFlag = False, csv: CsvFile = None
) -> None:
    """Every target of the plan: actual, expected by now, landing, probability to hit, and why."""
    from planwatch.asking import status_of

    rows = status_of(open_store(), parse_where(where), period, as_of)
    if csv:
        write_csv(csv, *status_table(rows))
    if json:
        print_json({"rows": [r.model_dump() for r in rows]})
    if json or csv:
        return
    table = [
        [
            f"{s.scope_name} · {s.kpi} {s.period}",
            f"{s.actual:,}" if s.actual is not None else "–",
            f"{s.target:,}",
            f"{s.expected:,}" if s.expected is not None else "–",
            f"{s.landing.p50:,}" if s.landing else "–",
            f"{s.probability:.0%}" if s.probability is not None else "–",
            s.status,
        ]
        for s in rows
    ]
    print_table("Targets", ["", "actual", "target", "expected", "landing", "to hit", "status"], table)


@app.command()
def movement(
    from_: Annotated[str, typer.Option("--from", help="From this moment …")],
    to: Annotated[str, typer.Option(help="… to this one.")],
    period: Annotated[str | None, typer.Option(help="Only pipeline expected to close in this period.")] = None,
    by: Annotated[str | None, typer.Option(help="A row per scope of this dimension.")] = None,
    json: JsonFlag = False,
) -> None:
    """What moved the pipeline between two moments; the amounts add up exactly."""
    from planwatch.asking import movement_between
    from processors.movement import BARS

    rows = movement_between(open_store(), from_, to, period, by)
    if json:
        print_json({"from": from_, "to": to, "period": period, "rows": rows})
        return
    table = [[bar.replace("_", " "), *(f"{row[bar]:,}" for row in rows)] for bar in BARS]
    print_table("Pipeline movement", ["", *(str(next(iter(r["scope"].values()), "Company")) for r in rows)], table)


@app.command()
def alerts(
    all_: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False, json: JsonFlag = False
) -> None:
    """The alerts that are firing, newest first, with their cause."""
    from planwatch.asking import alerts_of

    found = alerts_of(open_home(), all_)
    if json:
        print_json({"alerts": [a.model_dump() for a in found]})
        return
    for alert in found:
        since = when(alert.fired_at or alert.updated_at)
        console.print(
            f"{alert.severity} · {alert.state} since {since}: {alert.sentence}", highlight=False, soft_wrap=True
        )
    if not found:
        console.print("No alert is firing.")


@app.command()
def export(out: Annotated[Path, typer.Option(help="The file to write.")], as_of: AsOf = None) -> None:
    """Every KPI value as canonical JSON: equal state, equal bytes."""
    from planwatch.asking import state_at
    from planwatch.exporting import export as write

    store = open_store()
    data = write(state_at(store, as_of), store.home.catalogue(), store.home.config.tenant)
    out.write_bytes(data)
    errors.print(f"Wrote {len(data):,} bytes to {out}.", soft_wrap=True)


@app.command()
def run(
    speed: Annotated[float | None, typer.Option(help="Simulated source: seconds of its time in one of ours.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the board; else the configured one.")] = None,
    board: Annotated[bool, typer.Option(help="Serve the board.")] = True,
) -> None:
    """Run the pipeline as configured: take changes in, watch the plan, raise alerts, serve the board. Ctrl-C stops."""
    from planwatch.running import run as go

    go(open_store(), speed=speed, port=port, board=board)


@app.command()
def schema(
    name: Annotated[str, typer.Argument(help="config, plan, mapping, alerts, measures, change, status.")],
) -> None:
    """Print a JSON Schema, so that your editor completes the YAML."""
    from planwatch.published import PUBLISHED

    if name not in PUBLISHED:
        raise PlanwatchError(f"There is no schema «{name}». There are: {', '.join(sorted(PUBLISHED))}.")
    print_json(PUBLISHED[name].model_json_schema())


app.add_typer(quarantine_app, name="quarantine")
add_salesforce_to(sources_app)
app.add_typer(sources_app, name="sources")
app.command()(watch)
plan_app = typer.Typer(help="The plan document.", no_args_is_help=True)
app.add_typer(plan_app, name="plan")


@plan_app.command("check")
def plan_check(as_of: AsOf = None, json: JsonFlag = False) -> None:
    """Say what in the plan is not SMART and which targets history does not support. Exit code 1 when there is any."""
    from planwatch.asking import state_at
    from planwatch.plan_check import check

    store = open_store()
    found = check(state_at(store, as_of), store.home.catalogue(), store.home.plan())
    if json:
        print_json({"findings": [f._asdict() for f in found]})
    else:
        for f in found:
            console.print(f"{f.where}: {f.what}", highlight=False, soft_wrap=True, markup=False)
        if not found:
            console.print("The plan is SMART, and history supports its targets.")
    if found:
        raise typer.Exit(1)


@app.command()
def rebuild() -> None:
    """Delete what is derived (series, alert state) and make it anew from log, plan and configuration."""
    from planwatch.rebuilding import rebuild as go

    console.print(go(open_home()))


@app.command()
def doctor(json: JsonFlag = False) -> None:
    """Check configuration, plan, rules and stores, and say what to do about what is wrong."""
    from planwatch.doctor import examine

    found = examine(chosen_home())
    if json:
        print_json({"checks": [c._asdict() for c in found]})
    else:
        for check in found:
            sign = "[green]ok[/green]" if check.ok else "[red]not ok[/red]"
            console.print(f"{sign}  {check.name}: {escape(check.detail)}", highlight=False, soft_wrap=True)
    if not all(c.ok for c in found):
        raise typer.Exit(1)


add_to(app)


def main() -> None:
    """Run the program; an error that people can mend is one line, not a traceback."""
    try:
        app()
    except PlanwatchError as error:
        errors.print(f"planwatch: {error}", highlight=False, soft_wrap=True, markup=False)
        raise SystemExit(1) from None
