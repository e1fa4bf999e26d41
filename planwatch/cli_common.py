"""What the commands share: the chosen home and options that several have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planwatch.home import Home
    from planwatch.store import Store

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
OpsPort = Annotated[int | None, typer.Option(help="Port of /healthz, /readyz and /metrics; else the configured one.")]


class _Chosen:
    home: Path = Path()


def choose_home(path: Path) -> None:
    """The home of this run of the program."""
    _Chosen.home = path


def chosen_home() -> Path:
    """The folder of the chosen home."""
    return _Chosen.home


def open_home() -> Home:
    """The chosen home, validated."""
    from planwatch.home import Home

    return Home(_Chosen.home)


def open_store() -> Store:
    """The stores of the chosen home."""
    from planwatch.store import Store

    return Store(open_home())
