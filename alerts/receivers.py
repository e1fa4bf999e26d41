"""Receivers: console and board, and how all kinds are made from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from alerts.email import EmailReceiver
from alerts.grafana import GrafanaReceiver
from alerts.outbound import Targets
from alerts.outcomes import Delivered, Outcome, Receiver, Rejected, RetryAfter
from alerts.webhook import WebhookReceiver
from alerts.words import clean
from schemas.alert import Alert, Notification
from schemas.base import PlanwatchError
from schemas.config import ReceiverConfig

__all__ = [
    "BoardReceiver",
    "ConsoleReceiver",
    "Delivered",
    "EmailReceiver",
    "GrafanaReceiver",
    "Outcome",
    "Receiver",
    "Rejected",
    "RetryAfter",
    "WebhookReceiver",
    "make_receivers",
]


class ConsoleReceiver:
    """Writes one line per alert."""

    def __init__(self, print_line: Callable[[str], None] = print) -> None:
        self.print_line = print_line

    def deliver(self, notification: Notification) -> Outcome:
        """Write the lines."""
        for alert in notification.alerts:
            self.print_line(console_line(alert, notification))
        return Delivered()


def console_line(alert: Alert, notification: Notification) -> str:
    """An alert in one line: how bad, what state, what is the matter, who is told."""
    again = notification.reason == "repeat_interval" and alert.state == "firing"
    state = "still firing" if again else alert.state.replace("_", " ")
    return clean(f"{alert.severity} · {state} · {alert.sentence} → {notification.recipient_name}")


class BoardReceiver:
    """Nothing to do: the board reads the alerts from the journal."""

    def deliver(self, notification: Notification) -> Outcome:
        """Take note."""
        return Delivered()


def make_receivers(
    configs: Iterable[ReceiverConfig],
    print_line: Callable[[str], None] = print,
    home: Path | None = None,
    grafana: Callable[[], Receiver] | None = None,
) -> dict[str, Receiver]:
    """The configured receivers by name. File names are relative to `home`; `grafana` makes the one that annotates.

    Raises PlanwatchError with the setting.
    """
    made: dict[str, Receiver] = {}
    for config in configs:
        if config.name in made:
            raise PlanwatchError(f"receivers: the name «{config.name}» is used twice; give each one a name of its own.")
        if config.kind == "grafana":
            made[config.name] = _annotator(config, grafana)
        else:
            made[config.name] = _make(config, print_line, home or Path())
    return made


def _annotator(config: ReceiverConfig, grafana: Callable[[], Receiver] | None) -> Receiver:
    if grafana is None:
        raise PlanwatchError(
            f"receivers: «{config.name}»: annotations need a Grafana; write the section grafana with its url and token_file."
        )
    return grafana()


def _make(config: ReceiverConfig, print_line: Callable[[str], None], home: Path) -> Receiver:
    where = f"receivers: «{config.name}»"
    if config.kind == "console":
        return ConsoleReceiver(print_line)
    if config.kind == "board":
        return BoardReceiver()
    if config.kind == "webhook":
        try:
            return WebhookReceiver(config.url or "", Targets.parse(config.allow_private, config.allow_networks))
        except PlanwatchError as error:
            raise PlanwatchError(f"{where}: {error}") from None
    if not config.smtp_host or not config.sender:
        raise PlanwatchError(f"{where}: an e-mail receiver needs smtp_host and sender.")
    return EmailReceiver(
        host=config.smtp_host,
        port=config.smtp_port,
        sender=config.sender,
        to=config.to,
        user=config.smtp_user,
        password=_password(config, where, home),
        starttls=config.starttls,
    )


def _password(config: ReceiverConfig, where: str, home: Path) -> str | None:
    if config.smtp_user is None or config.smtp_password_file is None:
        if config.smtp_user or config.smtp_password_file:
            raise PlanwatchError(f"{where}: smtp_user and smtp_password_file belong together; set both or none.")
        return None
    path = home / config.smtp_password_file
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanwatchError(f"{where}: smtp_password_file: {path} cannot be read: {error}.") from error
