"""Lines to InfluxDB over HTTP: tried until it has them, and the lines that it will never take put aside one by one."""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from schemas.base import PlanwatchError
from schemas.clock import Clock
from schemas.stack import InfluxConfig
from storage.backoff import jittered_s
from storage.influx_buffer import Line
from storage.influx_connect import said

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 10.0
ASKED_MAX_S = 300.0  # the longest wait that a server may ask for
FENCE_POLL_S = 0.1  # how soon to ask again whether we may write
GZIP_MIN_BYTES = 1024
SAMPLE_CHARS = 300

log = logging.getLogger("planwatch.influx")


class Refused(Exception):
    """InfluxDB answered that it will not take these lines, ever."""


class Delivery:
    """Sends lines in the order in which it is given them; one thread calls `send`.

    `connect` gives a client with the present token, and is asked for a new one when InfluxDB refuses the token.
    """

    def __init__(
        self,
        settings: InfluxConfig,
        connect: Callable[[], InfluxDBClient],
        may_write: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self.client = connect()
        self.stopping = threading.Event()
        self.points_written = 0
        self.write_errors = 0
        self.retries = 0
        self.last_error = ""
        self.last_write_at = 0  # microseconds UTC
        self._settings, self._connect, self._may_write, self._clock = settings, connect, may_write, clock
        self._failures = 0
        self._complaint = ""

    @property
    def failing(self) -> bool:
        """Whether the last try to write did not reach its end and is going to be repeated."""
        return self._failures > 0

    def send(self, bucket: str, lines: Sequence[Line]) -> bool:
        """Bring lines into a bucket. Returns when InfluxDB has them or has refused them; False when it was stopped."""
        waiting = [list(lines)]
        refused, sample, reason = 0, "", ""
        while waiting:
            part = waiting.pop()
            try:
                if not self._bring(bucket, part):
                    return False
            except Refused as refusal:
                if len(part) > 1:
                    half = len(part) // 2
                    waiting += [part[half:], part[:half]]
                    continue
                refused, sample, reason = refused + 1, part[0].text[:SAMPLE_CHARS], str(refusal)
                self.write_errors += 1
        if refused:
            self.last_error = reason
            log.error(
                "InfluxDB refused %d of %d lines for %s: %s; such as: %s", refused, len(lines), bucket, reason, sample
            )
        return True

    def _bring(self, bucket: str, lines: Sequence[Line]) -> bool:
        """Try until InfluxDB has answered for good. Raises Refused; gives False when it was stopped."""
        while not self.stopping.is_set():
            present = [line for line in lines if not line.owner.gone]
            if not present:
                return True
            body = "\n".join([line.text for line in present]).encode("utf-8", "replace")
            packed = gzip.compress(body, 1) if len(body) >= GZIP_MIN_BYTES else None
            if not self._may_write():  # asked last: nothing that takes time lies between the answer and the request
                self.stopping.wait(FENCE_POLL_S)
                continue
            try:
                self._post(bucket, packed or body, "gzip" if packed else "identity")
            except ApiException as error:
                self._judge(bucket, error)
            except (HTTPError, OSError, UnicodeDecodeError) as error:
                reason = f"{self._settings.url}: InfluxDB does not answer: {said(error)}"
                self._put_off("no answer", reason)
            else:
                self._succeeded(sum(line.values for line in present))
                return True
        return False

    def _post(self, bucket: str, body: bytes, encoding: str) -> None:
        service = WriteService(self.client.api_client)
        service.post_write(self._settings.org, bucket, body, precision="us", content_encoding=encoding)

    def _judge(self, bucket: str, error: ApiException) -> None:
        """Raise Refused, or wait before the next try."""
        status, message = error.status or 0, said(error)
        if status in (400, 413, 422):
            raise Refused(f"{message} ({status})") from None
        text, kind = f"{self._settings.url}: InfluxDB answers {status}: {message}", str(status)
        if status in (401, 403):
            token = f"Its token may not write to «{bucket}»: `planwatch influx apply` makes one that may"
            self._put_off(kind, f"{text}. {token}")
            self._reconnect()
        elif status == 404:
            advice = f"`planwatch influx apply` makes the organisation «{self._settings.org}» and its buckets"
            self._put_off(kind, f"{text}. {advice}")
        else:
            self._put_off(kind, text, _asked_s(error.retry_after))

    def _reconnect(self) -> None:
        # The operator may have given us a new token meanwhile; until then the old client is as good as any.
        with suppress(PlanwatchError, OSError):
            self.client = self._connect()

    def _put_off(self, kind: str, reason: str, asked_s: float = 0.0) -> None:
        """Note a failure, loudly when it is of another kind than the one before, and wait."""
        self._failures += 1
        self.retries += 1
        self.last_error = reason
        if kind != self._complaint:
            self._complaint = kind
            log.error("%s. Points are kept, and sending them is tried again.", reason.rstrip("."))
        self.stopping.wait(max(jittered_s(self._failures, BACKOFF_FIRST_S, BACKOFF_MAX_S), min(asked_s, ASKED_MAX_S)))

    def _succeeded(self, values: int) -> None:
        if self._failures:
            log.warning("InfluxDB takes points again after %d failed tries.", self._failures)
        self._failures, self._complaint = 0, ""
        self.points_written += values
        self.last_write_at = self._clock.now()


def _asked_s(retry_after: str | None) -> float:
    """Seconds that a Retry-After header asks to wait: a number or a date; 0 when it says nothing."""
    if not retry_after:
        return 0.0
    with suppress(ValueError):
        return max(float(retry_after), 0.0)
    with suppress(ValueError, TypeError):
        return max((parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds(), 0.0)
    return 0.0
