"""`planwatch serve` as a process, embedded and on a real broker: 2xx means durable, whatever happens."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from planwatch.exporting import export
from planwatch.home import Home
from planwatch.native_servers import KafkaServer
from planwatch.store import Store
from planwatch.wiring import Parts
from storage.memory import MemoryJournal, MemorySeries
from storage.ports import Log
from storage.sqlite_log import SqliteLog
from tests.hooks import event, event_id, make_home, signed, start_server
from tests.servers import KafkaFactory
from tests.simulation import hook_load
from tests.stack import Role, wait_for

ROOT = Path(__file__).parents[2]
Start = Callable[..., tuple[Role, str]]


def planwatch(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "planwatch", "--home", str(home), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers and ends them: gives the role and the address of its hooks."""
    roles: list[Role] = []

    def go(home: Path, port: int | None = None) -> tuple[Role, str]:
        role, port = start_server(home, tmp_path / f"serve-{len(roles)}.log", port)
        roles.append(role)
        return role, f"http://127.0.0.1:{port}"

    yield go
    for role in roles:
        if role.process.poll() is None:
            role.signal(signal.SIGCONT)
            role.kill()


def post(url: str, body: bytes, path: str = "/hooks/crm") -> httpx.Response:
    """A signed request."""
    return httpx.post(f"{url}{path}", content=body, headers=signed(body), timeout=60)


def event_ids(log: Log) -> list[str]:
    """The event ids of all changes in a log."""
    return [row["event_id"] for entry in log.read(0, 100_000) for row in orjson.loads(entry.payload)]


def sqlite_log(home: Path) -> SqliteLog:
    return SqliteLog(home / "data" / "log.sqlite")


