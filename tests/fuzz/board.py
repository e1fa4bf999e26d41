"""What comes to the web board from outside: addresses, queries, tokens and scopes, as the server hands them to it.

Accounting: every request has one answer, a page, a redirection or a refusal in words; never one of a program that failed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from starlette.types import ASGIApp, Message

from boards.access import Access
from boards.address import Address
from boards.app import create_app
from boards.tokens import Tokens
from schemas.base import PlanwatchError
from tests.fuzz.checks import Account, Case, Target
from tests.fuzz.mutate import TEXTS, Mutator
from tests.unit.scoped_company import Scoped

TOKEN = "a-long-token-that-nobody-guesses"
PATHS = (
    b"/", b"/rep/r-na1", b"/team/t-sa", b"/territory/Name-north", b"/deals", b"/health", b"/api/view", b"/api/deals", b"/api/health",
    b"/events", b"/go", b"/healthz", b"/static/board.css", b"/login", b"/logout", b"/nowhere", b"/rep/%E2%82%AC%00", b"/rep//", b"//x",
)  # fmt: skip
QUERIES = (
    b"", b"period=2017-Q1", b"period=2017-Q1&as_of=2017-03-05", b"as_of=2017-03-05T10:00:00%2B02:00", b"as_of=1488708000000000",
    b"dimension=team&scope=t-sa", b"dimension=rep&scope=r-na1&period=2017", b"page=deals&dimension=company", b"rep=r-na2", b"v=1",
    b"token=wrong", b"page=health", b"scope=a&scope=b", b"dimension=segment&scope=x", b"period=Zz-south-push",
)  # fmt: skip
#: What may be said, beside 200: moved, not so, not in, not here, not that way, elsewhere, too often, no more streams.
STATUSES = frozenset({200, 303, 307, 400, 401, 403, 404, 405, 413, 415, 421, 429, 503})
MOMENTS = ("0", "9" * 10, "9" * 18, "1" * 9, "٣" * 16, "0001-01-01", "9999-12-31", "1969-12-31", "0001-01-01T00:00:00+14:00",
           "9999-12-31T23:59:59-14:00", "2017-W10-1", "20170305", "2017-03-05T24:00", "2017-03-05T10", "2262-04-12", "292277-01-01")  # fmt: skip


class Asked:
    """One request to an application, without a server in between."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: ASGIApp) -> None:
        self._loop, self._app = loop, app

    def status(self, scope: dict[str, Any], body: bytes) -> int:
        """The status of the answer. What goes on for ever is ended by the client after its first part."""
        return self._loop.run_until_complete(self._status(scope, body))

    async def _status(self, scope: dict[str, Any], body: bytes) -> int:
        began: list[int] = []
        sent, gone = False, asyncio.Event()

        async def receive() -> Message:
            nonlocal sent
            if not sent:
                sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                began.append(message["status"])
            elif message.get("body"):
                gone.set()

        await self._app(scope, receive, send)
        (status,) = began
        return status


