"""The stack as its users run it: roles as processes on real servers, and verifiers that compare with a clean run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML

from ingest.cdc_writer import CdcWriter
from ingest.quarantine import Quarantine
from ingest.simulated_cdc import produce
from ingest.simulator import Simulator
from planwatch.exporting import export
from planwatch.home import Home
from planwatch.ingesting import find_mapping, ingest
from planwatch.native_servers import InfluxServer, KafkaServer
from planwatch.pipeline import Pipeline
from planwatch.store import Store
from planwatch.wiring import Parts
from schemas.change import Change
from storage import influx_admin
from storage.influx_connect import connect
from storage.influx_reader import InfluxReader
from storage.kafka_log import KafkaLog
from storage.kafka_topics import apply as apply_topics
from storage.memory import MemoryJournal, MemorySeries

ROOT = Path(__file__).parents[1]
SESSION_S = 4.0
T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], what: str, timeout_s: float = 90.0) -> T:
    """Wait until a condition gives something true, and give it; fail with what was waited for."""
    until = time.monotonic() + timeout_s
    while True:
        if found := condition():
            return found
        assert time.monotonic() < until, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens on right now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str, timeout_s: float = 60.0) -> tuple[int, bytes]:
    """Status and body; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (OSError, ValueError):
        return 0, b""


