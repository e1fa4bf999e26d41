"""What operators look at, on a port of its own: /healthz, /readyz, /metrics, and what a role adds."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from anyio import to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from boards.guard import host_of, is_loopback
from boards.threaded import ThreadedServer, Words
from planwatch.logs import described, fields, hide, masked
from planwatch.metrics import Metrics
from schemas.stack import OpsConfig

log = logging.getLogger(__name__)

TOKEN_VARIABLE = "PLANWATCH_OPS_TOKEN"  # noqa: S105 (the variable's name)
#: A check that takes longer counts as failed: who asks gives up soon after.
CHECK_S = 2.0
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Problem(NamedTuple):
    """Why a process is not ready, or not well: what it is about, and what is wrong with it."""

    name: str  # "worker", "influxdb", "watchdog"
    why: str  # "catching up: 12,000 messages behind"


Check = Callable[[], Sequence[Problem]]


def no_problems() -> Sequence[Problem]:
    """A check that finds nothing."""
    return ()


class OpsServer:
    """Serves a role's health.

    `ready`: problems that keep it from its work right now. `alive`: problems that only a restart ends. `routes`: more
    of them, answered only on loopback or to who brings the token in PLANWATCH_OPS_TOKEN. Raises PlanwatchError when
    the port is taken.
    """

    def __init__(
        self,
        config: OpsConfig,
        metrics: Metrics,
        ready: Check = no_problems,
        alive: Check = no_problems,
        routes: Sequence[BaseRoute] = (),
        check_s: float = CHECK_S,
    ) -> None:
        health = Health(metrics, ready, alive, check_s)
        inner = Starlette(routes=list(routes))
        app = Starlette(routes=[*health.routes(), Mount("/", app=Private(inner, token=ops_token()))])
        self._server = ThreadedServer(app, config.host, config.port, Words("The operations server", "ops"))
        self.url = self._server.url

    def start(self) -> str:
        """Serve in a thread; gives the address."""
        self._server.start()
        log.info("operations server listens", extra=fields(url=self.url))
        return self.url

    def stop(self) -> None:
        """End. May be called twice."""
        self._server.stop()


class Health:
    """What any server answers about its process: /healthz, /readyz, /metrics. The checks are as `OpsServer` has them."""

    def __init__(
        self, metrics: Metrics, ready: Check = no_problems, alive: Check = no_problems, check_s: float = CHECK_S
    ) -> None:
        self._metrics = metrics
        self._alive, self._ready = _Asked(alive, check_s), _Asked(ready, check_s)

    def routes(self, *, public: bool = False) -> list[BaseRoute]:
        """The three. `public`: strangers may ask whether the process is well, but /metrics only who is near or has the token."""
        metrics: BaseRoute = Route("/metrics", self._rendered)
        if public:
            metrics = Route("/metrics", Private(Starlette(routes=[metrics]), token=ops_token()))
        return [Route("/healthz", self._healthz), Route("/readyz", self._readyz), metrics]

    async def _healthz(self, request: Request) -> Response:
        return _answer("ok", "failing", await self._alive.problems())

    async def _readyz(self, request: Request) -> Response:
        found = await self._ready.problems()
        self._metrics.set_ready(not found)
        return _answer("ready", "not ready", found)

    async def _rendered(self, request: Request) -> Response:
        found = await self._ready.problems()
        self._metrics.set_ready(not found)
        body, content_type = await to_thread.run_sync(self._metrics.render, request.headers.get("accept", ""))
        return Response(body, headers={**HEADERS, "Content-Type": content_type})


def ops_token() -> str | None:
    """The token that opens what is not for everybody; it is hidden from the log."""
    token = os.environ.get(TOKEN_VARIABLE) or None
    hide(token)
    return token


class _Asked:
    """A check in a thread of its own, with a deadline. One that hangs is not begun again: it takes one thread, no more."""

    def __init__(self, check: Check, deadline_s: float) -> None:
        self._check, self._deadline_s = check, deadline_s
        self._under_way: asyncio.Future[Sequence[Problem]] | None = None

    async def problems(self) -> Sequence[Problem]:
        if self._under_way is None or self._under_way.done():
            loop = asyncio.get_running_loop()
            self._under_way = loop.create_future()
            args = (loop, self._under_way)
            threading.Thread(target=self._run, args=args, name="planwatch-check", daemon=True).start()
        done, _ = await asyncio.wait([self._under_way], timeout=self._deadline_s)
        return done.pop().result() if done else [Problem("check", f"no answer within {self._deadline_s:g} s")]

    def _run(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Sequence[Problem]]) -> None:
        try:
            found: Sequence[Problem] = list(self._check())
        except Exception as error:  # whatever a check trips over is a problem of this process
            log.exception("a health check failed")
            found = [Problem("check", f"failed: {described(error)}")]
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(answer.set_result, found)


class Private:
    """Lets requests through that come from this machine and name it, or that bring the token."""

    def __init__(self, app: ASGIApp, *, token: str | None) -> None:
        self._app = app
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application."""
        if scope["type"] == "http" and not (self._near(scope) or self._known(scope)):
            why = f"only for this machine, or with the token in {TOKEN_VARIABLE} as a bearer token"
            await JSONResponse({"error": why}, 403, HEADERS)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @staticmethod
    def _near(scope: Scope) -> bool:
        headers = Headers(scope=scope)
        passed_on = any(name == "forwarded" or name.startswith("x-forwarded") for name in headers)
        client = scope.get("client") or ("", 0)
        return is_loopback(client[0]) and is_loopback(host_of(headers.get("host", ""))) and not passed_on

    def _known(self, scope: Scope) -> bool:
        kind, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
        if self._token is None or kind.lower() != "bearer":
            return False
        with suppress(UnicodeEncodeError):
            return hmac.compare_digest(value.strip().encode("latin-1"), self._token)
        return False


def _answer(good: str, bad: str, problems: Sequence[Problem]) -> Response:
    body: dict[str, object] = {"status": bad if problems else good}
    if problems:
        body["problems"] = [{"name": p.name, "why": masked(p.why)} for p in problems]
    return JSONResponse(body, 503 if problems else 200, HEADERS)
