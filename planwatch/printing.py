"""What the command line prints: JSON for programs, tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console()
errors = Console(stderr=True)


def dumps(data: Any) -> str:
    """JSON with decimals as numbers that keep every digit: 3086111.00, not 3086111.0."""
    if isinstance(data, dict):
        return "{" + ", ".join(f"{dumps(str(k))}: {dumps(v)}" for k, v in data.items()) + "}"
    if isinstance(data, (list, tuple)):
        return "[" + ", ".join(dumps(v) for v in data) + "]"
    if isinstance(data, Decimal):
        return format(data, "f")
    # What a terminal would obey, or nobody would see, is written as its escape.
    return json.dumps(data, ensure_ascii=isinstance(data, str) and not data.isprintable())


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(dumps(data) + "\n")


def when(us: int) -> str:
    """A time as RFC 3339 in UTC."""
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people; columns after the first are right-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
