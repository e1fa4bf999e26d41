"""A small server that speaks the documented REST API of Salesforce, for contract tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.http_receiver import running

TOKEN = "00Dxx!token-that-counts"
ROOT = "/services/data/v62.0"


class SalesforceServer(ThreadingHTTPServer):
    """Records by object and id. `trouble` are answers to give instead, (status, errorCode, headers), each once."""

    daemon_threads = True

    def __init__(self, records: Mapping[str, Mapping[str, Mapping[str, Any]]], page: int = 2) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.records = {name: dict(found) for name, found in records.items()}
        self.page = page
        self.token = TOKEN
        self.trouble: list[tuple[int, str, dict[str, str]]] = []
        self.asked: list[str] = []
        self.next_url: str | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: SalesforceServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._answer(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
        elif self.server.trouble:
            status, code, headers = self.server.trouble.pop(0)
            self._answer(status, [{"message": "no", "errorCode": code}], headers)
        else:
            self._route(unquote(parts.path).removeprefix(ROOT).strip("/").split("/"), parse_qs(parts.query))

    def _route(self, path: list[str], query: dict[str, list[str]]) -> None:
        records = self.server.records
        match path:
            case ["sobjects", name, "describe"] if name in records:
                fields = {field for record in records[name].values() for field in record} | {"Id", "SystemModstamp"}
                self._answer(200, {"name": name, "fields": [{"name": field} for field in sorted(fields)]})
            case ["sobjects", name, key] if key in records.get(name, {}):
                wanted = query["fields"][0].split(",")
                self._answer(200, self._shaped(name, records[name][key], wanted))
            case ["query"]:
                words = query["q"][0].split()
                self._page(words[3], words[1].split(","), 0)
            case ["query", cursor]:
                name, fields, at = cursor.split("~")
                self._page(name, fields.split(","), int(at))
            case _:
                self._answer(404, [{"message": "not there", "errorCode": "NOT_FOUND"}])

    def _page(self, name: str, fields: list[str], at: int) -> None:
        found = list(self.server.records[name].values())
        end = at + self.server.page
        page = [self._shaped(name, record, fields) for record in found[at:end]]
        answer: dict[str, Any] = {"totalSize": len(found), "done": end >= len(found), "records": page}
        if end < len(found):
            answer["nextRecordsUrl"] = self.server.next_url or f"{ROOT}/query/{name}~{','.join(fields)}~{end}"
        self._answer(200, answer)

    @staticmethod
    def _shaped(name: str, record: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
        kept = {field: record.get(field) for field in wanted}
        return {"attributes": {"type": name, "url": f"{ROOT}/sobjects/{name}/{record['Id']}"}, **kept}

    def _answer(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serving(records: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> AbstractContextManager[SalesforceServer]:
    """The server, running."""
    return running(SalesforceServer(records))
