"""The AsyncAPI document: it holds together, and what really goes through the topics fits it."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator, ValidationError
from ruamel.yaml import YAML

from ingest.door import Refused
from ingest.drift import Finding
from ingest.drift_journal import drift_event
from ingest.quarantine import encode_refused, identity
from ingest.simulator import Simulator
from planwatch.asyncapi import document
from schemas.alert import Alert
from schemas.events import AlertEvent, Disposition, StatusEvent
from schemas.message import encode_changes
from schemas.stack import KafkaConfig
from schemas.status import Landing, Reason, TargetStatus
from storage.kafka_topics import wanted

DOCUMENT = YAML(typ="safe").load(document())


def resolved(pointer: str) -> Any:
    node = DOCUMENT
    for part in pointer.removeprefix("#/").split("/"):
        node = node[part]
    return node


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def check(message: str, value: bytes) -> None:
    payload = DOCUMENT["components"]["messages"][message]["payload"]
    Draft202012Validator({**payload, "components": DOCUMENT["components"]}).validate(orjson.loads(value))


STATUS = TargetStatus(
    kpi="revenue",
    dimension="company",
    scope="",
    scope_name="Company",
    period="2026-Q1",
    period_start="2026-01-01",
    period_end="2026-03-31",
    unit="money",
    currency="USD",
    direction="up",
    as_of=1,
    target=Decimal("100.50"),
    actual=None,
    expected=Decimal(3),
    attainment=None,
    gap=None,
    coverage=None,
    landing=Landing(p10=Decimal(1), p50=Decimal(2), p90=Decimal(3)),
    probability=Decimal("0.5"),
    elapsed=Decimal("0.1"),
    status="on_track",
    reasons=(Reason(name="slipped", text="A deal slipped."),),
)
ALERT = Alert(
    id="a|b",
    rule="r",
    kind="target_at_risk",
    severity="warning",
    state="firing",
    subject="s",
    sentence="t",
    dimension="rep",
    scope="R1",
    scope_name="Ada",
    period="2026-Q1",
    kpi="revenue",
    value=Decimal("0.2"),
    threshold=None,
    pending_at=None,
    fired_at=5,
    resolved_at=None,
    updated_at=5,
    recipient="rep:R1",
)


def test_every_reference_leads_somewhere() -> None:
    """No $ref points at nothing, and every schema is used."""
    found = set(references(DOCUMENT))
    for pointer in found:
        assert resolved(pointer), pointer
    used = {pointer.rsplit("/", 1)[1] for pointer in found if "/schemas/" in pointer}
    assert used == set(DOCUMENT["components"]["schemas"])


def test_the_channels_are_the_topics() -> None:
    """Each topic is a channel with its name, and each operation sends the channel's message."""
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert [channel["address"] for channel in DOCUMENT["channels"].values()] == [t.name for t in wanted(KafkaConfig())]
    for operation in DOCUMENT["operations"].values():
        assert operation["messages"][0]["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")
    changes = DOCUMENT["channels"]["changes"]["bindings"]["kafka"]["topicConfiguration"]
    assert (changes["retention.ms"], changes["cleanup.policy"]) == (-1, ["delete"])


def test_what_is_sent_fits() -> None:
    """A log message, both events and a refusal, as they are encoded, are valid by the document's own schemas."""
    check("Changes", encode_changes(itertools.islice(Simulator().changes(), 300)))
    status = StatusEvent(tenant="acme", position=7, produced_at=1, status=STATUS)
    check("StatusEvent", status.model_dump_json().encode())
    assert status.key == "acme|revenue|company||2026-Q1"
    alert = AlertEvent(tenant="acme", position=7, produced_at=1, alert=ALERT)
    check("AlertEvent", alert.model_dump_json().encode())
    assert alert.key == "acme|a|b"
    refused = Refused("sf", "t[0]", 3, b"\xff", "bad_json", "why")
    check("Refusal", encode_refused(refused, "acme"))
    found = drift_event("acme", "sf", Finding("unknown_stage", "opportunity", "stage=New", "006A"), 1)
    check("DriftEvent", found.model_dump_json().encode())
    assert found.key == "acme|sf|unknown_stage|opportunity|stage=New"
    dropped = Disposition(tenant="acme", refusal=identity(refused), state="dropped", at=1, by="ada", reason="a test")
    check("Disposition", dropped.model_dump_json().encode())


def test_what_does_not_fit_is_noticed() -> None:
    """The schemas say something: a change without a version and a refusal without a tenant are no messages."""
    change = orjson.loads(encode_changes(itertools.islice(Simulator().changes(), 1)))[0]
    del change["version"]
    with pytest.raises(ValidationError, match="'version' is a required property"):
        check("Changes", orjson.dumps([change]))
    with pytest.raises(ValidationError, match="'tenant' is a required property"):
        check("Refusal", encode_refused(Refused("sf", "t[0]", 3, b"", "bad_json", "why")))
