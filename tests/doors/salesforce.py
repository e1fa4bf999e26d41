"""The story as Salesforce tells it: Change Data Capture by the Streaming API, gaps, and Bulk API files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from tests.doors import story
from tests.doors.story import ROWS, Step
from tests.doors.wire import Message, Wire

IDS = {
    "ada": "0058d000001AbCdAAK",
    "northwind": "0018d00000XyZaBAAV",
    "rack": "0068d00000AaAaAAAX",
    "cloud": "0068d00000BbBbBAAX",
    "support": "0068d00000CcCcCAAX",
    "bad": "0068d00000DdDdDAAX",
}
OBJECTS = {"rep": "User", "account": "Account", "deal": "Opportunity"}
NAMES = {
    "name": "Name",
    "segment": "Industry",
    "stage": "StageName",
    "amount": "Amount",
    "owner": "OwnerId",
    "account": "AccountId",
    "closes": "CloseDate",
}
CHANGE_TYPES = {"created": "CREATE", "changed": "UPDATE", "deleted": "DELETE", "restored": "UNDELETE"}


def commit(step: Step) -> int:
    """The commit's number: it grows with time."""
    return 10_585_000_000_000 + step.ms // 1000


def fields_of(step: Step) -> dict[str, Any]:
    """The fields that an event holds: of a restored record all that it has, else those that changed."""
    told = (ROWS[step].after or {}) if step.what == "restored" else step.fields
    fields: dict[str, Any] = {NAMES[name]: IDS.get(value, value) for name, value in told.items()}
    if step is not story.BAD and "Amount" in fields:
        fields["Amount"] = float(fields["Amount"])
    if step.what == "created" and step.kind == "deal":
        fields["CreatedDate"] = step.at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return fields


def header(step: Step, **more: Any) -> dict[str, Any]:
    """The ChangeEventHeader."""
    return {
        "entityName": OBJECTS[step.kind],
        "recordIds": [IDS[step.record]],
        "changeType": CHANGE_TYPES[step.what],
        "changeOrigin": "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/",
        "transactionKey": f"000{step.ms:x}-aaaa-bbbb-cccc-0123456789ab",
        "sequenceNumber": 1,
        "commitTimestamp": step.ms,
        "commitNumber": commit(step),
        "commitUser": IDS["ada"],
        "nulledFields": [],
        "diffFields": [],
        "changedFields": [*fields_of(step), "LastModifiedDate"] if step.what == "changed" else [],
        **more,
    }


def message(body: Mapping[str, Any], step: Step) -> Message:
    """As a line of a file, and as a record of a topic under the record's id."""
    return Message(json.dumps(body).encode(), IDS[step.record].encode())


def streamed(step: Step, gap: bool = False) -> Message:
    """The message of the Streaming API. `gap`: Salesforce could not say what changed."""
    fields, more = ({}, {"changeType": "GAP_UPDATE", "changedFields": []}) if gap else (fields_of(step), {})
    payload = {"ChangeEventHeader": header(step, **more), **fields}
    event = {"schema": "IeRuaY6cbI_HsV8Rv1Mc5g", "payload": payload, "event": {"replayId": step.ms // 1000}}
    return message(event, step)


def row(step: Step) -> dict[str, str]:
    """A deal as a whole, as the REST API and Bulk API files have it after a step."""
    after = {NAMES[name]: IDS.get(value, value) for name, value in (ROWS[step].after or {}).items()}
    created = next(s for s in story.FIRST if s.record == step.record)
    times = {"CreatedDate": created, "SystemModstamp": step, "LastModifiedDate": step}
    return {
        "Id": IDS[step.record],
        **after,
        **{name: when.at.strftime("%Y-%m-%dT%H:%M:%S.000Z") for name, when in times.items()},
    }


def streaming() -> Wire:
    """Every event as the Streaming API has it."""
    sent = ([streamed(step) for step in story.FIRST], [streamed(step) for step in story.THEN])
    return Wire("salesforce", IDS["ada"], (11, 1, 1), messages=sent, records=sent)


def gaps() -> Wire:
    """Of the winning Salesforce says only that something changed: the record is fetched."""

    def told(step: Step) -> Message:
        return streamed(step, gap=step is story.WON)

    sent = ([told(step) for step in story.FIRST], [told(step) for step in story.THEN])
    won = row(story.WON)
    crm = {"Opportunity": {won["Id"]: {**won, "Amount": 12500.5, "Probability": 100}}}
    return Wire("salesforce", IDS["ada"], (12, 1, 1), messages=sent, records=sent, crm=crm)


def bulk() -> Wire:
    """The last two events were lost: a Bulk API file, taken in twice, tells what they were about."""
    lost = (story.WON, story.LOST)
    first = [streamed(step) for step in story.FIRST if step not in lost]
    then = [streamed(step) for step in (story.LATE, story.RESTORED, story.BAD)]
    text = io.StringIO()
    rows = [row(step) for step in (*lost, story.RESTORED)]
    table = csv.DictWriter(text, rows[0].keys(), quoting=csv.QUOTE_ALL, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    file = {"Opportunity.csv": text.getvalue()}
    return Wire("salesforce", IDS["ada"], (12, 4, 1), messages=(first, then), records=(first, then), files=[file, file])
