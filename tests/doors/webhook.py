"""The story as a system of one's own tells it: webhooks signed by the Standard Webhooks scheme."""

from __future__ import annotations

import json
from typing import Any

from tests.doors import story
from tests.doors.story import Step
from tests.doors.wire import SECRET, Message, Wire, standard_webhooks

MAPPING = """events:
  - match: {type: rep.*}
    entity: rep
    id: data.id
    time: timestamp
    fields: {name: data.name}
  - match: {type: account.*}
    entity: account
    id: data.id
    time: timestamp
    fields: {name: data.name, segment: data.segment}
  - match: {type: deal.*}
    entity: opportunity
    id: data.id
    time: timestamp
    op: {column: type, values: {deal.created: create, deal.deleted: delete, deal.restored: undelete}}
    fields:
      name: data.name
      stage: data.stage
      amount: {column: data.amount_cents, factor: 0.01}
      owner: data.owner.id
      account: data.account.id
      close_date: data.closes
      created_date: data.created
"""


def request(step: Step) -> Message:
    """A request: type, timestamp and data, as the scheme recommends."""
    told: dict[str, Any] = {"id": step.record, **step.fields}
    for name in ("owner", "account"):
        if name in told:
            told[name] = {"id": told[name]}
    if "amount" in told:
        amount = told.pop("amount")
        told["amount_cents"] = amount if step is story.BAD else round(float(amount) * 100)
    if step.what == "created" and step.kind == "deal":
        told["created"] = step.iso
    body = {"type": f"{step.kind}.{step.what}", "timestamp": step.iso, "data": told}
    return Message(json.dumps(body).encode(), None, {"content-type": "application/json"})


def webhooks() -> Wire:
    """A request for each step."""
    return Wire(
        "webhook",
        "ada",
        (11, 1, 1),
        settings={"mapping": "mapping.yaml", "hook": {"secret_file": "hook.secret"}},
        beside={"mapping.yaml": MAPPING, "hook.secret": f"{SECRET}\n"},
        messages=([request(step) for step in story.FIRST], [request(step) for step in story.THEN]),
        sign=standard_webhooks("msg"),
    )
