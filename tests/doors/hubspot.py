"""The story as HubSpot tells it: batches of webhook events, one for each property, with signature v3."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from tests.doors import story
from tests.doors.story import Step, milliseconds
from tests.doors.wire import SECRET, Message, Wire, hubspot_v3

IDS = {"ada": 41_629_779, "northwind": 9_001, "rack": 1_246_965, "cloud": 1_246_966, "support": 1_246_967, "bad": 7}
OBJECTS = {"account": "company", "deal": "deal"}
PROPERTIES = {"name": "dealname", "stage": "dealstage", "amount": "amount", "owner": "hubspot_owner_id"}
#: Stages have internal names.
STAGES = {
    "Prospecting": "appointmentscheduled",
    "Proposal": "presentationscheduled",
    "Won": "closedwon",
    "Lost": "closedlost",
}
MAPPING = "aliases:\n  stage:\n" + "".join(f"    {theirs}: {ours}\n" for ours, theirs in STAGES.items())
ACTIONS = {"deleted": "deletion", "restored": "restore"}


def event(step: Step, action: str, attempt: int, **more: Any) -> dict[str, Any]:
    """What is in every event."""
    kind = f"{OBJECTS[step.kind]}.{action}"
    said = f"{kind} {more.get('propertyName')}"
    return {
        "eventId": step.ms // 1000 % 10_000_000,
        "subscriptionId": zlib.crc32(said.encode()) % 10_000_000,
        "portalId": 62_515,
        "appId": 1_160_452,
        "occurredAt": step.ms,
        "subscriptionType": kind,
        "attemptNumber": attempt,
        "changeSource": "CRM_UI",
        **({} if action == "associationChange" else {"objectId": IDS[step.record]}),
        **more,
    }


def events(step: Step, attempt: int = 0) -> Iterator[dict[str, Any]]:
    """The events of a step: HubSpot has none with several properties. Owners have no events."""
    if step.kind == "rep":
        return
    if step.what in ACTIONS:
        yield event(step, ACTIONS[step.what], attempt)
    if step.what == "created" and step is not story.BAD:
        yield event(step, "creation", attempt)
    for name, value in step.fields.items():
        if step is story.BAD and name != "amount":
            continue
        if name == "account":
            more = {"fromObjectId": IDS[step.record], "toObjectId": IDS[value], "isPrimaryAssociation": True}
            associated = {"associationType": "DEAL_TO_COMPANY", "associationRemoved": False}
            yield event(step, "associationChange", attempt, **more, **associated)
        else:
            theirs, text = written(step, name, value)
            yield event(step, "propertyChange", attempt, propertyName=theirs, propertyValue=text)


def written(step: Step, name: str, value: str) -> tuple[str, str]:
    """A property and its value, which is text whatever it means."""
    if step.kind == "account":
        return {"segment": "industry"}.get(name, name), value
    if name == "closes":
        return "closedate", str(milliseconds(value))
    return PROPERTIES[name], STAGES.get(value, str(IDS.get(value, value)))


def batch(steps: Sequence[Step], attempt: int = 0) -> Message:
    """A request: an array of at most a hundred events."""
    return Message(json.dumps([each for step in steps for each in events(step, attempt)]).encode())


def webhooks() -> Wire:
    """A batch for the beginning, one for each later step, and one in which the bad event stands among good ones."""
    begun = [step for step in story.FIRST if step.what == "created"]
    first = [batch(begun), *(batch([step]) for step in story.FIRST if step not in begun)]
    return Wire(
        "hubspot",
        str(IDS["ada"]),
        (32, 2, 1),
        settings={"mapping": "mapping.yaml", "hook": {"secret_file": "hook.secret"}},
        beside={"mapping.yaml": MAPPING, "hook.secret": f"{SECRET}\n"},
        messages=(first, [batch([story.LATE, story.BAD, story.WON], attempt=1)]),
        sign=hubspot_v3,
    )