def _request(mutator: Mutator) -> tuple[dict[str, Any], bytes]:
    """A scope as a server makes it of a request line and headers."""
    raw_path = mutator.pick(PATHS)
    if mutator.often(0.3):
        raw_path = b"/" + mutator.raw(raw_path[1:])
    elif mutator.often(0.2):
        raw_path = f"/{mutator.pick(('rep', 'team', 'territory'))}/{_quoted(mutator.text('r-na1'))}".encode()
    query = mutator.pick(QUERIES)
    if mutator.often(0.3):
        query = mutator.raw(query)
    elif mutator.often(0.4):
        name = mutator.pick(("period", "as_of", "as_of", "scope", "dimension", "page", "token", "rep"))
        query += f"&{name}={_quoted(mutator.pick((*MOMENTS, mutator.pick(TEXTS), mutator.text('2017-Q1'))))}".encode()
    raw_path, query = _target(raw_path), _target(query)
    headers = [
        (b"host", b"127.0.0.1:8350" if mutator.often(0.9) else mutator.pick((b"[::1", b"evil.example", b"\xff", b"")))
    ]
    for _ in range(mutator.chance.randrange(3)):
        headers.append(
            mutator.pick(
                (
                    (b"authorization", mutator.raw(f"Bearer {TOKEN}".encode())),
                    (b"cookie", mutator.raw(b"planwatch_board=abc; a=b; $Version=1")),
                    (b"origin", mutator.raw(b"http://127.0.0.1:8350")),
                    (b"sec-fetch-site", b"cross-site"),
                    (b"accept-encoding", b"gzip;q=x"),
                    (b"content-type", mutator.raw(b"application/x-www-form-urlencoded")),
                    (b"content-length", mutator.raw(b"40")),
                )
            )
        )
    if mutator.often(0.6):
        headers.append((b"authorization", f"Bearer {TOKEN}".encode()))
    chance = mutator.chance
    scope = {
        "type": "http", "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 8350), "client": (f"10.1.{chance.randrange(256)}.{chance.randrange(256)}", 5),
        "method": mutator.pick(("GET",) * 20 + ("HEAD", "POST", "PUT")), "root_path": "", "headers": headers,
        "path": unquote(raw_path.decode()), "raw_path": raw_path, "query_string": query, "state": {},
    }  # fmt: skip
    return scope, mutator.raw(f"token={TOKEN}&next=/rep/x".encode()) if mutator.often(
        0.5
    ) else f"token={TOKEN}".encode()


def _target(raw: bytes) -> bytes:
    """What of these bytes the server lets into the target of a request."""
    return bytes(byte for byte in raw if 0x21 <= byte <= 0x7E)


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "replace"), safe="")


@contextmanager
def _board() -> Iterator[Callable[[random.Random], Case]]:
    company = Scoped()
    loop = asyncio.new_event_loop()
    tokens = Tokens.single(TOKEN, Access("territory", "north"))
    boards = [
        Asked(loop, create_app(company.pages, title="P", tokens=given, time_zone="Europe/Berlin", poll_s=0.001))
        for given in (None, tokens)
    ]

    def case(chance: random.Random) -> Case:
        mutator = Mutator(chance)
        scope, body = _request(mutator)
        board = mutator.pick(boards)
        return Case((scope, body), lambda: _answered(board.status(scope, body)))

    try:
        yield case
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _answered(status: int) -> Account:
    assert status in STATUSES, status
    return Account(changes=1) if status in (200, 303, 307) else Account(refused=1)


def _address(chance: random.Random) -> Case:
    """An address leads back to what it is about; a scope and a token are one or are not."""
    mutator = Mutator(chance)
    scope, period, as_of = (mutator.text("r-na1").encode("utf-8", "replace").decode() for _ in range(3))
    dimension = mutator.pick(("rep", "team", "territory", "company"))
    text, offered = f"{mutator.pick(('rep', 'team', 'company', ''))}:{mutator.text('x')}", mutator.text(TOKEN)

    def run() -> Account:
        address = Address(dimension, scope, period or None, as_of or None)
        href = address.href()
        assert href.isascii()
        parts = urlsplit(href)
        if dimension != "company" and scope:
            assert parts.path.split("/")[1:] == [dimension, quote(scope, safe="")]
            assert unquote(parts.path.split("/")[2]) == scope
        asked = parse_qs(urlsplit(address.events()).query, keep_blank_values=True)
        assert asked.get("scope", [""]) == [scope]
        assert (asked.get("period", [""]), asked.get("as_of", [""])) == ([period], [as_of])
        assert Tokens.single(TOKEN).grant(offered) is None or offered == TOKEN
        try:
            access = Access.parse(text)
        except PlanwatchError:
            return Account(refused=1)
        assert access.whole == (text == "company")
        return Account(changes=1)

    return Case((dimension, scope, period, as_of, text, offered), run)


@contextmanager
def _addresses() -> Iterator[Callable[[random.Random], Case]]:
    yield _address


TARGETS = (Target("board", 20, _board), Target("addresses", 60, _addresses))
