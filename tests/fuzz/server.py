"""The webhook server over real connections: broken request lines and headers, bodies cut off or of the wrong length,
chunks, bombs, and bodies that are signed and broken.

Accounting: a request that reached its end has one answer. What is answered with 2xx is in the sink, as many changes and
refusals as the answer says; nothing else is there but what was whole when its sender went away. Whether the bytes make a
whole request says h11, fed with the same bytes.
"""

from __future__ import annotations

import http.client
import json
import logging
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import h11

from ingest import RECORD_DOORS, Context
from ingest.hook_protocol import HEAD_BYTES_MAX
from ingest.hook_server import Hook
from ingest.hook_sinks import Taken
from ingest.log_messages import Taking
from schemas.clock import SystemClock
from schemas.config import Config
from schemas.mapping import Mapping
from schemas.sources import HookConfig
from tests.fuzz.checks import TENANT, Account, Case, Target, check_refused
from tests.fuzz.event_samples import SAMPLES, Kind
from tests.fuzz.mutate import Mutator
from tests.hooks import SECRET, signed
from tests.unit.hook_samples import Served, connected, serving

BODY_BYTES_MAX, EVENTS_MAX, NESTING_MAX = 64 << 10, 50, 32
ANSWERS = frozenset({200, 400, 401, 404, 405, 408, 411, 413, 414, 415, 417, 426, 429, 431, 501, 503, 505})
SOURCES: tuple[Kind, ...] = ("salesforce", "hubspot", "cloudevents", "webhook", "debezium")
CONFIG = Config.model_validate({"tenant": TENANT, "time": "log", "stages": [{"name": "Won", "kind": "won"}]})


class Sent(NamedTuple):
    """The bytes of a connection, and whether they are one whole request or something that no server can read."""

    raw: bytes
    whole: bool


