"""`planwatch serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from planwatch.cli_common import OpsPort, open_home


def serve(
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; else the configured one. 0: any free one.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen at; else the configured one.")] = None,
    ops_port: OpsPort = None,
) -> None:
    """Take webhooks at /hooks/SOURCE: a 2xx says that what was sent is durable. Several may run. SIGTERM ends it cleanly."""
    from planwatch.serving import serve as go

    go(open_home(), host, port, ops_port)
