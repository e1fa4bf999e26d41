"""What a vendor's systems send for the story, and how it reaches us."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: The secret that senders of webhooks share with us.
SECRET = "whsec_bXkga2V5IGlzIG5vIHNlY3JldCBoZXJlIQ=="


class Message(NamedTuple):
    """One request, line or record of a topic; without a value a record is a tombstone."""

    value: bytes | None
    key: bytes | None = None
    headers: Mapping[str, str] = {}


#: What comes at first, and what comes when that is there.
Messages = tuple[Sequence[Message], Sequence[Message]]
Files = Mapping[str, str]  # name → text
#: The headers by which a request proves itself, from its address and body.
Sign = Callable[[str, bytes], dict[str, str]]
NONE: Messages = ((), ())


@dataclass(frozen=True)
class Wire:
    """The story as one kind of source tells it.

    `counts` are what becomes of the changes (applied, duplicate, stale), and `code` why the bad one is refused.
    """

    kind: str
    rep: str  # the rep's id
    counts: tuple[int, int, int]
    code: str = "bad_number"
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the source, beside its kind
    beside: Files = field(default_factory=dict)  # configuration files: path in the home → text
    messages: Messages = NONE  # by request where they are signed, else as lines of files
    records: Messages = NONE  # what comes through a topic, where one is used
    sign: Sign | None = None
    files: Sequence[Files] = ()  # what is taken in after that, group by group
    folder: bool = False  # the files are put into a watched folder
    crm: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)  # what can be fetched, by object


def standard_webhooks(message_id: str) -> Sign:
    """Standard Webhooks: HMAC-SHA256 of ID.TIMESTAMP.BODY under the key that the secret holds in base64."""

    def sign(_: str, body: bytes) -> dict[str, str]:
        key, seconds = base64.b64decode(SECRET.removeprefix("whsec_")), str(int(time.time()))
        identity = f"{message_id}_{hashlib.sha256(body).hexdigest()[:16]}"
        signed = b".".join((identity.encode(), seconds.encode(), body))
        signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return {"webhook-id": identity, "webhook-timestamp": seconds, "webhook-signature": f"v1,{signature}"}

    return sign


def hubspot_v3(address: str, body: bytes) -> dict[str, str]:
    """HubSpot's third signature: HMAC-SHA256 of method, address, body and milliseconds under the client secret."""
    now = str(time.time_ns() // 1_000_000)
    signed = b"POST" + address.encode() + body + now.encode()
    signature = base64.b64encode(hmac.digest(SECRET.encode(), signed, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "X-HubSpot-Signature-v3": signature,
        "X-HubSpot-Request-Timestamp": now,
    }
