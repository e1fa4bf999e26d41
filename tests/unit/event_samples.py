"""What the tests of the doors for events of foreign shape share: a context, and messages through a door."""

from __future__ import annotations

import json
from typing import Any

from ingest import RECORD_DOORS, Context
from ingest.door import Received, Refused
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.mapping import Mapping

NOW = 1_750_000_000_000_000
ORIGIN = "crm.deals[3]"


def context(events: list[dict[str, Any]], config: dict[str, Any] | None = None, **mapping: Any) -> Context:
    """A context whose mapping has these entries under `events`."""
    made = Mapping.model_validate({"events": events, **mapping})
    return Context("acme", "db", Config.model_validate(config or {}), made, ManualClock(NOW))


def take(
    kind: str, ctx: Context, body: Any, headers: dict[str, str] | None = None, key: Any = None
) -> list[Change | Refused]:
    """What comes out of a message through the door of a kind; a body that is not bytes is written as JSON."""
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    raw_key = key if key is None or isinstance(key, bytes) else json.dumps(key).encode()
    return list(RECORD_DOORS[kind].reader(ctx).take(Received(raw, raw_key, headers or {}), ORIGIN, 41))


def one(taken: list[Change | Refused]) -> Change:
    """The one change of a message."""
    (change,) = taken
    assert isinstance(change, Change), change
    return change


def refused(taken: list[Change | Refused]) -> Refused:
    """The one refusal of a message."""
    (item,) = taken
    assert isinstance(item, Refused), item
    return item
