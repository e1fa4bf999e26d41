"""The story as CloudEvents 1.0: structured, in batches, and binary over HTTP and Kafka."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.doors import story
from tests.doors.story import Step
from tests.doors.wire import NONE, SECRET, Message, Messages, Wire, standard_webhooks

MAPPING = """events:
  - match: {type: com.example.crm.rep.*}
    entity: rep
    id: "@subject"
    fields: {name: name}
  - match: {type: com.example.crm.account.*}
    entity: account
    id: "@subject"
    fields: {name: name, segment: segment}
  - match: {type: com.example.crm.deal.*, source: /crm/*}
    entity: opportunity
    id: "@subject"
    op:
      column: "@type"
      values:
        com.example.crm.deal.created: create
        com.example.crm.deal.deleted: delete
        com.example.crm.deal.restored: undelete
    fields:
      name: name
      stage: stage
      amount: terms.amount
      owner: owner
      account: account
      close_date: closes
      created_date: created
"""
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


def attributes(step: Step) -> dict[str, str]:
    """The context attributes."""
    return {
        "specversion": "1.0",
        "id": f"{step.record}-{step.what}-{step.ms}",
        "source": "/crm/europe",
        "type": f"com.example.crm.{step.kind}.{step.what}",
        "subject": step.record,
        "time": step.iso,
    }


def data(step: Step) -> dict[str, Any]:
    """The event's data: what changed."""
    told: dict[str, Any] = dict(step.fields)
    if "amount" in told:
        told["terms"] = {"amount": told.pop("amount"), "currency": "USD"}
    if step.what == "created" and step.kind == "deal":
        told["created"] = step.iso
    return told


def event(step: Step) -> dict[str, Any]:
    """The event in the JSON format."""
    return {**attributes(step), "datacontenttype": "application/json", "data": data(step)}


def structured(step: Step) -> Message:
    """The whole event as the body."""
    return Message(json.dumps(event(step)).encode(), step.record.encode(), {"content-type": STRUCTURED})


def binary(prefix: str) -> Callable[[Step], Message]:
    """The data as the body, the attributes in headers: `ce-` over HTTP, `ce_` over Kafka."""

    def told(step: Step) -> Message:
        headers = {f"{prefix}{name}": text for name, text in attributes(step).items()}
        body = json.dumps(data(step)).encode()
        return Message(body, step.record.encode(), {**headers, "content-type": "application/json; charset=utf-8"})

    return told


def batch(steps: Sequence[Step]) -> Message:
    """Events as an array: there is no such thing over Kafka."""
    return Message(json.dumps([event(step) for step in steps]).encode(), None, {"content-type": BATCH})


def _each(told: Callable[[Step], Message]) -> Messages:
    return [told(step) for step in story.FIRST], [told(step) for step in story.THEN]


def _wire(messages: Messages, records: Messages = NONE) -> Wire:
    return Wire(
        "cloudevents",
        "ada",
        (11, 1, 1),
        settings={"mapping": "mapping.yaml", "hook": {"secret_file": "hook.secret"}},
        beside={"mapping.yaml": MAPPING, "hook.secret": f"{SECRET}\n"},
        messages=messages,
        records=records,
        sign=standard_webhooks("msg"),
    )


def by_structure() -> Wire:
    """By request, and through a topic."""
    return _wire(_each(structured), _each(structured))


def by_headers() -> Wire:
    """The same in the binary mode."""
    return _wire(_each(binary("ce-")), _each(binary("ce_")))


def by_batch() -> Wire:
    """Two batches; the bad event stands among good ones in the second."""
    return _wire(([batch(story.FIRST)], [batch([story.LATE, story.BAD, story.WON])]))
