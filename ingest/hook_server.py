"""The webhook server's application: POST /hooks/SOURCE, from the first byte of a request to its answer.

A request's way: source and method, room in the queue, size and time while its body is read, signature, then the queue,
which answers once what was in it is durable. 2xx means durable, always.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ingest.door import Received
from ingest.event_paths import envelope_names
from ingest.hook_queue import HookQueue, Outcome
from ingest.log_messages import Taking
from ingest.signatures import SignedRequest, verify
from schemas.clock import Clock
from schemas.sources import HookConfig, ServeConfig, Signature

log = logging.getLogger(__name__)

#: Headers that a door may need to read a body, and that are kept with what is refused: none that proves who sent it.
KEPT_HEADERS = frozenset({"content-type", "webhook-id", "webhook-timestamp"})
KEPT_PREFIX = "ce-"
#: Not even where a mapping names them.
NEVER_KEPT = frozenset({"authorization", "cookie", "proxy-authorization"})
#: What metrics call a source that is none.
UNKNOWN = "unknown"


class Answers(Protocol):
    """Is told every answer: its source (UNKNOWN where there is none) and what it was."""

    def answered(self, source: str, outcome: str) -> None:
        """A request was answered."""
        ...

    def signature_refused(self, source: str, reason: str) -> None:
        """A request did not prove who sent it."""
        ...


@dataclass(frozen=True)
class Hook:
    """A source that is called: whose it is, how its requests are proved, and its door."""

    taking: Taking
    config: HookConfig
    signatures: Sequence[Signature]
    secrets: Callable[[], Sequence[bytes]]

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.taking.context.tenant

    @property
    def source(self) -> str:
        """Its name in the tenant's configuration."""
        return self.taking.context.source

    @cached_property
    def named(self) -> frozenset[str]:
        """The headers that its mapping names: its door needs them too."""
        mapping = self.taking.context.mapping
        return frozenset() if mapping is None else envelope_names(mapping) - NEVER_KEPT


