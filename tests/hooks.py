"""Senders of webhooks, for tests: a home with a hook, signed requests, and a server as a process."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from schemas import standard_webhooks
from tests.stack import Role, free_port

SECRET = "whsec_bXkga2V5IGlzIG5vIHNlY3JldCBoZXJlIQ=="
STAGES = [{"name": "Open", "kind": "open", "probability": 40}, {"name": "Won", "kind": "won"}]


def make_home(path: Path, serve: Mapping[str, Any] | None = None, **settings: Any) -> Path:
    """A home with one source `crm` of kind salesforce that is called, its secret in a file."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "crm.secret").write_text(f"{SECRET}\n")
    document: dict[str, Any] = {
        "time": "log",
        "stages": STAGES,
        "sources": {"crm": {"kind": "salesforce", "hook": {"secret_file": "crm.secret"}}},
        "serve": dict(serve or {}),
        **settings,
    }
    YAML().dump(document, path / "planwatch.yaml")
    return path


def event(number: int, amount: int = 100) -> bytes:
    """A won deal as a change event of Salesforce; its id in the log is `event_id(number)`."""
    header = {
        "entityName": "Opportunity",
        "recordIds": [f"D{number}"],
        "changeType": "CREATE",
        "transactionKey": f"T{number}",
        "sequenceNumber": 1,
        "commitNumber": number,
        "commitTimestamp": 1_700_000_000_000 + number,
    }
    fields = {"Name": f"Deal {number}", "StageName": "Won", "Amount": amount, "CloseDate": "2023-11-15"}
    return json.dumps({"ChangeEventHeader": header, **fields}).encode()


def event_id(number: int) -> str:
    """The id that the door gives to `event(number)`."""
    return f"T{number}:1:D{number}"


def signed(body: bytes, message_id: str = "msg_1", secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """Headers by which the Standard Webhooks scheme proves a body."""
    seconds = int(time.time() if at is None else at)
    key = standard_webhooks.signing_key(secret.encode())
    assert key is not None
    signature = standard_webhooks.signature(key, message_id.encode(), seconds, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature.decode(),
        "content-type": "application/json",
    }


def raw_request(body: bytes, path: str = "/hooks/crm", headers: Mapping[str, str] | None = None) -> bytes:
    """A signed POST as bytes."""
    given = {"host": "x", "content-length": str(len(body)), **signed(body), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def start_server(home: Path, log: Path, port: int | None = None) -> tuple[Role, int]:
    """`planwatch serve` on a home, ready, and the port of its hooks."""
    port = port or free_port()
    role = Role(home, ["serve", "--port", str(port)], log)
    role.wait_ready()
    return role, port
