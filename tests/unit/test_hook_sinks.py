"""What was received in the log and quarantine of its tenant, and what is written to see whether writing works again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from ingest.door import Refused, refuse
from ingest.hook_sinks import StoreSink, Taken
from ingest.quarantine import decode_refused
from ingest.topic_quarantine import quarantine_record
from ingest.values import Bad
from planwatch.home import Home
from planwatch.serving import bounded
from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig
from storage.memory import MemoryLog
from tests.unit.hook_samples import hook


class Refusals:
    """Keeps refusals, or cannot."""

    def __init__(self) -> None:
        self.kept: list[Refused] = []
        self.broken = False

    def add(self, refused: Sequence[Refused]) -> int:
        if self.broken:
            raise PlanwatchError("the disk is full.")
        self.kept += refused
        return len(refused)


class Stores:
    """A sink over two tenants."""

    def __init__(self) -> None:
        self.logs = {name: MemoryLog() for name in ("acme", "bolt")}
        self.refusals = {name: Refusals() for name in self.logs}
        self.sink = StoreSink({name: (self.logs[name], self.refusals[name]) for name in self.logs})

    def messages(self, tenant: str) -> list[list[int]]:
        """The numbers in each message of a tenant."""
        return [orjson.loads(entry.payload) for entry in self.logs[tenant].read(0)]


def taken(tenant: str, numbers: Sequence[int], refused: int = 0) -> Taken:
    """Changes that are but numbers here, and so many refusals."""
    context = hook(tenant).taking.context
    items = [refuse(context, "hooks/crm", n + 1, b"x", Bad("bad_json", "no JSON")) for n in range(refused)]
    return Taken(context, 1, [str(number).encode() for number in numbers], items)


def test_all_requests_of_a_tenant_are_one_message() -> None:
    """In their order, up to 500 changes in each; what was refused is in that tenant's quarantine."""
    stores = Stores()
    stores.sink.write([taken("acme", [1]), taken("bolt", [2], 1), taken("acme", range(3, 600), 2)])
    assert stores.messages("acme") == [[1, *range(3, 502)], list(range(502, 600))]
    assert stores.messages("bolt") == [[2]]
    assert [len(stores.refusals[name].kept) for name in ("acme", "bolt")] == [2, 1]


def test_a_probe_writes_what_could_not_be_written() -> None:
    """A refusal that the quarantine did not take is what it is asked again; no empty message gets into the log."""
    stores = Stores()
    stores.sink.probe()  # nothing to look at yet
    quarantine = stores.refusals["bolt"]
    quarantine.broken = True
    for _ in range(2):
        with pytest.raises(PlanwatchError, match="full"):
            stores.sink.write([taken("acme", [1]), taken("bolt", [], 3)])
        with pytest.raises(PlanwatchError, match="full"):
            stores.sink.probe()
    quarantine.broken = False
    stores.sink.probe()
    assert [item.position for item in quarantine.kept] == [1]
    stores.sink.probe()
    assert len(quarantine.kept) == 1
    assert stores.messages("bolt") == []


def test_a_probe_writes_changes_too() -> None:
    """Where the changes are what could not be written, one message of them is; coming again they change nothing."""
    stores = Stores()
    stores.refusals["acme"].broken = True
    with pytest.raises(PlanwatchError, match="full"):
        stores.sink.write([taken("acme", [1, 2], 1)])
    assert stores.messages("acme") == []
    stores.refusals["acme"].broken = False
    stores.sink.probe()
    assert stores.messages("acme") == [[1, 2]]


def test_a_body_is_never_larger_than_what_the_quarantine_keeps(tmp_path: Path) -> None:
    """Where the topic takes less than the server's own bound, the server takes less: what it answers 200 is kept whole."""
    small = {"kafka": {"message_bytes_max": 1 << 16}, "serve": {"body_bytes_max": 1 << 20}}
    (tmp_path / "planwatch.yaml").write_text(json.dumps(small))
    most = bounded(Home(tmp_path)).body_bytes_max
    assert most == 36_864
    whole = Refused("hs", "hooks/hs", 0, b"x" * most, "bad_json", "no JSON")
    record = quarantine_record(KafkaConfig(message_bytes_max=1 << 16), "acme", whole)
    assert decode_refused(record.value).payload == whole.payload
    assert record.value is not None
    assert len(record.value) < 1 << 16
    (tmp_path / "planwatch.yaml").write_text(json.dumps({"serve": {"body_bytes_max": 4096}}))
    assert bounded(Home(tmp_path)).body_bytes_max == 4096