class _Answered(Exception):
    """The answer to a request is known before its way is at its end."""

    def __init__(self, status: int, outcome: str, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status, self.outcome, self.error, self.headers = status, outcome, error, dict(headers or {})


def paths_of(hooks: Iterable[Hook]) -> dict[str, Hook]:
    """Where each hook answers: TENANT/SOURCE, and SOURCE while no other tenant has one of that name."""
    found: dict[str, Hook] = {}
    ambiguous: set[str] = set()
    for hook in hooks:
        found[f"{hook.tenant}/{hook.source}"] = hook
        if found.setdefault(hook.source, hook) is not hook:
            ambiguous.add(hook.source)
    return {path: hook for path, hook in found.items() if path not in ambiguous}


def create_app(
    hooks: Iterable[Hook],
    queue: HookQueue,
    config: ServeConfig,
    answers: Answers,
    clock: Clock,
    routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """The application; `routes` are answered beside the hooks."""
    endpoint = _Endpoint(paths_of(hooks), queue, config, answers, clock)
    return Starlette(routes=[Route("/hooks/{path:path}", endpoint), *routes])


class _Endpoint:
    def __init__(
        self, hooks: Mapping[str, Hook], queue: HookQueue, config: ServeConfig, answers: Answers, clock: Clock
    ) -> None:
        self._hooks, self._queue, self._config, self._answers, self._clock = hooks, queue, config, answers, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever it is."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        hook = self._hooks.get(request.path_params["path"])
        name = UNKNOWN if hook is None else hook.source
        try:
            response = await self._way(request, hook)
            outcome = "accepted"
        except _Answered as answered:
            response = _json(answered.status, {"error": answered.error}, answered.headers)
            outcome = answered.outcome
        except ClientDisconnect:
            response, outcome = Response(status_code=400), "disconnected"  # nobody reads it
        self._answers.answered(name, outcome)
        return response

    async def _way(self, request: Request, hook: Hook | None) -> Response:
        if hook is None:
            raise _Answered(404, "unknown_source", "there is no such hook")
        if request.method != "POST":
            raise _Answered(405, "method", "send a POST", {"Allow": "POST"})
        deadline = asyncio.get_running_loop().time() + self._config.request_timeout_s
        self._admit()
        self._check_head(request.headers)
        body = await self._body(request, deadline)
        try:
            self._check_signature(request, hook, body)
            self._admit()
            message = Received(body, None, _kept(request.headers, hook.named))
            waiting = self._queue.put(hook.taking, message, self._clock.now() // 1000, deadline)
        except BaseException:
            self._queue.release(len(body))
            raise
        try:
            async with asyncio.timeout_at(deadline):
                outcome = await waiting
        except TimeoutError:
            outcome = Outcome("too_late")
        return self._written(outcome)

    def _admit(self) -> None:
        """Whether there is room, and what is taken in can be written."""
        if self._queue.trouble is not None:
            raise self._again(503, "unwritable", "what comes in cannot be written at the moment; send it again later")
        if self._queue.full:
            raise self._again(429, "overloaded", "too much waits to be written; send it again later")

    def _again(self, status: int, outcome: str, error: str) -> _Answered:
        return _Answered(status, outcome, error, {"Retry-After": str(self._queue.retry_after_s)})

    def _check_head(self, headers: Headers) -> None:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity":
            raise _Answered(415, "encoding", "send the body without Content-Encoding", {"Accept-Encoding": "identity"})
        length = headers.get("content-length", "0")
        if len(length) > 15 or int(length) > self._config.body_bytes_max:
            raise self._too_large()

    def _too_large(self) -> _Answered:
        most = f"{self._config.body_bytes_max:,} bytes (serve.body_bytes_max)"
        return _Answered(413, "too_large", f"the body is larger than {most}; send fewer events at once")

    async def _body(self, request: Request, deadline: float) -> bytes:
        """The body, whose bytes are held in the queue from now on."""
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout_at(deadline):
                async for chunk in request.stream():
                    if size + len(chunk) > self._config.body_bytes_max:
                        raise self._too_large()
                    if not self._queue.hold(len(chunk)):
                        raise self._again(429, "overloaded", "too much waits to be written; send it again later")
                    size += len(chunk)
                    chunks.append(chunk)
        except BaseException as error:
            self._queue.release(size)
            if isinstance(error, TimeoutError):
                seconds = f"{self._config.request_timeout_s:g} s (serve.request_timeout_s)"
                raise _Answered(408, "too_slow", f"the body did not come within {seconds}") from None
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _check_signature(self, request: Request, hook: Hook, body: bytes) -> None:
        signed = SignedRequest(request.method, tuple(_uris(request, hook.config)), request.scope["headers"], body)
        secrets, tolerance_s = hook.secrets(), hook.config.tolerance_s
        verdict = verify(signed, secrets, hook.signatures, self._clock.now(), tolerance_s)
        if not verdict:
            self._answers.signature_refused(hook.source, verdict.value)
            log.warning(
                "a request did not prove who sent it",
                extra={"fields": {"tenant": hook.tenant, "source": hook.source, "reason": verdict.value}},
            )
            raise _Answered(401, "signature", verdict.value)

    def _written(self, outcome: Outcome) -> Response:
        if outcome.fate == "written":
            counts = {"received": outcome.accepted + outcome.quarantined}
            counts |= {"accepted": outcome.accepted, "quarantined": outcome.quarantined}
            return _json(200, counts)
        if outcome.fate == "too_many_events":
            most = f"{self._config.batch_events_max:,} events (serve.batch_events_max)"
            raise _Answered(413, "too_many_events", f"the body holds more than {most}; send fewer at once")
        if outcome.fate == "too_late":
            seconds = f"{self._config.request_timeout_s:g} s (serve.request_timeout_s)"
            raise self._again(503, "too_late", f"it was not written within {seconds}; send it again")
        raise self._again(503, "unwritable", "what comes in cannot be written at the moment; send it again later")


def _uris(request: Request, config: HookConfig) -> Iterator[str]:
    """The addresses that the sender may have called: the configured one, else this server's by the Host header."""
    raw = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    tail = f"?{query}" if query else ""
    if config.public_url is not None:
        yield config.public_url + tail
    else:
        host = request.headers.get("host", "")
        for scheme in ("https", "http"):
            yield f"{scheme}://{host}{raw}{tail}"


def _kept(headers: Headers, named: Set[str]) -> dict[str, str]:
    kept = KEPT_HEADERS | named
    return {name: text for name, text in headers.items() if name in kept or name.startswith(KEPT_PREFIX)}


def _json(status: int, content: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")
