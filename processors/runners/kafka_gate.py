"""How Faust's connections reach the brokers: with the password of the moment, and seldom once they were refused.

aiokafka takes a password once and tries a refused connection again every tenth of a second, from several loops at
once. All its connections of this process go through one gate, which gives each the password as it is now and makes
them wait together after a refusal.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiokafka.conn
from aiokafka.errors import BrokerResponseError, KafkaConnectionError, KafkaError
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from kafka.errors import for_code

from schemas.base import PlanwatchError
from schemas.stack import KafkaConfig, KafkaSecurity
from storage.backoff import jittered_s
from storage.kafka_access import lacking
from storage.kafka_refusal import refusal
from storage.kafka_security import password_of, ssl_context

log = logging.getLogger("planwatch.worker")

WAIT_FIRST_S, WAIT_MAX_S = 1.0, 30.0
#: So long one connection may take to find out whether it is let in; the others wait for it.
TRY_S = 10.0


class Gate:
    """Where every aiokafka connection of this process passes.

    Its methods may be called from several threads: Faust has an event loop of its own for its consumer.
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        self._kafka = kafka
        self._lock = threading.Lock()
        self._failures = 0
        self._open_at = 0.0
        self._refusal = self._lacking = ""

    @property
    def problem(self) -> str:
        """Why the brokers refuse us; empty: they do not."""
        return self._lacking or self._refusal

    def install(self) -> None:
        """Make aiokafka connect through this gate. It has no setting for that; the name below is what it looks up."""
        gate = self

        class Connection(aiokafka.conn.AIOKafkaConnection):  # type: ignore[misc]
            async def connect(self) -> Any:
                return await gate.passed(self, super().connect)

        aiokafka.conn.AIOKafkaConnection = Connection

    async def passed(self, connection: Any, connect: Callable[[], Awaitable[Any]]) -> Any:
        """Connect when it is time, with secrets and certificates as they are then. Raises what aiokafka expects."""
        while (wait_s := self._wait_s()) > 0:
            await asyncio.sleep(wait_s)
        security = self._kafka.security
        try:
            if security.sasl:
                connection._sasl_plain_password = password_of(security)
            if security.tls:
                connection._ssl_context = ssl_context(security)
            made = await connect()
        except PlanwatchError as error:
            self._refused(str(error))
            raise KafkaConnectionError(str(error)) from error
        except (KafkaError, OSError) as error:
            if (text := self._refusal_in(error)) is not None:
                self._refused(text)
            raise
        self._let_in()
        return made

    async def until_allowed(self, error: BaseException | None) -> None:
        """Where an ACL is why Faust ended: until a worker may do what it needs, or a new start would end the same way."""
        attempts = 0
        self._lacking = (error and self._refusal_in(error)) or ""
        if self._lacking:
            log.error("Kafka refuses the worker, which starts anew once it may work", extra={"reason": self._lacking})
        while self._lacking:
            attempts += 1
            await asyncio.sleep(jittered_s(attempts, WAIT_FIRST_S, WAIT_MAX_S))
            try:
                self._lacking = "; ".join(await asyncio.to_thread(lacking, self._kafka, "worker"))
            except PlanwatchError as away:
                self._lacking = str(away)

    def why(self, error: BaseException) -> str:
        """An error of Faust or aiokafka in words."""
        return self._refusal_in(error) or repr(error)

    def _refusal_in(self, error: BaseException) -> str | None:
        """What a refusal by the brokers means, as for our other clients; none for any other error of aiokafka."""
        if isinstance(error, BrokerResponseError):
            named = [part for part in error.args if isinstance(part, str)]
            error = for_code(error.errno)(*named)
        return refusal(self._kafka, error)

    def _wait_s(self) -> float:
        """Seconds until the next look; 0: now, and whoever else asks waits for how it ends."""
        with self._lock:
            if not self._refusal:
                return 0.0
            now = time.monotonic()
            if now < self._open_at:
                return self._open_at - now
            self._open_at = now + TRY_S
            return 0.0

    def _refused(self, text: str) -> None:
        with self._lock:
            self._failures += 1
            self._open_at = time.monotonic() + jittered_s(self._failures, WAIT_FIRST_S, WAIT_MAX_S)
            first, self._refusal = text != self._refusal, text
        if first:
            log.error("Kafka refuses the worker, which tries again now and then", extra={"reason": text})

    def _let_in(self) -> None:
        with self._lock:
            again, self._refusal, self._failures = bool(self._refusal), "", 0
        if again:
            log.warning("Kafka lets the worker in again")


def credentials(security: KafkaSecurity) -> Credentials | None:
    """What Faust is given; none: nothing is asked for. Raises PlanwatchError where a file cannot be read."""
    context = ssl_context(security) if security.tls else None
    if security.sasl:
        return SASLCredentials(
            username=security.user, password=password_of(security), ssl_context=context, mechanism=security.mechanism
        )
    return SSLCredentials(context) if context is not None else None
