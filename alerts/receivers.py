"""Receivers: where notifications go. Each says delivered, try again after, or rejected with its reason."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from html import escape
from pathlib import Path
from typing import NamedTuple, Protocol

import httpx

from schemas.alert import Notification
from schemas.base import PlanwatchError
from schemas.config import ReceiverConfig

TIMEOUT_S = 10.0
RETRY_S = 60


class Delivered(NamedTuple):
    """It arrived."""


class RetryAfter(NamedTuple):
    """It did not arrive; it may later."""

    seconds: int
    reason: str


class Rejected(NamedTuple):
    """It will not arrive."""

    reason: str


Outcome = Delivered | RetryAfter | Rejected


class Receiver(Protocol):
    """Delivers a notification."""

    def deliver(self, notification: Notification) -> Outcome:
        """Deliver; does not raise."""
        ...


class ConsoleReceiver:
    """A line per alert."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print = print_line

    def deliver(self, notification: Notification) -> Outcome:
        """Print it."""
        for alert in notification.alerts:
            word = "resolved" if alert.state == "resolved" else alert.severity
            self._print(f"[{word}] {alert.sentence}")
        return Delivered()


class BoardReceiver:
    """The board reads the journal: there is nothing to send."""

    def deliver(self, notification: Notification) -> Outcome:
        """Nothing to do."""
        return Delivered()


class WebhookReceiver:
    """POSTs the notification as JSON under its idempotency key."""

    def __init__(self, config: ReceiverConfig) -> None:
        if not config.url:
            raise PlanwatchError(f"receiver {config.name}: a webhook needs its url.")
        self._url = config.url

    def deliver(self, notification: Notification) -> Outcome:
        """2xx: delivered; 429, 5xx and no answer: try again; anything else: rejected."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": notification.key}
        try:
            answer = httpx.post(self._url, content=notification.model_dump_json(), headers=headers, timeout=TIMEOUT_S)
        except httpx.HTTPError as error:
            return RetryAfter(RETRY_S, f"{type(error).__name__}: {error}")
        if answer.is_success:
            return Delivered()
        if answer.status_code == 429 or answer.is_server_error:
            return RetryAfter(RETRY_S, f"HTTP {answer.status_code}")
        return Rejected(f"HTTP {answer.status_code}")


class EmailReceiver:
    """Sends text and HTML over SMTP."""

    def __init__(self, config: ReceiverConfig) -> None:
        if not config.smtp_host or not config.sender:
            raise PlanwatchError(f"receiver {config.name}: e-mail needs smtp_host and sender.")
        self._config = config

    def deliver(self, notification: Notification) -> Outcome:
        """Send to the recipient's own address, else to the configured ones."""
        config = self._config
        to = [notification.address] if notification.address else list(config.to)
        if not to:
            return Rejected(f"{notification.recipient} has no address and receiver {config.name} no `to`")
        try:
            with smtplib.SMTP(str(config.smtp_host), config.smtp_port, timeout=TIMEOUT_S) as smtp:
                if config.starttls:
                    smtp.starttls()
                if config.smtp_user and config.smtp_password_file:
                    smtp.login(config.smtp_user, Path(config.smtp_password_file).read_text(encoding="utf-8").strip())
                smtp.send_message(_message(notification, str(config.sender), to))
        except smtplib.SMTPRecipientsRefused as error:
            return Rejected(f"refused: {', '.join(error.recipients)}")
        except (smtplib.SMTPException, OSError) as error:
            return RetryAfter(RETRY_S, f"{type(error).__name__}: {error}")
        return Delivered()


def _message(notification: Notification, sender: str, to: Sequence[str]) -> EmailMessage:
    message = EmailMessage()
    first = notification.alerts[0]
    more = f" and {len(notification.alerts) - 1} more" if len(notification.alerts) > 1 else ""
    message["Subject"] = f"{first.subject}{more}".replace("\n", " ").replace("\r", " ")
    message["From"], message["To"] = sender, ", ".join(to)
    message["Message-ID"] = f"<{notification.key}@planwatch>"
    lines = [f"{'Resolved: ' if a.state == 'resolved' else ''}{a.sentence}" for a in notification.alerts]
    message.set_content("\n\n".join([*lines, notification.board_url]))
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    link = f'<p><a href="{escape(notification.board_url)}">Open the board</a></p>'
    message.add_alternative(f"<ul>{items}</ul>{link}", subtype="html")
    return message


def make_receivers(configs: Sequence[ReceiverConfig], print_line: Callable[[str], None]) -> dict[str, Receiver]:
    """The configured receivers by name. Raises PlanwatchError where a setting is missing."""
    made: dict[str, Receiver] = {}
    for config in configs:
        if config.kind == "console":
            made[config.name] = ConsoleReceiver(print_line)
        elif config.kind == "board":
            made[config.name] = BoardReceiver()
        elif config.kind == "webhook":
            made[config.name] = WebhookReceiver(config)
        else:
            made[config.name] = EmailReceiver(config)
    return made
