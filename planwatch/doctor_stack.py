"""What `planwatch doctor` asks the servers of the stack. Each server is asked in a thread of its own, with a deadline."""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from planwatch.hidden import hide_secrets
from planwatch.home import Home
from planwatch.logs import described, masked
from schemas.base import PlanwatchError
from schemas.config import Config
from schemas.stack import GrafanaConfig, InfluxConfig, InfluxRole, KafkaConfig

#: All servers are asked at once; what has not answered by then is said to hang, and the rest is shown.
DEADLINE_S = 12.0
#: How long one question may take: a dead server costs about as much.
ASK_S = 3.0
QUICK: dict[str, Any] = {"bootstrap_timeout_ms": int(ASK_S * 1000), "request_timeout_ms": int(ASK_S * 1000)}
ROLES: tuple[InfluxRole, ...] = ("admin", "worker", "board", "grafana")


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    ok: bool
    detail: str


C = TypeVar("C", InfluxConfig, GrafanaConfig)
Examination = Callable[[], Iterable[Check]]


def examine_stack(home: Home, tenants: Sequence[Home]) -> list[Check]:
    """Connections and folders of a home with `kafka`, `influx` or `grafana`. Shows no secret and alters nothing."""
    config, path = home.config, home.stack_path
    hide_secrets(home)
    asked: list[tuple[str, Examination]] = []
    if config.kafka is not None:
        kafka, sources = config.kafka, source_topics(tenants)
        asked.append(("Kafka", lambda: _kafka(kafka, sources)))
    if config.influx is not None:
        quick = config.model_copy(update={"influx": _quick(config.influx)})
        asked.append(("InfluxDB", lambda: _influx(quick, path)))
    if config.grafana is not None:
        grafana = _quick(config.grafana)
        asked.append(("Grafana", lambda: _grafana(grafana, path)))
    asked.append(("snapshots", lambda: [_snapshots(home)]))
    return [Check(c.name, c.ok, masked(c.detail)) for c in _at_once(asked, DEADLINE_S)]


def source_topics(homes: Iterable[Home]) -> list[str]:
    """The topics that the sources of these homes write to, each once."""
    topics = (source.topic for home in homes for source in home.config.sources.values() if source.topic)
    return list(dict.fromkeys(topics))


def _quick(config: C) -> C:
    return config.model_copy(update={"timeout_s": min(config.timeout_s, ASK_S)})


def _at_once(asked: Sequence[tuple[str, Examination]], deadline_s: float) -> Iterator[Check]:
    """Every examination in its own thread; what they find in the order in which they were given."""
    answers: list[queue.SimpleQueue[list[Check]]] = []
    for name, examination in asked:
        answers.append(queue.SimpleQueue())
        arguments = (name, examination, answers[-1])
        threading.Thread(target=_examined, args=arguments, name=f"planwatch-doctor-{name}", daemon=True).start()
    until = time.monotonic() + deadline_s
    for (name, _), answer in zip(asked, answers, strict=True):
        try:
            yield from answer.get(timeout=max(until - time.monotonic(), 0.001))
        except queue.Empty:
            yield Check(
                name, False, f"no answer within {deadline_s:.0f} s: it hangs, or the network loses what it says"
            )


def _examined(name: str, examination: Examination, answer: queue.SimpleQueue[list[Check]]) -> None:
    found: list[Check] = []
    try:
        found.extend(examination())  # keeps what was found before an error
    except PlanwatchError as error:
        found.append(Check(name, False, str(error)))
    except Exception as error:  # one server's trouble must not hide the others
        found.append(Check(name, False, described(error)))
    answer.put(found)


def _kafka(config: KafkaConfig, sources: Sequence[str]) -> Iterator[Check]:
    from storage.kafka_client import admin
    from storage.kafka_topics import check, wanted

    with closing(admin(config, **QUICK)) as client:
        brokers = client.describe_cluster()["brokers"]
    yield Check("Kafka", True, f"{len(brokers)} broker{'s' * (len(brokers) != 1)} at {config.bootstrap}")
    yield _secured(config)
    found = check(config, sources)
    for finding in found:
        yield Check(f"topic {finding.topic}", False, finding.text)
    missing = {finding.topic for finding in found if finding.kind == "missing"}
    if not found:
        yield Check("topics", True, f"{len(wanted(config))} of ours as wanted")
    if there := [topic for topic in sources if topic not in missing]:
        yield Check("source topics", True, ", ".join(there))
    yield _group(config, "bridge", there)
    changes = config.topic("changes")
    yield _group(config, "worker", [changes] if changes not in missing else [])


def _secured(config: KafkaConfig) -> Check:
    from storage.kafka_security import weaknesses

    security, found = config.security, weaknesses(config)
    who = f" as «{security.user}» by {security.mechanism}" if security.sasl else ""
    return Check("Kafka security", not found, "; ".join([f"{security.protocol}{who}", *found]))


def _group(config: KafkaConfig, role: str, topics: Sequence[str]) -> Check:
    from storage.kafka_lag import group_lag, group_members

    name, group = f"{role} group", f"{config.prefix}-{role}"
    try:
        members = group_members(config, group, **QUICK)
        behind = sum(lag.messages for lag in group_lag(config, group, topics, **QUICK))
    except PlanwatchError as error:
        return Check(name, False, str(error))
    at_work = f"{members} at work" if members else "none at work"
    if behind and not members:
        return Check(name, False, f"{behind:,} messages wait and {at_work}: start `planwatch {role}`")
    return Check(name, True, f"{at_work}, {behind:,} messages behind")


def _influx(config: Config, home: Path) -> Iterator[Check]:
    from storage.influx_check import check
    from storage.influx_connect import settings_of, token_of

    seen: set[str] = set()
    for role in ROLES:
        if role == "admin":
            try:
                token_of(settings_of(config), role, home)
            except PlanwatchError:
                yield Check("InfluxDB token of the admin", True, "none here; only `planwatch influx apply` needs it")
                continue
        for finding in check(config, role, home):
            if finding.name not in seen:
                seen.add(finding.name)
                yield Check(*finding)
            if finding.name == "InfluxDB server" and not finding.ok:
                return


def _grafana(config: GrafanaConfig, home: Path) -> Iterator[Check]:
    from boards.grafana_dashboards import DATA_SOURCE_UID
    from storage.grafana import open_grafana

    try:
        grafana = open_grafana(config, home)
        yield Check("Grafana", True, f"{grafana.url}, organisation «{grafana.organisation()}»")
    except PlanwatchError as error:
        yield Check("Grafana", False, f"{error} Without a Grafana, delete `grafana` from planwatch.yaml.")
        return
    try:
        if grafana.data_source(DATA_SOURCE_UID) is None:
            yield Check("Grafana data source", False, "there is none of ours; `planwatch grafana apply` makes it")
        else:
            yield Check("Grafana data source", True, grafana.check_data_source(DATA_SOURCE_UID) or "works")
    except PlanwatchError as error:
        yield Check("Grafana data source", False, str(error))


def _snapshots(home: Home) -> Check:
    folder = home.stack_path / home.config.worker.snapshots
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        advice = "Workers need to write there: set its owner, or another worker.snapshots in planwatch.yaml"
        return Check("snapshots", False, f"{folder}: {error.strerror or error}. {advice}")
    return Check("snapshots", True, f"{folder} can be written")
