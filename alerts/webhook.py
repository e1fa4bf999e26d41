"""The webhook receiver: one POST per notification, its key in the Idempotency-Key header."""

from __future__ import annotations

import datetime as dt
from email.utils import parsedate_to_datetime

import httpx

from alerts.outcomes import Delivered, Outcome, Rejected, RetryAfter
from schemas.alert import Notification

TIMEOUT_S = 10.0
RETRY_S = 1.0


class WebhookReceiver:
    """Posts notifications as JSON (schemas.alert.Notification) to an address."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._client: httpx.Client | None = None

    def deliver(self, notification: Notification) -> Outcome:
        """Post it. 2xx: delivered; 429, 5xx and no connection: again later; anything else: rejected."""
        # Made on first use: reading the certificates takes longer than all else.
        self._client = self._client or httpx.Client(timeout=self.timeout_s)
        headers = {"Content-Type": "application/json", "Idempotency-Key": notification.key, "User-Agent": "planwatch"}
        try:
            answer = self._client.post(self.url, content=notification.model_dump_json().encode(), headers=headers)
        except httpx.InvalidURL as error:
            return Rejected(f"the address is not valid: {error}")
        except httpx.HTTPError as error:
            # Its text, not the address: that may hold a secret.
            return RetryAfter(RETRY_S, f"no answer ({type(error).__name__}: {error})")
        if answer.is_success:
            return Delivered()
        reason = f"HTTP {answer.status_code}"
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            return RetryAfter(retry_after_s(answer.headers.get("Retry-After")), reason)
        return Rejected(reason)


def retry_after_s(header: str | None) -> float:
    """Seconds that a Retry-After header asks for, in either of its forms (RFC 9110, 10.2.3)."""
    if header is None:
        return RETRY_S
    if header.strip().isdecimal():
        return float(header)
    try:
        return max((parsedate_to_datetime(header) - dt.datetime.now(dt.UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return RETRY_S
