"""A server on a socket that takes line protocol like InfluxDB, and misbehaves as a test tells it to."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlparse


class Write(NamedTuple):
    """A request to write."""

    bucket: str
    lines: tuple[str, ...]
    token: str
    packed: bool
    at_s: float  # by the monotonic clock


class Answer(NamedTuple):
    """What it says."""

    status: int = 204
    message: str = ""
    headers: Mapping[str, str] = {}


ACCEPTED = Answer()
Judge = Callable[[Write], Answer]


class InfluxStub:
    """Stores what it accepts; a later value of a series, field and time replaces the earlier one."""

    def __init__(self) -> None:
        self.judge: Judge = lambda _: ACCEPTED
        self.writes: list[Write] = []  # all requests, in the order in which they came
        self.stored: dict[tuple[str, str, int], dict[str, str]] = {}  # bucket, series, time → field → value
        self.version = "2.7.12"
        self.health = "pass"
        self.open = threading.Event()  # while it is not set, requests hang
        self.open.set()
        self.changed = threading.Condition()
        self._port = 0
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Self:
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Be down: nobody listens, and open connections break."""
        assert self._server is not None
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.break_connections()

    def answer(self, *answers: Answer) -> None:
        """Give these answers to the next writes, and accept those after them."""
        left = list(answers)
        self.judge = lambda _: left.pop(0) if left else ACCEPTED

    def refuse(self, pattern: str) -> None:
        """Refuse a whole request when one of its lines is found by a pattern."""
        self.judge = lambda write: Answer(400, f"bad: {pattern}") if any(map_search(pattern, write.lines)) else ACCEPTED

    def wait(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until something is true of the requests so far."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout_s), f"not so after {timeout_s} s: {self.writes}"

    def values(self, bucket: str, field: str = "value") -> dict[str, str]:
        """What is stored in a bucket under a field: scope → value."""
        return {
            found[1]: fields[field]
            for (of, series, _), fields in self.stored.items()
            if of == bucket and field in fields and (found := re.search(r"scope=([^,]+)", series))
        }

    def _take(self, write: Write) -> Answer:
        self.open.wait(30)
        with self.changed:
            self.writes.append(write)
            answer = self.judge(write)
            if answer.status < 300:
                for line in write.lines:
                    series, fields, at = re.fullmatch(r"((?:\\.|[^ ])*) (.*) (-?\d+)", line, re.DOTALL).groups()  # type: ignore[union-attr]
                    held = self.stored.setdefault((write.bucket, series, int(at)), {})
                    held.update(field.split("=", 1) for field in fields.split(","))
            self.changed.notify_all()
            return answer


def map_search(pattern: str, lines: Sequence[str]) -> list[bool]:
    """Which lines a pattern is found in."""
    return [re.search(pattern, line) is not None for line in lines]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], stub: InfluxStub) -> None:
        self.stub = stub
        self._connections: list[socket.socket] = []
        super().__init__(address, _Handler)

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        self._connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is part of the play."""

    def break_connections(self) -> None:
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        packed = self.headers.get("Content-Encoding") == "gzip"
        asked = parse_qs(urlparse(self.path).query)
        assert asked["precision"] == ["us"]
        lines = (gzip.decompress(body) if packed else body).decode().split("\n")
        write = Write(asked["bucket"][0], tuple(lines), self.headers["Authorization"], packed, time.monotonic())
        answer = self.server.stub._take(write)
        text = json.dumps({"code": "x", "message": answer.message}).encode() if answer.message else b""
        self._say(answer.status, text, answer.headers)

    def do_GET(self) -> None:
        stub = self.server.stub
        if self.path == "/ping":
            self._say(204, b"", {"X-Influxdb-Version": stub.version})
        else:
            health = json.dumps({"name": "influxdb", "message": f"the engine: {stub.health}", "status": stub.health})
            self._say(200 if stub.health == "pass" else 503, health.encode(), {"Content-Type": "application/json"})

    def _say(self, status: int, text: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""
