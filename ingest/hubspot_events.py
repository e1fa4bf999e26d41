"""HubSpot's webhook events: the body taken apart into them, and the parts of one that matter, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ingest.hubspot_fields import object_name
from ingest.values import Bad, Values, show

#: The form in which the object stands in `objectTypeId` and not in the subscription's name.
GENERIC = "object"
#: Digits of milliseconds that are within what a time can be.
_MS_DIGITS_MAX = 14


@dataclass(frozen=True)
class Event:
    """One event. `key` is the same whenever the same event comes again."""

    object: str
    action: str  # creation, propertyChange, ...
    occurred_at: int  # microseconds UTC
    key: tuple[str, str, str]  # eventId, subscriptionId, occurredAt; the first empty where there is none
    body: dict[str, Any]

    def identifier(self, name: str) -> str:
        """A record's id in the event; `Bad` when there is none."""
        found = identifier(self.body.get(name))
        if not found:
            raise Bad(
                "bad_event",
                f"{name} {show(self.body.get(name))} of the {self.object}.{self.action} event is not a record's id; "
                "send the event as HubSpot wrote it",
            )
        return found

    def identifiers(self, name: str) -> list[str]:
        """The records' ids in a list of the event; `Bad` when it is none."""
        raw = self.body.get(name)
        found = [identifier(one) for one in raw] if isinstance(raw, list) else []
        if not found or not all(found):
            raise Bad(
                "bad_event",
                f"{name} {show(raw)} of the {self.object}.{self.action} event is not a list of records' ids; "
                "send the event as HubSpot wrote it",
            )
        return list(dict.fromkeys(found))


def parse_event(body: dict[str, Any], values: Values) -> Event:
    """An event as it came, checked; `Bad` for what is none."""
    kind = body.get("subscriptionType", body.get("eventType"))
    if not isinstance(kind, str) or "." not in kind:
        raise Bad("bad_event", f"subscriptionType {show(kind)} is not of the form deal.creation; send HubSpot's events")
    prefix, _, action = kind.partition(".")
    moment = body.get("occurredAt")
    if moment is None:
        raise Bad("bad_event", f"occurredAt of the {kind} event is missing; send the event as HubSpot wrote it")
    occurred_at = values.moment(milliseconds(moment), "occurredAt")
    return Event(
        object=_object(prefix, kind, body),
        action=action,
        occurred_at=occurred_at,
        key=(identifier(body.get("eventId")), identifier(body.get("subscriptionId")), str(occurred_at // 1000)),
        body=body,
    )


def milliseconds(raw: Any) -> Any:
    """HubSpot writes times as milliseconds since 1970, in properties as text; anything else comes back as it is."""
    if isinstance(raw, str):
        text = raw.strip()
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) <= _MS_DIGITS_MAX:
            return int(text)
    return raw


def identifier(raw: Any) -> str:
    """An id, written as a number or as text; empty where there is none."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    return raw.strip() if isinstance(raw, str) else ""


def associated_company(event: Event) -> tuple[str, str | None] | None:
    """(deal, company; none when it was taken away) of an association of the two, from either side.

    None when the event is about something else, or about a company that is not the deal's primary one: of those a deal
    may have many, and HubSpot tells of the primary one in an event of its own.
    """
    ends = _ends(event)
    if set(ends) != {"deal", "company"} or event.body.get("isPrimaryAssociation") is False:
        return None
    found = dict(zip(ends, ("fromObjectId", "toObjectId"), strict=True))
    removed = event.body.get("associationRemoved") is True
    company = event.identifier(found["company"])
    return event.identifier(found["deal"]), None if removed else company


def _ends(event: Event) -> Sequence[str]:
    """The two objects of an association: by their type ids, else as in DEAL_TO_COMPANY."""
    ids = (identifier(event.body.get("fromObjectTypeId")), identifier(event.body.get("toObjectTypeId")))
    if all(ids):
        return [object_name(one) for one in ids]
    name = event.body.get("associationType")
    if not isinstance(name, str) or "_TO_" not in name.upper():
        raise Bad(
            "bad_event",
            f"associationType {show(name)} of the {event.object}.{event.action} event is not of the form "
            "DEAL_TO_COMPANY; send the event as HubSpot wrote it",
        )
    return name.lower().split("_to_", 1)


def _object(prefix: str, kind: str, body: dict[str, Any]) -> str:
    if prefix != GENERIC:
        return prefix
    type_id = identifier(body.get("objectTypeId")) or identifier(body.get("fromObjectTypeId"))
    if not type_id:
        raise Bad("bad_event", f"objectTypeId of the {kind} event is missing; send the event as HubSpot wrote it")
    return object_name(type_id)
