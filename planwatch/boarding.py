"""`planwatch board`: the web board of a tenant whose log is in Kafka."""

from __future__ import annotations

import logging
import threading

from boards.app import create_app
from boards.server import serve
from planwatch import logs
from planwatch.board_access import board_tokens
from planwatch.board_pages import Pages
from planwatch.following import Follower
from planwatch.home import Home
from planwatch.logs import fields
from planwatch.ops import OpsServer, Problem
from planwatch.printing import console
from planwatch.roles import begin, kafka_of, made_metrics, ops_of, stopped_by_signals

log = logging.getLogger("planwatch.board")


def board(home: Home, port: int | None, ops_port: int | None) -> None:
    """Serve until SIGTERM or SIGINT."""
    begin(home)
    kafka_of(home)
    follower = Follower(home)
    config = home.config.board
    zone = home.config.calendar.time_zone
    pages = Pages(follower, follower.standing, follower.behind_words)
    https = config.url.startswith("https://")
    app = create_app(pages, title=config.title, tokens=board_tokens(home), time_zone=zone, https=https)
    server = serve(app, config.host, config.port if port is None else port)

    def problems() -> list[Problem]:
        if follower.failing:
            return [Problem("kafka", follower.failing)]
        if follower.catching_up:
            count = "some" if follower.behind is None else f"{follower.behind:,}"
            return [Problem("log", f"catching up: {count} messages behind")]
        return []

    ops = OpsServer(ops_of(home, ops_port), made_metrics("board"), problems)
    ops.start()
    server.start()
    logs.adopt()
    console.print(f"Board: {server.url}", highlight=False, soft_wrap=True)
    try:
        with stopped_by_signals() as stop:
            following = threading.Thread(target=follower.run, args=(stop,), name="planwatch-follow", daemon=True)
            following.start()
            stop.wait()
    finally:
        server.stop()
        ops.stop()
    log.info("board stopped", extra=fields(position=follower.state.position))
