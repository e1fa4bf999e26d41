"""HubSpot's events for tests, as its documentation shows them, and what the door makes of them."""

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
AT = 1_749_900_000_123  # 2025-06-14, milliseconds
STAGES = [{"name": "appointmentscheduled", "probability": 20}, {"name": "closedwon", "kind": "won"}]
TYPES = {"contact": "0-1", "company": "0-2", "deal": "0-3", "product": "0-7", "line_item": "0-8"}


def context(mapping: dict[str, Any] | None = None, **config: Any) -> Context:
    given = None if mapping is None else Mapping.model_validate(mapping)
    return Context("acme", "hs", Config.model_validate({"stages": STAGES, **config}), given, ManualClock(NOW))


def event(kind: str = "deal.creation", **more: Any) -> dict[str, Any]:
    """As HubSpot's documentation shows one."""
    return {
        "eventId": 3_816_279_340,
        "subscriptionId": 25,
        "portalId": 33,
        "appId": 1_160_452,
        "occurredAt": AT,
        "subscriptionType": kind,
        "attemptNumber": 0,
        "objectId": 1_246_965,
        "changeSource": "CRM",
        **more,
    }


def prop(name: str, value: Any, object: str = "deal", **more: Any) -> dict[str, Any]:
    return event(f"{object}.propertyChange", propertyName=name, propertyValue=value, **more)


def generic(given: dict[str, Any]) -> dict[str, Any]:
    """The same event by a subscription of the newer form."""
    object, _, action = given["subscriptionType"].partition(".")
    return {**given, "subscriptionType": f"object.{action}", "objectTypeId": TYPES[object]}


def take(body: Any, ctx: Context | None = None) -> list[Change | Refused]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(RECORD_DOORS["hubspot"].reader(ctx or context()).take(Received(raw), "hooks/hs", 0))


def changes(body: Any, ctx: Context | None = None) -> list[Change]:
    found = take(body, ctx)
    assert all(isinstance(item, Change) for item in found), found
    return [item for item in found if isinstance(item, Change)]


def refused(body: Any, ctx: Context | None = None) -> Refused:
    (found,) = take(body, ctx)
    assert isinstance(found, Refused)
    return found


def merge(primary: int, merged: list[int], new: int | None) -> dict[str, Any]:
    more = {} if new is None else {"newObjectId": new}
    return event("deal.merge", primaryObjectId=primary, mergedObjectIds=merged, numberOfPropertiesMoved=3, **more)


def association(kind: str, start: int, end: int, **more: Any) -> dict[str, Any]:
    prefix = kind.split("_TO_", maxsplit=1)[0].lower()
    body = event(f"{prefix}.associationChange", associationType=kind, fromObjectId=start, toObjectId=end, **more)
    return {name: value for name, value in body.items() if name != "objectId"}
