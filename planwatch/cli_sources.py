"""Commands about sources: `planwatch sources check`, and `planwatch watch`."""

from __future__ import annotations

from typing import Annotated

import typer

from planwatch.cli_common import JsonFlag, OpsPort, open_home
from planwatch.printing import console, print_json
from planwatch.shown import visible

sources_app = typer.Typer(help="Where changes come from.", no_args_is_help=True)


@sources_app.command("check")
def sources_check(
    source: Annotated[str | None, typer.Argument(help="Only this source.")] = None,
    forget: Annotated[
        bool,
        typer.Option(help="Forget what was noticed; what a role meets again after its next start is noticed again."),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Say what keeps a source from coming in, and which stages, values and fields it brought that are not known, with the
    line that would make them known. Exit code 1 when there is any."""
    from planwatch.drifting import drift_at
    from planwatch.source_check import check_sources

    home = open_home()
    drift = drift_at(home)
    if forget:
        drift.forget([event for event in drift.noted() if source in (None, event.source)])
    found = check_sources(home, drift, source)
    if json:
        print_json({"findings": [f._asdict() for f in found]})
    else:
        for f in found:
            seen = f" (first seen {f.first_seen}, for example {f.example})" if f.first_seen else ""
            line = f"\n    {f.where}: {f.line}" if f.line else ""
            text = "\n".join(visible(part) for part in f"{f.source}: {f.text}{seen}{line}".split("\n"))
            console.print(text, highlight=False, soft_wrap=True, markup=False)
        if not found:
            console.print("All sources can come in, and everything in them is known.")
    if found:
        raise typer.Exit(1)


def watch(ops_port: OpsPort = None) -> None:
    """Take in each file that is put into the sources' watched folders, once. `planwatch run` does so too."""
    from planwatch.watching import watch as go

    go(open_home(), ops_port)
