"""`planwatch watch`, and the same within `planwatch run`: files put into the folders of sources are taken in once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import BinaryIO, cast

from ingest import DOORS
from planwatch import logs
from planwatch.home import Home
from planwatch.ingesting import Intake, Summary, find_mapping
from planwatch.logs import fields
from planwatch.ops import OpsServer, Problem
from planwatch.roles import begin, made_metrics, ops_of, stopped_by_signals
from planwatch.store import Store
from planwatch.watched_folder import Ledger, WatchedFolder
from schemas.base import PlanwatchError
from schemas.clock import Clock, SystemClock
from schemas.sources import SourceConfig
from storage.lease import Lease
from storage.sqlite_journal import SqliteJournal

log = logging.getLogger("planwatch.watch")

LOOK_S = 1.0


class Stopped(Exception):
    """The program ends in the middle of a file, which is taken from its beginning by the next one."""


def watched_sources(home: Home) -> dict[str, SourceConfig]:
    """The sources of a home with a watched folder, by name. Raises PlanwatchError for a kind that reads no files."""
    found = {name: source for name, source in home.config.sources.items() if source.watch is not None}
    for name, source in found.items():
        if source.kind not in DOORS:
            where = f"{home.path / 'planwatch.yaml'}: sources.{name}"
            raise PlanwatchError(f"{where}: a source of kind {source.kind} reads no files; remove its `watch`.")
    return found


class Watcher:
    """Watches the folders of one home. Of several processes that do, one at a time works.

    `store` gives the home's stores, at the first file. `taken` is told of each file: source, file, what came of it.
    `say` is told once of whatever stands in the way. `look` raises on nothing from outside.
    """

    def __init__(
        self,
        home: Home,
        store: Callable[[], Store],
        taken: Callable[[str, str, Summary], None],
        say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._home, self._make_store, self._taken, self._say = home, store, taken, say
        self._store: Store | None = None
        self._stop = threading.Event()
        self._lease = Lease(home.data / "watch.lock")
        self._others = False  # another process watches, which was said
        self._journal = SqliteJournal(home.data / "watched.sqlite")
        clock = clock or SystemClock()
        self._folders = [
            self._folder(name, source, clock) for name, source in watched_sources(home).items() if source.watch
        ]

    def _folder(self, name: str, source: SourceConfig, clock: Clock) -> WatchedFolder:
        def take(origin: str, stream: BinaryIO) -> None:
            self._take(name, source.kind, origin, stream)

        path = self._home.path / cast("str", source.watch)
        return WatchedFolder(path, Ledger(self._journal, name), clock, source.watch_settle_s, take, self._say)

    @property
    def troubles(self) -> list[str]:
        """What stands in the way now, a sentence each."""
        return [trouble for folder in self._folders for trouble in folder.troubles]

    def run(self, stop: threading.Event) -> None:
        """Look every second until `stop` is set; a file that is being read then is left for the next time."""
        self._stop = stop
        try:
            while not stop.is_set():
                try:
                    self.look()
                except PlanwatchError as error:  # the lease, or the ledger
                    self._say(str(error))
                stop.wait(LOOK_S)
        except Stopped:
            pass
        finally:
            self.close()

    def look(self) -> None:
        """Look once at every folder. Raises `Stopped` where `stop` was set meanwhile."""
        if not self._lease.acquire():
            if not self._others:
                self._say(f"{self._home.path}: process {self._lease.holder()} watches its folders; this one waits.")
            self._others = True
            return
        self._others = False
        for folder in self._folders:
            folder.look()

    def close(self) -> None:
        """Let others watch."""
        self._lease.release()
        self._journal.close()

    def _take(self, name: str, kind: str, origin: str, stream: BinaryIO) -> None:
        mapping = find_mapping(self._home, name, None)  # read anew for each file: it may have been mended
        try:
            if self._store is None:
                self._store = self._make_store()
            intake = Intake(self._store, kind, name, mapping, counted=False)
            intake.take(origin, cast("BinaryIO", _Reading(stream, self._stop)))
            self._taken(name, origin, intake.finish())
        except (PlanwatchError, OSError, Stopped):
            raise
        except Exception as error:
            # A door raises on no input. Should one do so, the files after this one must not wait for it.
            log.exception("taking in a file failed", extra=fields(file=origin))
            raise PlanwatchError(f"{type(error).__name__}: {error}; report it as an error of Planwatch.") from error


class _Reading:
    """A stream that ends with `Stopped` when the program does."""

    def __init__(self, stream: BinaryIO, stop: threading.Event) -> None:
        self._stream, self._stop = stream, stop

    def read(self, size: int = -1) -> bytes:
        self._check()
        return self._stream.read(size)

    def readline(self, size: int = -1) -> bytes:
        self._check()
        return self._stream.readline(size)

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped


def watching(store: Store, stop: threading.Event, say: Callable[[str], None]) -> threading.Thread | None:
    """Watch the folders of a home in a thread until `stop` is set; none where no source has one."""
    if not watched_sources(store.home):
        return None

    def taken(source: str, file: str, summary: Summary) -> None:
        new = (
            f"; {len(summary.drift)} names or values are not known: see planwatch sources check"
            if summary.drift
            else ""
        )
        say(f"{source}: {file}: received {summary.received:,}, of them {summary.quarantined:,} refused{new}.")

    watcher = Watcher(store.home, lambda: store, taken, say, store.clock)
    thread = threading.Thread(target=watcher.run, args=(stop,), name="planwatch-watch")
    thread.start()
    return thread


def watch(home: Home, ops_port: int | None) -> None:
    """Watch the folders of a home and of its tenants until SIGTERM or SIGINT. Raises PlanwatchError where there are none."""
    begin(home)
    homes = [tenant for tenant in home.tenants().values() if watched_sources(tenant)]
    if not homes:
        raise PlanwatchError(
            f"{home.path / 'planwatch.yaml'}: no source has a watched folder. Set `watch` under a source."
        )
    metrics = made_metrics("watch")

    def taken(source: str, file: str, summary: Summary) -> None:
        metrics.quarantined(source, summary.quarantined)
        facts = fields(source=source, file=file, received=summary.received, refused=summary.quarantined)
        log.info("file taken in", extra=facts)

    def watcher_of(tenant: Home) -> Watcher:
        return Watcher(tenant, lambda: Store(tenant), taken, lambda text: log.warning("%s", text))

    watchers = [watcher_of(tenant) for tenant in homes]

    def problems() -> list[Problem]:
        return [Problem("folder", trouble) for watcher in watchers for trouble in watcher.troubles]

    ops = OpsServer(ops_of(home, ops_port), metrics, problems)
    logs.adopt()
    ops.start()
    try:
        with stopped_by_signals() as stop:
            threads = [
                threading.Thread(target=watcher.run, args=(stop,), name="planwatch-watch") for watcher in watchers
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        ops.stop()
    log.info("watch stopped")
