"""`planwatch serve`: requests to hooks → doors → the change log, in SQLite or in Kafka."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from boards.threaded import ThreadedServer, Words
from ingest import RECORD_DOORS
from ingest.hook_protocol import settings
from ingest.hook_queue import HookQueue
from ingest.hook_secrets import HookSecrets
from ingest.hook_server import Hook, create_app, paths_of
from ingest.hook_sinks import KafkaSink, Sink, StoreSink, Taken
from ingest.log_messages import Taking
from ingest.signatures import allowed_signatures
from planwatch import logs
from planwatch.drifting import drift_keeper
from planwatch.home import Home
from planwatch.ingesting import context_of
from planwatch.logs import fields
from planwatch.metrics import Metrics
from planwatch.ops import Health, OpsServer, Problem
from planwatch.printing import console
from planwatch.roles import begin, every, made_metrics, ops_of, stopped_by_signals
from planwatch.store import Store
from schemas.base import PlanwatchError
from schemas.clock import SystemClock
from schemas.sources import ServeConfig, SourceConfig

log = logging.getLogger("planwatch.serve")

#: How often what the doors did not know is kept.
REPORT_S = 2.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: Beyond the deadline of the last request: time to write and to answer.
STOP_MORE_S = 10.0


def serve(home: Home, host: str | None, port: int | None, ops_port: int | None) -> None:
    """Take requests until SIGTERM or SIGINT; what is being answered then is written and answered first."""
    begin(home)
    metrics = made_metrics("serve")
    served = WebhookServer(home, metrics, host, port)
    ops = OpsServer(ops_of(home, ops_port), metrics, served.problems, served.failing)
    logs.adopt()
    ops.start()
    try:
        with served, stopped_by_signals() as stop:
            every(REPORT_S, stop, served.keep_drift)
            for path in served.paths:
                console.print(f"Hook: {served.url}/hooks/{path}", highlight=False, soft_wrap=True)
            if not served.paths:
                log.warning("no source has a hook", extra=fields(reason="write `hook: {}` under one in planwatch.yaml"))
                console.print(f"No hook yet: {served.url}", highlight=False, soft_wrap=True)
            stop.wait()
    finally:
        ops.stop()
    log.info("serve stopped", extra=fields(accepted=served.accepted, quarantined=served.quarantined))


def bounded(home: Home) -> ServeConfig:
    """The bounds of the server; a body is never larger than what the quarantine topic keeps whole, should it be refused."""
    kafka, config = home.config.kafka, home.config.serve
    if kafka is None:
        return config
    from ingest.topic_quarantine import payload_room

    return config.model_copy(update={"body_bytes_max": min(config.body_bytes_max, payload_room(kafka))})


class WebhookServer:
    """The hooks of a home and of its tenants, answered while it is entered. `url` is known before.

    Raises PlanwatchError where a source cannot have the hook that it has, and where the port is taken.
    """

    def __init__(self, home: Home, metrics: Metrics, host: str | None = None, port: int | None = None) -> None:
        config = bounded(home)
        self._metrics = metrics
        self.accepted = self.quarantined = 0
        hooks = list(hooks_of(home))
        self.paths = sorted(paths_of(hooks))
        #: Keeps and logs what the doors did not know.
        self.keep_drift = drift_keeper(home, [hook.taking.context for hook in hooks])
        self._queue = HookQueue(config, sink_of(home, hooks), self)
        metrics.follow_hook_queue(lambda: self._queue.depth)
        health = Health(metrics, self.problems, self.failing)
        app = create_app(hooks, self._queue, config, self, SystemClock(), health.routes(public=True))
        self._server = ThreadedServer(
            app,
            config.host if host is None else host,
            config.port if port is None else port,
            Words("The webhook server", "serve"),
            config.request_timeout_s + STOP_MORE_S,
            **settings(),
        )
        self.url = self._server.url

    def __enter__(self) -> WebhookServer:
        """Take requests."""
        self._queue.start()
        self._server.start()
        return self

    def __exit__(self, *args: object) -> None:
        """Take no more, write and answer what was taken."""
        self._server.stop()
        self._queue.close()
        self.keep_drift()

    def problems(self) -> Sequence[Problem]:
        """What keeps it from its work. Strangers may ask: what is wrong in particular stands in the log."""
        if self._queue.trouble is not None:
            return [Problem("log", "what comes in cannot be written")]
        return [Problem("queue", "full")] if self._queue.full else []

    def failing(self) -> Sequence[Problem]:
        """What only a restart ends."""
        return [Problem("writer", "has ended")] if self._queue.ended else []

    def answered(self, source: str, outcome: str) -> None:
        """A request was answered."""
        self._metrics.hook_answered(source, outcome)

    def signature_refused(self, source: str, reason: str) -> None:
        """A request did not prove who sent it."""
        self._metrics.hook_refused(source, reason)

    def wrote(self, taken: Sequence[Taken], seconds: float) -> None:
        """What came of these requests is durable."""
        changes: Counter[str] = Counter()
        for item in taken:
            changes[item.context.tenant] += len(item.changes)
            if item.refused:
                self.quarantined += len(item.refused)
                self._metrics.quarantined(item.context.source, len(item.refused))
                _log_refusals(item)
        self.accepted += changes.total()
        self._metrics.hook_wrote(changes, seconds)

    def failed(self) -> None:
        """A write did not succeed."""
        self._metrics.hook_write_failed()


def hooks_of(home: Home) -> Iterator[Hook]:
    """The sources with a hook, over all tenants.

    Raises PlanwatchError for a name that cannot stand in an address, and for a kind that does not come by request.
    """
    kafka = home.config.kafka
    bytes_max = None if kafka is None else kafka.change_bytes_max
    for tenant in home.tenants().values():
        for name, source in tenant.config.sources.items():
            if source.hook is None:
                continue
            where = f"{tenant.path / 'planwatch.yaml'}: sources.{name}"
            door = RECORD_DOORS.get(source.kind)
            if door is None:
                raise PlanwatchError(f"{where}: a source of kind {source.kind} does not come by request.")
            if not NAME.fullmatch(name):
                raise PlanwatchError(f"{where}: a source with a hook needs a name of letters, digits and . _ - only.")
            context = context_of(tenant, name)
            yield Hook(
                Taking(context, door.reader(context), bytes_max),
                source.hook,
                allowed_signatures(source),
                secrets_of(tenant, name, source).current,
            )


def secrets_of(home: Home, name: str, source: SourceConfig) -> HookSecrets:
    """The secrets of a source with a hook, hidden from the log; a lack of them is logged."""
    assert source.hook is not None
    secrets = HookSecrets(name, source.hook, home.path, hide=logs.hide)
    if problem := secrets.problem():
        log.warning("a source refuses every request", extra=fields(source=name, reason=problem))
    return secrets


def sink_of(home: Home, hooks: Sequence[Hook]) -> Sink:
    """Where a home keeps what is received."""
    if home.config.kafka is not None:
        return KafkaSink(home.config.kafka, home.config.serve.request_timeout_s)
    tenants = home.tenants()
    stores = {name: Store(tenants[name]) for name in {hook.tenant for hook in hooks}}
    return StoreSink({name: (store.log, store.quarantine) for name, store in stores.items()})


def _log_refusals(item: Taken) -> None:
    for refused in item.refused:
        log.warning(
            "input refused",
            extra=fields(
                tenant=item.context.tenant,
                source=refused.source,
                origin=refused.origin,
                offset=refused.position,
                code=refused.code,
                reason=refused.reason,
            ),
        )
