"""Pages made from the declarations: `python -m planwatch.documents docs` writes them, a test keeps them true."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from boards.grafana_provisioning import write
from planwatch.asyncapi import document
from planwatch.cli import app
from processors.expression import names_in
from processors.kpis import COMPUTED, KPIS, MEASURES, TARGET_KPIS
from schemas.measures import Measure

UNITS = {
    "money": "tenant's currency",
    "money_per_day": "tenant's currency a day",
    "count": "count",
    "ratio": "ratio, 1 = 100 %",
    "days": "days",
}


def kpi_page() -> str:
    """docs/kpis.md."""
    lines = [
        "# KPIs",
        "",
        "Made from the declarations in `processors/kpis.py` by `make docs`. A KPI is an expression over measures; it is",
        "computed exactly and rounded once, half to even, when it is read. Where a denominator is zero there is no value,",
        "and the reason is given; never 0.",
        "",
        "| KPI | title | unit | better | expression | period by | zero denominator |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, kpi in {**KPIS, **TARGET_KPIS}.items():
        better = "higher" if kpi.direction == "up" else "lower"
        row = (f"`{name}`", kpi.title, UNITS[kpi.unit], better, f"`{kpi.expression}`", kpi.date, kpi.zero)
        lines.append("| " + " | ".join(row) + " |")
    lines += ["", "## Measures", "", "| measure | of | what counts | value | date |", "| --- | --- | --- | --- | --- |"]
    lines += [_measure_row(name, measure) for name, measure in MEASURES.items()]
    lines += [f"| `{name}` | | {text} | computed | |" for name, text in COMPUTED.items()]
    used = sorted({m for kpi in KPIS.values() for m in names_in(kpi.expression)})
    lines += ["", f"{len(KPIS) + len(TARGET_KPIS)} KPIs over {len(used)} measures.", ""]
    lines += [
        "## Measures and KPIs of your own",
        "",
        "Name a file in `planwatch.yaml` (`measures: measures.yaml`) and declare:",
        "",
        "```yaml",
        "measures:",
        "  big_won: {where: {status: won, segment: [Health]}, value: amount, date: close_date, money: true}",
        "kpis:",
        "  big_share: {title: Share of health, unit: ratio, expression: big_won / won_amount}",
        "```",
        "",
    ]
    return "\n".join(lines)


def _measure_row(name: str, measure: Measure) -> str:
    where = ", ".join(f"{k} = {v if v != '*' else 'known'}" for k, v in measure.where.items()) or "all"
    value = measure.value if measure.days is None else f"{measure.days[1]} − {measure.days[0]}"
    value += f" × {measure.times}" if measure.times else ""
    return f"| `{name}` | {measure.entity} | {where} | {value} | {measure.date or ''} |"


def command_page() -> str:
    """docs/commands.md."""
    lines = ["# Commands", "", "Made from `planwatch --help` by `make docs`.", ""]
    lines += [
        "Exit codes: 0 done; 1 something that you can mend, said in a line; 2 wrong usage; 3 nothing could be read.",
        "",
    ]
    root = get_command(app)
    commands = getattr(root, "commands", {})
    for name in sorted(commands):
        command = commands[name]
        for label, one in _leaves(name, command):
            lines += [f"## planwatch {label}", "", (one.help or "").strip(), ""]
            for parameter in one.params:
                if getattr(parameter, "hidden", False) or parameter.name == "help":
                    continue
                shown = ", ".join(f"`{o}`" for o in parameter.opts)
                lines.append(f"- {shown}: {getattr(parameter, 'help', None) or ''}".rstrip(": ").rstrip())
            lines.append("")
    return "\n".join(lines)


def _leaves(name: str, command: Any) -> list[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    return [(f"{name} {n}", c) for n, c in sorted(inner.items())] if inner else [(name, command)]


PAGES = {"kpis.md": kpi_page, "commands.md": command_page, "asyncapi.yaml": document}

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for page, make in PAGES.items():
        (folder / page).write_text(make(), encoding="utf-8")
    write(folder.parent / "deploy" / "grafana")
