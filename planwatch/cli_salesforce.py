"""Commands about Salesforce: `planwatch sources refetch` and `planwatch sources subscribe`."""

from __future__ import annotations

from typing import Annotated

import typer

from planwatch.cli_common import OpsPort, open_home, open_store
from planwatch.printing import console
from schemas.base import PlanwatchError


def refetch(
    source: Annotated[str | None, typer.Argument(help="The source; else all that can be fetched from.")] = None,
) -> None:
    """Fetch the records again that Salesforce could not describe. Exit code 1 where some still wait."""
    from planwatch.refetching import Refetching, fetchable

    store = open_store()
    names = fetchable(store.home) if source is None else [source]
    if not names:
        raise PlanwatchError(
            "No source can be fetched from. Set salesforce.instance_url and token_file of a source in planwatch.yaml."
        )
    if source is not None and source not in store.home.config.sources:
        raise PlanwatchError(f"There is no source «{source}» in planwatch.yaml.")
    refetching = Refetching(store, names)
    try:
        rounds = refetching.round()
    finally:
        refetching.close()
    for done in rounds:
        console.print(done.sentence or f"{done.source}: nothing waits.", highlight=False, soft_wrap=True, markup=False)
    if any(done.left or done.problem for done in rounds):
        raise typer.Exit(1)


def subscribe(ops_port: OpsPort = None) -> None:
    """Follow the channels of change events that sources name. `planwatch run` does so too. SIGTERM ends it cleanly."""
    from planwatch.salesforce_channels import subscribe as go

    go(open_home(), ops_port)


def add_salesforce_to(sources_app: typer.Typer) -> None:
    """Put the commands into the group of sources."""
    sources_app.command()(refetch)
    sources_app.command()(subscribe)