class _Errors(logging.Handler):
    """Whatever is logged as an error: a program that failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        text = f": {record.exc_info[1]!r}" if record.exc_info else ""
        self.found.append(record.getMessage().strip() + text)


def _hook(kind: Kind) -> Hook:
    mapping = SAMPLES[kind].mappings[0]
    context = Context(TENANT, kind, CONFIG, None if mapping is None else Mapping.model_validate(mapping), SystemClock())
    taking = Taking(context, RECORD_DOORS[kind].reader(context))
    return Hook(taking, HookConfig(), ("standard-webhooks",), lambda: (SECRET.encode(),))


def _body(mutator: Mutator) -> tuple[Kind, bytes]:
    kind = mutator.pick(SOURCES)
    valid = mutator.pick([one for one in SAMPLES[kind].bodies if not callable(one)])
    match mutator.chance.randrange(12):
        case 0:
            return kind, b"[" + b",".join([b"{}"] * mutator.pick((1, EVENTS_MAX, EVENTS_MAX + 1, 5_000))) + b"]"
        case 1:
            opening, closing = mutator.pick(((b"[", b"]"), (b'{"a":', b"}")))
            depth = mutator.pick((NESTING_MAX, NESTING_MAX + 1, 10_000))
            return kind, opening * depth + b"1" + closing * depth
        case 2:
            return kind, mutator.pick(
                (b"", b" ", b"null", b"[]", b"\xef\xbb\xbf[]", b'"' * 50, b"x" * (BODY_BYTES_MAX + 1))
            )
    return kind, mutator.body(
        [valid] * mutator.chance.randint(1, 3) if isinstance(valid, dict) and mutator.often(0.4) else valid
    )


def _chunked(mutator: Mutator, body: bytes) -> bytes:
    """A body in chunks whose sizes may be wrong, whose end may be missing."""
    found = bytearray()
    at = 0
    while at < len(body):
        part = body[at : at + mutator.chance.randint(1, 1_000)]
        at += len(part)
        size = (
            f"{len(part):x}"
            if mutator.often(0.97)
            else mutator.pick(("-1", "g", "f" * 20, "", "0x5", "5;a=b", f"{len(part) + 9:x}"))
        )
        found += size.encode() + b"\r\n" + part + b"\r\n"
    found += mutator.pick((b"0\r\n\r\n",) * 6 + (b"", b"0\r\n", b"0\r\nTrailer: x\r\n\r\n"))
    return bytes(found)


def _request(mutator: Mutator) -> bytes:
    kind, body = _body(mutator)
    headers: list[tuple[str, str]] = [("host", "x"), ("connection", "close"), *signed(body).items()]
    if mutator.often(0.1):
        body = mutator.raw(body)  # after it was signed
    if kind == "cloudevents":
        headers += [(name, text) for name, text in mutator.pick(SAMPLES[kind].headers).items() if text.isascii()]
    framing = mutator.chance.random()
    wire = body
    if framing < 0.75:
        headers.append(("content-length", str(len(body))))
    elif framing < 0.9:
        headers.append(("transfer-encoding", "chunked"))
        wire = _chunked(mutator, body)
    else:
        headers.append(
            (
                "content-length",
                mutator.pick(("0", "-1", "x", "", "1e3", str(len(body) + 7), str(len(body) // 2), "9" * 30, "1, 2")),
            )
        )
    for _ in range(mutator.chance.randrange(3)):
        at = mutator.chance.randrange(len(headers))
        match mutator.chance.randrange(6):
            case 0:
                del headers[at]
            case 1:
                headers.append(headers[at])
            case 2:
                headers[at] = (headers[at][0], mutator.text(headers[at][1])[:200])
            case 3:
                headers.append(mutator.pick((("expect", "100-continue"), ("content-encoding", "gzip"), ("upgrade", "websocket"),
                    ("transfer-encoding", "gzip, chunked"), ("x-long", "x" * mutator.pick((1_000, HEAD_BYTES_MAX, 100_000))))))  # fmt: skip
            case 4:
                headers += [(f"x-{number}", "y") for number in range(mutator.pick((10, 200, 3_000)))]
            case _:
                headers[at] = (mutator.text(headers[at][0])[:100], headers[at][1])
        if not headers:
            break
    method = (
        "POST"
        if mutator.often(0.95)
        else mutator.pick(("GET", "PUT", "CONNECT", "HEAD", "OPTIONS", "post", "", "P OST"))
    )
    path = f"/hooks/{kind}" if mutator.often(0.92) else mutator.pick(
        ("/hooks/", "/hooks/none", "/hooks/%00", f"/hooks/{TENANT}/{kind}", f"//hooks/{kind}", "*", "http://x/hooks/webhook", "/" + "a" * 20_000, "")
    )  # fmt: skip
    version = "HTTP/1.1" if mutator.often(0.96) else mutator.pick(("HTTP/1.0", "HTTP/2.0", "HTTP/9", "", "SPDY"))
    lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + wire


def make(mutator: Mutator) -> Sent:
    """The bytes of a connection."""
    raw = _request(mutator)
    if mutator.often(0.15):
        raw = mutator.raw(raw)
    if mutator.often(0.06):
        raw = raw[: mutator.chance.randrange(len(raw) + 1)]
    if mutator.often(0.03):
        raw += _request(mutator)
    return Sent(raw, _is_whole(raw))


def _is_whole(raw: bytes) -> bool:
    """Whether a server has no reason to wait for more: a request at its end, or what is none."""
    if not raw:
        return False  # to h11 it would be the end of the connection
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
    try:
        reader.receive_data(raw)
        while (event := reader.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                return True
    except h11.RemoteProtocolError:
        return True
    return False


def _exchange(port: int, sent: Sent) -> tuple[int, bytes] | None:
    """The first answer on a connection; none where it ended without one."""
    with connected(port) as connection:
        try:
            connection.sendall(sent.raw)
            if not sent.whole:
                connection.shutdown(socket.SHUT_WR)
            answer = http.client.HTTPResponse(connection, method="HEAD" if sent.raw.startswith(b"HEAD ") else None)
            answer.begin()
            return answer.status, answer.read()
        except (ConnectionError, http.client.BadStatusLine):  # it may close while it is still being told
            return None


def _check(served: Served, errors: _Errors, sent: Sent) -> Account:
    before = len(served.sink.taken)
    answer = _exchange(served.port, sent)
    found, errors.found = errors.found, []
    assert not found, found
    if answer is None:
        # Of a request that was refused for its size at sight the answer may be lost with the rest of it unread.
        assert not sent.whole or len(sent.raw) > HEAD_BYTES_MAX, "a whole request has no answer"
        return Account(skipped=1)
    status, body = answer
    assert status in ANSWERS, (status, body)
    if status != 200:
        return Account(refused=1)
    said = json.loads(body)
    taken: list[Taken] = served.sink.taken[before:]
    assert (said["accepted"], said["quarantined"]) in [(len(one.changes), len(one.refused)) for one in taken]
    assert said["received"] == said["accepted"] + said["quarantined"]
    for one in taken:
        for item in one.refused:
            assert item.code != "door_failed", item.reason
            check_refused(item)
    return Account(changes=1)


@contextmanager
def _opened() -> Iterator[Callable[[random.Random], Case]]:
    errors = _Errors()
    watched = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio", "ingest", "starlette")]
    bounds: dict[str, Any] = {
        "body_bytes_max": BODY_BYTES_MAX,
        "batch_events_max": EVENTS_MAX,
        "nesting_max": NESTING_MAX,
    }
    for log in watched:
        log.addHandler(errors)
    try:
        with serving(*map(_hook, SOURCES), **bounds) as served:

            def case(chance: random.Random) -> Case:
                sent = make(Mutator(chance))
                if len(served.sink.taken) > 1_000:
                    served.sink.taken.clear()
                return Case(sent, lambda: _check(served, errors, sent))

            yield case
    finally:
        for log in watched:
            log.removeHandler(errors)


TARGETS = (Target("server", 40, _opened),)