class Role:
    """A role as a process with an operations port."""

    def __init__(self, home: Path, words: Sequence[str], log: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._file = log.open("ab")
        command = [sys.executable, "-m", "planwatch", "--home", str(home), *words, "--ops-port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=self._file, stderr=subprocess.STDOUT)

    @property
    def ready(self) -> bool:
        """Whether it says so."""
        return get(f"{self.url}/readyz", 5)[0] == 200

    def wait_ready(self, timeout_s: float = 90.0) -> Role:
        """Wait until it is ready; it must not have ended."""

        def ready() -> bool:
            assert self.process.poll() is None, f"{self.log.name} ended: {self.tail()}"
            return self.ready

        wait_for(ready, f"{self.log.name} is ready ({get(f'{self.url}/readyz', 5)}): {self.tail()}", timeout_s)
        return self

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`, and wait for its end."""
        self.process.kill()
        self.process.wait()
        self._file.close()

    def stop(self, timeout_s: float = 40.0) -> int:
        """SIGTERM; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(timeout_s)
        self._file.close()
        return code

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 where it says nothing."""
        lines = get(f"{self.url}/metrics", 5)[1].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def tail(self) -> str:
        """The end of what it logged."""
        return self.log.read_text(errors="replace")[-3000:]


class Stack:
    """One home with its tenants on given servers. Every topic, group and bucket begins with `prefix`.

    `sources` gives a tenant's sources from its name and its folder, in which it may write what they need; none: `crm`,
    Salesforce's events from the tenant's topic.
    """

    def __init__(
        self,
        folder: Path,
        broker: KafkaServer,
        database: InfluxServer,
        prefix: str,
        tenants: Sequence[str] = ("demo",),
        example: str = "stack",
        rules: str | None = None,
        sources: Callable[[str, Path], dict[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        self._sources = sources or self._salesforce
        self.folder, self.kafka, self.influx, self.prefix = folder, broker, database, prefix
        self.path = folder / "home"
        shutil.copytree(ROOT / "examples" / example, self.path)
        if rules is not None:
            (self.path / "alerts.yaml").write_text(rules, encoding="utf-8")
        self._configure(tenants, settings)
        self.home = Home(self.path)
        self.tenants = self.home.tenants()
        assert self.home.config.kafka is not None
        self.config = self.home.config.kafka
        topics = [self.topic(name) for name in self.tenants]
        apply_topics(self.config, topics, create_sources=True)
        influx_admin.apply(self.home.config, self.path)
        self.roles: list[Role] = []
        self.sent: dict[str, list[bytes]] = {name: [] for name in self.tenants}
        self.enough = threading.Event()  # ends what is sent in the background

    def topic(self, tenant: str) -> str:
        """The topic that the tenant's CRM writes to."""
        return f"{self.prefix}.{tenant}.cdc"

    def _salesforce(self, tenant: str, folder: Path) -> dict[str, Any]:
        mapping = {"mapping": "cdc.yaml"} if (folder / "cdc.yaml").exists() else {}
        return {"crm": {"kind": "salesforce", "topic": self.topic(tenant), **mapping}}

    def _configure(self, tenants: Sequence[str], settings: dict[str, Any]) -> None:
        yaml = YAML()
        document = yaml.load(self.path / "planwatch.yaml")
        document.setdefault("sources", {})
        document["time"] = "log"
        document["tenant"] = tenants[0]
        document["sources"] = self._sources(tenants[0], self.path)
        document["kafka"] = {
            "bootstrap": self.kafka.bootstrap,
            "prefix": self.prefix,
            "partitions": 4,
            "session_timeout_s": SESSION_S,
            **settings.pop("kafka", {}),
        }
        buckets = {"bucket": f"{self.prefix}_day", "live_bucket": f"{self.prefix}_live"}
        document["influx"] = {"url": self.influx.url, "org": self.influx.org, **buckets, **settings.pop("influx", {})}
        document["worker"] = {"snapshot_every_s": 2, "tick_s": 1, "stall_s": 30, **settings.pop("worker", {})}
        document.pop("grafana", None)
        document |= settings
        if len(tenants) > 1:
            for name in tenants:
                folder = self.path / "tenants" / name
                folder.mkdir(parents=True)
                for file in self.path.glob("*.yaml"):
                    shutil.copyfile(file, folder / file.name)
                own = {k: v for k, v in document.items() if k not in ("kafka", "influx", "worker", "tenants")}
                own |= {"tenant": name, "stack": "../..", "sources": self._sources(name, folder)}
                yaml.dump(own, folder / "planwatch.yaml")
            document["tenants"] = ["tenants/*"]
        yaml.dump(document, self.path / "planwatch.yaml")
        secrets = self.path / "secrets"
        secrets.mkdir(mode=0o700, exist_ok=True)
        (secrets / "influx-admin.token").write_text(self.influx.admin_token)

    # Roles.

    def start(self, *words: str) -> Role:
        """Start a role."""
        role = Role(self.path, words, self.folder / f"{len(self.roles)}-{words[0]}.log")
        self.roles.append(role)
        return role

    def close(self) -> None:
        """Kill what still runs."""
        for role in self.roles:
            if role.process.poll() is None:
                role.signal(signal.SIGCONT)
                role.kill()

    # Load.

    def writer(self, tenant: str) -> CdcWriter:
        """What makes a tenant's change events."""
        home = self.tenants[tenant]
        return CdcWriter(home.config, find_mapping(home, "crm", None))

    def send(self, tenant: str, changes: Iterable[Change], **options: Any) -> int:
        """Send changes as the tenant's CRM would; each event is remembered for the embedded run."""
        writer, sent = self.writer(tenant), self.sent[tenant]

        def remembered() -> Iterable[Change]:
            for change in changes:
                if self.enough.is_set():
                    return
                sent.append(writer.event(change))
                yield change

        return produce(self.config, self.topic(tenant), remembered(), writer, **options)

    def send_in_background(self, tenant: str, changes: Iterable[Change], **options: Any) -> threading.Thread:
        """The same in a thread; an error of it fails whoever joins."""
        errors: list[BaseException] = []

        class Sending(threading.Thread):
            def run(self) -> None:
                try:
                    stack.send(tenant, changes, **options)
                except BaseException as error:
                    errors.append(error)

            def join(self, timeout: float | None = None) -> None:
                super().join(timeout)
                if errors:
                    raise errors[0]

        stack = self
        thread = Sending(daemon=True)
        thread.start()
        return thread

    def grow(self, tenant: str, events: int, thread: threading.Thread) -> None:
        """Wait until so many more events were sent; the thread that sends them must be at work."""
        wanted = len(self.sent[tenant]) + events

        def grown() -> bool:
            assert thread.is_alive(), "what sends the load has ended"
            return len(self.sent[tenant]) >= wanted

        wait_for(grown, f"{events} more events of {tenant}")

    # Looking.

    def worker_export(self, tenant: str) -> bytes:
        """The tenant's values as the worker that has it says."""

        def ask() -> bytes | None:
            for role in self.roles:
                if role.process.poll() is None:
                    status, body = get(f"{role.url}/export/{tenant}")
                    if status == 200:
                        return body
            return None

        return wait_for(ask, f"a worker has {tenant}")

    def counts(self, tenant: str) -> dict[str, int]:
        """Changes of a tenant by outcome, by a fold of the whole log."""
        pipeline, _ = self.clean_run(tenant)
        (counts,) = pipeline.state.counts.values()
        return counts

    def owner(self, tenant: str) -> Role:
        """The worker that has a tenant."""

        def find() -> Role | None:
            found = [r for r in self.roles if r.process.poll() is None and get(f"{r.url}/export/{tenant}", 5)[0] == 200]
            return found[0] if len(found) == 1 else None

        return wait_for(find, f"one worker has {tenant}")

    def embedded_export(self, tenant: str) -> bytes:
        """The same events through the embedded form: what `planwatch ingest salesforce` and `planwatch export` do."""
        folder = self.folder / f"embedded-{tenant}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.tenants[tenant].path, folder, ignore=shutil.ignore_patterns("data", "secrets", "tenants"))
        yaml = YAML()
        document = yaml.load(folder / "planwatch.yaml")
        for name in ("kafka", "influx", "worker", "tenants", "stack"):
            document.pop(name, None)
        document["tenant"] = tenant
        document["sources"]["crm"].pop("topic")
        yaml.dump(document, folder / "planwatch.yaml")
        events = folder / "events.jsonl"
        events.write_bytes(b"".join(event + b"\n" for event in self.sent[tenant]))
        store = Store(Home(folder))
        summary = ingest(store, "salesforce", [str(events)], None, None)
        assert summary.received == summary.applied + summary.duplicate + summary.stale
        return export(store.state(), store.home.catalogue(), tenant)

    def clean_run(self, tenant: str) -> tuple[Pipeline, MemorySeries]:
        """One pipeline, in this process, once over the log as it stands: nothing was ever interrupted."""
        home, series, journal = self.tenants[tenant], MemorySeries(), MemoryJournal()
        parts = Parts(KafkaLog(self.config, tenant), series, journal, Quarantine(journal))
        pipeline = Pipeline(Store(home, None, parts), {})
        pipeline.catch_up()
        return pipeline, series

    def influx_points(self, tenant: str) -> dict[tuple[str, ...], dict[int, float]]:
        """Everything of a tenant in the daily bucket: series → bucket (microseconds) → value."""
        reader = InfluxReader(self._influx_config(), lambda: connect(self.home.config, "board", self.path))
        rows = reader.rows(
            f'from(bucket: "{self._influx_config().bucket}") |> range(start: 1970-01-01T00:00:00Z, stop: 2200-01-01T00:00:00Z)'
            f' |> filter(fn: (r) => r.tenant == "{tenant}" and (r._measurement == "kpi" or r._measurement == "target"))'
        )
        found: dict[tuple[str, ...], dict[int, float]] = {}
        for row in rows:
            key = (row["kpi"], row["dimension"], row["scope"], row["period"], row["_field"])
            found.setdefault(key, {})[round(row["_time"].timestamp() * 1_000_000)] = row["_value"]
        return found

    def _influx_config(self) -> Any:
        return self.home.config.influx

    # Verifying.

    def verify(self, tenant: str, *, series: bool = True) -> None:
        """Nothing lost, nothing counted twice: the worker, the log, the embedded form and the series say the same."""
        expected = self.embedded_export(tenant)
        said = b""

        def equal() -> bool:
            nonlocal said
            said = self.worker_export(tenant)
            return said == expected

        try:
            wait_for(equal, f"{tenant}: the worker's export is the embedded one", 180)
        except AssertionError:
            wrong = [pair for pair in zip(expected.split(b"}"), said.split(b"}"), strict=False) if pair[0] != pair[1]]
            held = [line for role in self.roles for line in get(f"{role.url}/readyz", 5)[1].decode().splitlines()]
            raise AssertionError(
                f"{tenant}: {len(wrong)} values differ, among them {wrong[:3]}; roles say {held}"
            ) from None
        if series:
            pipeline, clean = self.clean_run(tenant)
            with pipeline.lock:
                assert export(pipeline.state, pipeline.found, tenant) == expected
            self.verify_series(tenant, clean)

    def verify_series(self, tenant: str, series: MemorySeries) -> None:
        """InfluxDB's daily series are those of a clean run over the same log, by their value at any day."""
        clean = daily(series)
        last: dict[str, Any] = {}

        def same() -> bool:
            last["found"] = self.influx_points(tenant)
            return differences(clean, last["found"]) == []

        try:
            wait_for(same, "the series in InfluxDB are those of a clean run", 45)
        except AssertionError:
            wrong = differences(clean, last["found"])
            raise AssertionError(f"{len(wrong)} differences, among them {json.dumps(wrong[:8])}") from None


def daily(series: MemorySeries) -> dict[tuple[str, ...], dict[int, float]]:
    """What a memory series holds at the grain of a day, as `Stack.influx_points` gives it."""
    from storage.influx_names import encode_tag

    return {
        (kpi, dim, encode_tag(scope), period, field): dict(values)
        for (grain, kpi, dim, scope, period, field), values in series._series.items()
        if grain == "day"
    }


def differences(
    clean: dict[tuple[str, ...], dict[int, float]], found: dict[tuple[str, ...], dict[int, float]]
) -> list[Any]:
    """Where two sets of series differ in their value at or before any bucket of either.

    What never was and what is nothing (0, or a ratio that says that it has no value) are the same.
    """
    wrong: list[Any] = []
    for key in clean.keys() | found.keys():
        if key[-1] == "no_value":
            continue
        a, b = standing(clean, key), standing(found, key)
        x = y = None
        for bucket in sorted(a.keys() | b.keys()):
            x, y = a.get(bucket, x), b.get(bucket, y)
            if (x or None) != (y or None):
                wrong.append([key, bucket, x, y])
    return wrong


def standing(series: dict[tuple[str, ...], dict[int, float]], key: tuple[str, ...]) -> dict[int, float | None]:
    """A series, with None where it says that it has no value."""
    silent = series.get((*key[:-1], "no_value"), {})
    values: dict[int, float | None] = dict(series.get(key, {}))
    return values | {bucket: None for bucket, none in silent.items() if none}


def company(tenant: str, seed: int = 7) -> Iterable[Change]:
    """A simulated company's changes, endless."""
    return Simulator(seed=seed, tenant=tenant, source="crm").changes()
