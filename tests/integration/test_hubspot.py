"""The simulated company's deals as HubSpot's webhooks, through `planwatch serve`: embedded and on a real broker."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import httpx
from ruamel.yaml import YAML

from ingest.cdc_writer import mapping_text
from ingest.simulator import Simulator
from planwatch.exporting import export
from planwatch.home import Home
from planwatch.native_servers import KafkaServer
from planwatch.store import Store
from planwatch.wiring import Parts
from processors.fold import apply
from processors.query import catalogue
from processors.state import State
from schemas.change import Change
from storage.memory import MemoryJournal, MemorySeries
from tests.hooks import start_server
from tests.hubspot_writer import OBJECTS, STAGES, bodies, signed_headers, writer_mapping
from tests.simulation import hook_load

SECRETS = ["4f3ab2c0-1111-4000-8000-0123456789ab", "9c0d7e11-2222-4000-8000-0123456789ab"]


def company() -> list[Change]:
    """What HubSpot has objects for, of the company's beginning."""
    stream = itertools.islice(Simulator(tenant="default", source="hubspot").changes(), 3_000)
    return [change for change in stream if change.entity in OBJECTS]


def make_home(path: Path, **settings: object) -> Path:
    """A home with the source `hubspot`; two secrets count, since they are being exchanged."""
    path.mkdir()
    (path / "hubspot.secret").write_text("# the new one\n" + "\n".join(SECRETS) + "\n")
    (path / "mapping.yaml").write_text(mapping_text(writer_mapping()))
    source = {"kind": "hubspot", "mapping": "mapping.yaml", "hook": {"secret_file": "hubspot.secret"}}
    document = {"time": "log", "stages": STAGES, "sources": {"hubspot": source}, **settings}
    YAML().dump(document, path / "planwatch.yaml")
    return path


def send(home: Path, log: Path, raws: list[bytes]) -> int:
    """Post every body twice, as HubSpot repeats what it is unsure of; how many events were accepted."""
    role, port = start_server(home, log)
    url, accepted = f"http://127.0.0.1:{port}/hooks/hubspot", 0
    with httpx.Client(timeout=60) as client:
        for attempt in range(2):
            for number, raw in enumerate(raws):
                secret = SECRETS[(number + attempt) % 2].encode()
                answer = client.post(
                    url, content=raw, headers=signed_headers(secret, url, raw, time.time_ns() // 1_000_000)
                )
                assert answer.status_code == 200, answer.text
                assert answer.json()["quarantined"] == 0, answer.text
                accepted += answer.json()["accepted"]
        forged = signed_headers(b"a guess", url, raws[0], time.time_ns() // 1_000_000)
        assert client.post(url, content=raws[0], headers=forged).status_code == 401
    assert role.stop() == 0
    return accepted


def test_hubspots_webhooks_give_the_companys_export(tmp_path: Path, kafka: KafkaServer, prefix: str) -> None:
    """Events and repeats of them, signed: the fold of either log exports what the company's own changes do."""
    changes = company()
    raws = list(bodies(changes, generic=True))
    state = State(Home(make_home(tmp_path / "expected")).config)
    apply(state, [change.model_dump() for change in changes])
    expected = export(state, catalogue(), "default")
    with hook_load.kafka_settings(tmp_path, kafka, prefix) as (settings, log):
        embedded, stack = make_home(tmp_path / "embedded"), make_home(tmp_path / "stack", **settings)
        counts = [send(home, tmp_path / f"{home.name}.log", raws) for home in (embedded, stack)]
        parts = Parts(log, MemorySeries(), MemoryJournal(), Store(Home(embedded)).quarantine)
        stores = [Store(Home(embedded)), Store(Home(stack), None, parts)]
        found = [export(store.state(), catalogue(), "default") for store in stores]
    assert counts[0] == counts[1] > 2 * len(changes)
    assert found == [expected, expected]
