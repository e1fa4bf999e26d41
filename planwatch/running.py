"""`planwatch run`: the pipeline, its sources and the board in one process, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from alerts.receivers import make_receivers
from boards.app import create_app
from boards.server import serve
from planwatch.board_access import board_tokens
from planwatch.board_health import pipeline_standing
from planwatch.board_pages import Pages
from planwatch.ingesting import ingest
from planwatch.pipeline import Pipeline
from planwatch.printing import console, errors
from planwatch.refetching import States, refetching
from planwatch.store import Store
from planwatch.subscribing import subscribed
from planwatch.watching import watching
from processors.state import State
from schemas.base import PlanwatchError
from schemas.change import Change
from storage.lease import Lease

if TYPE_CHECKING:
    from ingest.simulator import Simulator

POLL_S = 0.2
TICK_S = 5.0
#: Simulated time per second of ours: two hours, so that a working day passes in a few seconds.
DEMO_SPEED = 7200.0
DEMO_HISTORY_DAYS = 273
BATCH_MAX = 2000
#: How long the end waits for a record that is being fetched; what is not written is fetched by the next run.
REFETCH_JOIN_S = 2.0


def run(store: Store, *, speed: float | None, port: int | None, board: bool) -> None:
    """Run until SIGINT or SIGTERM. Raises PlanwatchError where another run holds this home."""
    if store.home.config.kafka is not None:
        raise PlanwatchError(
            f"{store.home.path}: this home has its log in Kafka, so its roles are processes of their own: `planwatch "
            "stack` runs them all, or `planwatch bridge`, `worker`, `board` and `scheduler` one each."
        )
    lease = Lease(store.home.data / "run.lock")
    if not lease.acquire():
        raise PlanwatchError(f"{store.home.path}: another `planwatch run` is at work on this home. Stop it first.")
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    config = store.home.config.board
    pipeline = Pipeline(store, {}, "")
    server = watcher = refetcher = None
    try:
        if board:
            zone = store.home.config.calendar.time_zone
            pages = Pages(pipeline, pipeline_standing(pipeline))
            https = config.url.startswith("https://")
            app = create_app(pages, title=config.title, tokens=board_tokens(store.home), time_zone=zone, https=https)
            server = serve(app, config.host, config.port if port is None else port).start()
            pipeline.engine.board_url = server.url
            console.print(f"Board: {server.url}", highlight=False, soft_wrap=True)
        _take_in_configured(store)
        simulated = _Simulated(store, speed) if _simulator_source(store) else None
        _catch_up(pipeline, simulated, stop)
        watcher = watching(store, stop, _note)
        refetcher = refetching(store, stop, partial(_locked, pipeline))
        pipeline.engine.receivers = make_receivers(store.home.config.receivers, _say, store.home.path)
        with _subscribed(store, stop, partial(_locked, pipeline)):
            _live(pipeline, simulated, stop)
    finally:
        stop.set()
        if watcher is not None:
            watcher.join()
        if refetcher is not None:
            refetcher.join(REFETCH_JOIN_S)
        if server is not None:
            server.stop()
        lease.release()
    console.print("Stopped. Everything that was taken in is kept.")


@contextmanager
def _locked(pipeline: Pipeline) -> Iterator[State]:
    with pipeline.lock:
        yield pipeline.state


def _say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


@contextmanager
def _subscribed(store: Store, stop: threading.Event, states: States) -> Iterator[None]:
    """The configured subscriptions at work, if there are any."""
    sources = subscribed(store.home)
    if not sources:
        yield
        return
    from planwatch.salesforce_channels import subscriptions  # gRPC takes long to import

    with subscriptions(store, sources, stop, states):
        yield


def _note(line: str) -> None:
    errors.print(line, highlight=False, soft_wrap=True, markup=False)


def _take_in_configured(store: Store) -> None:
    for name, source in store.home.config.sources.items():
        if source.paths and source.kind != "simulator":
            paths = [str(store.home.path / p) for p in source.paths]
            summary = ingest(store, source.kind, paths, None, name)
            errors.print(f"{name}: {summary.as_json()}", highlight=False, soft_wrap=True)


def _simulator_source(store: Store) -> str | None:
    return next((n for n, s in store.home.config.sources.items() if s.kind == "simulator"), None)


def _catch_up(pipeline: Pipeline, simulated: _Simulated | None, stop: threading.Event) -> None:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        console=errors,
        disable=not sys.stderr.isatty(),
    ) as progress:
        if simulated is not None:
            task = progress.add_task("Simulating nine months", total=DEMO_HISTORY_DAYS)
            simulated.history(lambda day: progress.update(task, completed=day), stop)
        task = progress.add_task("Reading the log", total=None)
        pipeline.catch_up(lambda at, end: progress.update(task, completed=at, total=end))


def _live(pipeline: Pipeline, simulated: _Simulated | None, stop: threading.Event) -> None:
    ticked = time.monotonic()
    while not stop.is_set():
        if simulated is not None:
            simulated.advance()
        moved = pipeline.step()
        if time.monotonic() - ticked >= TICK_S:
            ticked = time.monotonic()
            pipeline.tick()
        elif moved:
            pipeline.engine.flush(pipeline.store.clock.now())
        stop.wait(POLL_S)


class _Simulated:
    """The simulated company: its past at once, its future at a chosen speed."""

    def __init__(self, store: Store, speed: float | None) -> None:
        from ingest.simulator import Simulator

        self.store = store
        self.speed = DEMO_SPEED if speed is None else speed
        tenant, source = store.home.config.tenant, _simulator_source(store) or "simulator"
        self.simulator: Simulator = Simulator(tenant=tenant, source=source)
        state = store.state()
        self.reached = state.now if state.position else 0
        self.fresh = state.position == 0
        self.wall = time.monotonic()
        self.changes = self.simulator.changes(after_us=self.reached)
        self.waiting = next(self.changes, None)

    def history(self, progress: object, stop: threading.Event) -> None:
        """The first nine months, on the first start only."""
        if self.fresh and self.waiting is not None:
            start = self.waiting.occurred_at
            end = start + DEMO_HISTORY_DAYS * 86_400_000_000
            while self.waiting is not None and self.waiting.occurred_at <= end and not stop.is_set():
                self._take(end, 5000)
                if callable(progress):
                    progress((self.reached - start) / 86_400_000_000)
        self.wall = time.monotonic()

    def advance(self) -> None:
        """Let simulated time pass as wall time did; take in what happened meanwhile."""
        wall = time.monotonic()
        self.reached += int((wall - self.wall) * self.speed * 1_000_000)
        self.wall = wall
        self._take(self.reached, BATCH_MAX)

    def _take(self, until: int, limit: int) -> None:
        batch: list[Change] = []
        while self.waiting is not None and self.waiting.occurred_at <= until and len(batch) < limit:
            batch.append(self.waiting)
            self.waiting = next(self.changes, None)
        if batch:
            self.store.append(batch)
            self.reached = max(self.reached, batch[-1].occurred_at)
