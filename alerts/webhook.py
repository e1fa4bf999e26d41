"""The webhook receiver: one POST per notification, its key in the Idempotency-Key header."""

from __future__ import annotations

import datetime as dt
from email.utils import parsedate_to_datetime

import httpx

from alerts.outbound import PUBLIC, TROUBLES, ForbiddenTarget, Outbound, Resolve, Targets, resolve
from alerts.outcomes import Delivered, Outcome, Rejected, RetryAfter
from schemas.alert import Notification

TIMEOUT_S = 10.0
RETRY_S = 1.0


class WebhookReceiver:
    """Posts notifications as JSON (schemas.alert.Notification) to an address, if it is where `targets` admits."""

    def __init__(
        self, url: str, targets: Targets = PUBLIC, *, timeout_s: float = TIMEOUT_S, resolve: Resolve = resolve
    ) -> None:
        """Raises PlanwatchError for an address that cannot be posted to."""
        self._outbound = Outbound(url, targets, timeout_s=timeout_s, resolve=resolve)

    def deliver(self, notification: Notification) -> Outcome:
        """Post it. 2xx: delivered; 429, 5xx and no connection: again later; anything else: rejected."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": notification.key, "User-Agent": "planwatch"}
        try:
            answer = self._outbound.post(notification.model_dump_json().encode(), headers)
        except ForbiddenTarget as error:
            return Rejected(f"not sent: {error}. If it shall go there: allow_private or allow_networks of the receiver")
        except TROUBLES as error:
            # Its text, not the address: that may hold a secret.
            return RetryAfter(RETRY_S, f"no answer ({type(error).__name__}: {error})")
        if httpx.codes.is_success(answer.status):
            return Delivered()
        reason = f"HTTP {answer.status}"
        if httpx.codes.is_redirect(answer.status):
            return Rejected(f"{reason}: redirects are not followed; give the receiver the address that it leads to")
        if answer.status == httpx.codes.TOO_MANY_REQUESTS or httpx.codes.is_server_error(answer.status):
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
