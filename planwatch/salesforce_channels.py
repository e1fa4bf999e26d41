"""The configured subscriptions to Salesforce's change events: their adapters, and a thread for each."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from planwatch import logs
from planwatch.commits import commit_times
from planwatch.home import Home
from planwatch.ingesting import context_of
from planwatch.logs import fields
from planwatch.ops import OpsServer, Problem
from planwatch.refetching import Refetching, States
from planwatch.roles import begin, made_metrics, ops_of, stopped_by_signals
from planwatch.store import Store
from planwatch.subscribing import Stores, Subscription, subscribed
from schemas.base import PlanwatchError
from storage.lease import Lease
from storage.ports import Journal
from storage.salesforce_pubsub import SalesforcePubSub
from storage.salesforce_rest import Token, checked_url
from storage.sqlite_journal import SqliteJournal

log = logging.getLogger("planwatch.subscribe")

JOIN_S = 5.0
_SCHEMA_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class Running(NamedTuple):
    """A source's subscriptions at work."""

    port: SalesforcePubSub
    refetching: Refetching
    channels: list[Subscription]
    threads: list[threading.Thread]


@contextmanager
def subscriptions(
    store: Store, sources: Sequence[str], stop: threading.Event, states: States | None = None
) -> Iterator[list[Running]]:
    """Subscriptions of these sources, at work until the end of the block, which must set `stop` before.

    Raises PlanwatchError where settings are missing, or where another process has these subscriptions.
    """
    lease = Lease(store.home.data / "subscriptions.lock")
    if sources and not lease.acquire():
        raise PlanwatchError(f"{store.home.path}: another process has the subscriptions of this home. Stop it first.")
    running: list[Running] = []
    try:
        for source in sources:
            running.append(_begin(store, source, stop, states))
        yield running
    finally:
        stop.set()
        for item in running:
            item.port.close()  # ends a subscription that waits for events
            for thread in item.threads:
                thread.join(JOIN_S)
            item.refetching.close()
        lease.release()


def _begin(store: Store, source: str, stop: threading.Event, states: States | None) -> Running:
    home, settings = store.home, store.home.config.sources[source].salesforce
    where = f"{home.path / 'planwatch.yaml'}: sources.{source}.salesforce"
    if not (settings.instance_url and settings.token_file and settings.organisation and settings.avro_schemas):
        raise PlanwatchError(f"{where}: channels need instance_url, token_file, organisation and avro_schemas too.")
    schemas = home.path / settings.avro_schemas
    refetching = Refetching(store, [source], states)
    port = SalesforcePubSub(
        settings.pubsub,
        checked_url(settings.instance_url),
        settings.organisation,
        Token(home.path / settings.token_file),
        lambda schema_id, text: keep_schema(schemas, schema_id, text),
    )

    def known() -> tuple[int, int]:
        commits = commit_times(store, source)
        return commits.latest, commits.newest

    context = context_of(home, source, store.clock)
    stores = Stores(store.append, store.quarantine, journal_of(store))
    channels, threads = [], []
    for channel in settings.channels:
        one = Subscription(context, channel, port, stores, refetching.refetchers[source], known)
        thread = threading.Thread(target=one.run, args=(stop,), name=f"planwatch-{source}-{channel}", daemon=True)
        thread.start()
        channels.append(one)
        threads.append(thread)
    return Running(port, refetching, channels, threads)


def subscribe(home: Home, ops_port: int | None) -> None:
    """Follow the channels of a home and of its tenants until SIGTERM or SIGINT. Raises PlanwatchError where there are none."""
    begin(home)
    sources = {tenant.config.tenant: (tenant, subscribed(tenant)) for tenant in home.tenants().values()}
    if not any(names for _, names in sources.values()):
        raise PlanwatchError(
            f"{home.path / 'planwatch.yaml'}: no source has a channel. Set `salesforce.channels` under a source."
        )
    running: list[Running] = []
    ops = OpsServer(ops_of(home, ops_port), made_metrics("subscribe"), lambda: _problems(running))
    with stopped_by_signals() as stop, ExitStack() as stack:
        stack.callback(ops.stop)
        logs.adopt()
        ops.start()
        for tenant, names in sources.values():
            running += stack.enter_context(subscriptions(Store(tenant), names, stop))
            for name in names:
                log.info("channels are followed", extra=fields(tenant=tenant.config.tenant, source=name))
        stop.wait()
    log.info("subscribe stopped")


def _problems(running: Sequence[Running]) -> list[Problem]:
    return [Problem(one.channel, one.problem) for item in running for one in item.channels if one.problem]


def journal_of(store: Store) -> Journal:
    """Where replay ids are kept: beside the embedded state, or in a file of the home that subscribes."""
    return store.journal if store.home.config.kafka is None else SqliteJournal(store.home.data / "subscriptions.sqlite")


def keep_schema(folder: Path, schema_id: str, text: str) -> None:
    """Put a schema where the door finds it; whole or not at all. Raises PlanwatchError for an id that is no name."""
    if not _SCHEMA_ID.fullmatch(schema_id):
        raise PlanwatchError(f"{folder}: the schema id {schema_id[:40]!r} is no name for a file.")
    path = folder / f"{schema_id}.avsc"
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    begun = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    begun.write_text(text, encoding="utf-8")
    begun.replace(path)
