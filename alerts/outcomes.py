"""The receiver port: what a receiver is asked and what it can answer."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from schemas.alert import Notification


class Delivered(NamedTuple):
    """The notification is with the receiver."""


class RetryAfter(NamedTuple):
    """It could not be delivered now; try again after `seconds` at the earliest."""

    seconds: float
    reason: str


class Rejected(NamedTuple):
    """It will never be accepted; trying again is of no use."""

    reason: str


Outcome = Delivered | RetryAfter | Rejected


class Receiver(Protocol):
    """Takes notifications to people."""

    def deliver(self, notification: Notification) -> Outcome:
        """Deliver one notification. Called from a thread of its own, one call at a time."""
        ...