def test_from_hubspot_to_a_kpi(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped example: a batch signed as HubSpot signs it, and the won deal is in the revenue a moment later."""
    secret = "a-client-secret"
    monkeypatch.setenv("PLANWATCH_HUBSPOT_SECRET", secret)
    assert planwatch(tmp_path, "init", "--example", "hubspot").returncode == 0
    _, url = start(tmp_path)
    now_ms = int(time.time() * 1000)

    def deal(number: int, name: str, value: str) -> dict[str, Any]:
        common = {"eventId": number, "subscriptionId": 1, "portalId": 5, "appId": 6, "objectId": 77}
        kind = {"subscriptionType": "deal.propertyChange", "propertyName": name, "propertyValue": value}
        return {**common, **kind, "occurredAt": now_ms - 1000 + number, "attemptNumber": 0, "changeSource": "CRM"}

    today = time.strftime("%Y-%m-%d", time.gmtime())
    values = {"dealstage": "closedwon", "amount": "1234.50", "closedate": f"{today}T00:00:00Z"}
    body = json.dumps([deal(n, name, value) for n, (name, value) in enumerate(values.items())]).encode()
    timestamp = str(now_ms)
    text = f"POST{url}/hooks/hubspot".encode() + body + timestamp.encode()
    digest = hmac.digest(secret.encode(), text, hashlib.sha256)
    headers = {
        "X-HubSpot-Signature-v3": base64.b64encode(digest).decode(),
        "X-HubSpot-Request-Timestamp": timestamp,
        "Content-Type": "application/json",
    }
    answer = httpx.post(f"{url}/hooks/hubspot", content=body, headers=headers)
    assert (answer.status_code, answer.json()["quarantined"]) == (200, 0), answer.text
    rows = json.loads(planwatch(tmp_path, "query", "revenue", "--json").stdout)["rows"]
    assert [row["value"] for row in rows] == [1234.5]


def test_a_pipeline_beside_it_sees_what_comes(tmp_path: Path, start: Start) -> None:
    """`planwatch run` on the same home shows on its board what was posted before and while it runs."""
    home = make_home(tmp_path / "home")
    _, url = start(home)
    assert post(url, event(1)).status_code == 200

    def shows(board: str, deal: str) -> bool:
        return deal in httpx.get(f"{board}/?period=2023").text

    command = [sys.executable, "-m", "planwatch", "--home", str(home), "run", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        try:
            assert running.stdout is not None
            board = running.stdout.readline().split()[-1]
            wait_for(lambda: shows(board, "Deal 1"), "the first deal is on the board")
            assert post(url, event(2)).status_code == 200
            wait_for(lambda: shows(board, "Deal 2"), "the second is there too")
        finally:
            running.terminate()


def test_two_servers_on_one_log(tmp_path: Path, start: Start) -> None:
    """Servers side by side append in turns: nothing is lost and nothing twice."""
    home = make_home(tmp_path / "home")
    urls = [start(home)[1] for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: post(urls[number % 2], event(number)).status_code, range(1, 61)))
    assert answers == [200] * 60
    assert sorted(event_ids(sqlite_log(home))) == sorted(event_id(number) for number in range(1, 61))


def test_a_log_that_is_locked(tmp_path: Path, start: Start) -> None:
    """Another process holds the log: 503 with Retry-After and not ready; once it lets go, it goes on by itself."""
    home = make_home(tmp_path / "home", {"request_timeout_s": 1})
    role, url = start(home)
    assert post(url, event(1)).status_code == 200
    with closing(sqlite3.connect(home / "data" / "log.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = post(url, event(2))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        wait_for(lambda: not role.ready, "it is not ready")
        assert post(url, event(3)).status_code == 503
    role.wait_ready()
    assert post(url, event(4)).status_code == 200
    assert {event_id(1), event_id(4)} <= set(event_ids(sqlite_log(home)))


def test_secrets_and_bodies_are_not_logged(tmp_path: Path, start: Start) -> None:
    """What was refused is in the quarantine, and the log names it without its bytes; no secret stands anywhere in it."""
    home = make_home(tmp_path / "home")
    role, url = start(home)
    assert post(url, b'{"private": "words"').json()["quarantined"] == 1
    headers = {"authorization": "Bearer abc-def"}
    assert httpx.post(f"{url}/hooks/crm", content=b"private", headers=headers).status_code == 401
    assert role.metric("planwatch_hook_requests_total") == 2
    assert role.metric("planwatch_hook_signatures_refused_total") == 1
    assert role.stop() == 0
    said = role.log.read_text()
    assert "bad_json" in said
    assert "version_not_allowed" in said
    for hidden in ("private", "words", "abc-def", "bXkga2V5"):
        assert hidden not in said
    refused = json.loads(planwatch(home, "quarantine", "list", "--json").stdout)
    assert "bad_json" in json.dumps(refused)


def test_sigterm_under_load(tmp_path: Path) -> None:
    """It stops in the middle of a load and ends with 0; every 2xx that was given is in the log, once."""
    home = make_home(tmp_path / "home")
    server = hook_load.Server(home)
    codes: list[int] = []
    stop = hook_load.run_until_stopped(server.port, 50, 200, lambda: codes.append(server.role.stop()))
    load = asyncio.run(stop)
    assert codes == [0], server.role.tail()
    verdict = hook_load.judge(load, sqlite_log(home))
    assert verdict.accepted >= 200
    assert verdict.good, verdict


class TestLoad:
    """The share of `python -m tests.simulation.hook_load` that is always run."""

    def test_embedded(self, tmp_path: Path) -> None:
        """200 senders on a small queue, two kills: 2xx are in the log exactly once, all others are told to come again."""
        home = make_home(tmp_path / "home", {"queue_requests_max": 40})
        load, verdict = hook_load.campaign(home, lambda: sqlite_log(home), 200, 5, 2)
        assert verdict.accepted
        assert load.of(429)
        assert verdict.good, verdict

    def test_kafka(self, tmp_path: Path, kafka: KafkaServer, prefix: str) -> None:
        """The same on a broker."""
        with hook_load.kafka_settings(tmp_path, kafka, prefix) as (settings, log):
            home = make_home(tmp_path / "home", {"queue_requests_max": 40}, **settings)
            _, verdict = hook_load.campaign(home, lambda: log, 200, 5, 1)
        assert verdict.accepted
        assert verdict.good, verdict


def test_from_the_wire_to_a_kpi_through_kafka(tmp_path: Path, kafka: KafkaServer, prefix: str, start: Start) -> None:
    """The same requests to an embedded home and to one on a broker: the folds of both logs export the same bytes."""
    requests = [event(number, 10 * number) for number in range(1, 30)] + [b"{", event(5, 50)]
    with hook_load.kafka_settings(tmp_path, kafka, prefix) as (settings, log):
        homes = [make_home(tmp_path / "embedded"), make_home(tmp_path / "stack", **settings)]
        for home in homes:
            role, url = start(home)
            answers = [post(url, body).json() for body in requests]
            assert [a["accepted"] for a in answers] == [1] * 29 + [0, 1]
            assert answers[29]["quarantined"] == 1
            assert role.stop() == 0
        memory = Parts(log, MemorySeries(), MemoryJournal(), Store(Home(homes[0])).quarantine)
        stores = [Store(Home(homes[0])), Store(Home(homes[1]), None, memory)]
        first, second = (export(store.state(), store.home.catalogue(), "default") for store in stores)
    assert first == second
    rows = json.loads(planwatch(homes[0], "query", "revenue", "--json").stdout)["rows"]
    assert [row["value"] for row in rows] == [10 * 29 * 30 / 2]


def test_a_broker_that_goes_away(tmp_path: Path, kafka_factory: KafkaFactory, prefix: str, start: Start) -> None:
    """503 with Retry-After while it is away, not ready; once it is back 200 again, and every 2xx is in the log."""
    broker = kafka_factory()
    with ExitStack() as stack:
        settings, log = stack.enter_context(hook_load.kafka_settings(tmp_path, broker, prefix))
        home = make_home(tmp_path / "home", {"request_timeout_s": 3}, **settings)
        role, url = start(home)
        given: dict[int, int] = {}
        stop = threading.Event()

        def send() -> None:
            for number in range(1, 100_000):
                if stop.is_set():
                    return
                answer = post(url, event(number))
                given[number] = answer.status_code
                assert answer.status_code == 200 or int(answer.headers["retry-after"]) >= 1

        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send)
            stack.callback(stop.set)
            wait_for(lambda: len(given) > 20, "some were taken")
            broker.kill()
            wait_for(lambda: 503 in given.values(), "it says that it cannot write")
            wait_for(lambda: not role.ready, "it is not ready")
            assert set(given.values()) == {200, 503}
            broker.start()
            role.wait_ready()
            before = len(given)
            wait_for(lambda: [given[n] for n in list(given)[before:]].count(200) > 20, "it takes requests again")
            stop.set()
            sending.result(30)
        found = event_ids(log)
    assert {event_id(n) for n, status in given.items() if status == 200} <= set(found)


def test_it_begins_while_the_broker_is_away(tmp_path: Path, kafka_factory: KafkaFactory, prefix: str) -> None:
    """Not ready, 503, and ready by itself once the broker answers."""
    broker = kafka_factory()
    with hook_load.kafka_settings(tmp_path, broker, prefix) as (settings, log):
        home = make_home(tmp_path / "home", {"port": 0}, **settings)
        broker.stop()
        role = Role(home, ["serve"], tmp_path / "serve.log")
        try:
            url = wait_for(lambda: _printed(role), "it listens")
            assert post(url, event(1)).status_code == 503
            assert not role.ready
            broker.start()
            role.wait_ready()
            assert post(url, event(2)).status_code == 200
        finally:
            assert role.stop() == 0
        assert event_id(2) in event_ids(log)


def _printed(role: Role) -> str | None:
    """The address that a server has printed."""
    lines = [line for line in role.log.read_text().splitlines() if line.startswith("Hook: ")]
    return lines[0].split()[1].partition("/hooks/")[0] if lines else None
