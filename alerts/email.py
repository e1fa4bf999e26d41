"""The e-mail receiver: one message per notification, as text and as simple HTML."""

from __future__ import annotations

import smtplib
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from html import escape

from alerts.outcomes import Delivered, Outcome, Rejected, RetryAfter
from alerts.words import clean
from schemas.alert import Alert, Notification

TIMEOUT_S = 10.0
RETRY_S = 5.0
IMPLICIT_TLS_PORT = 465
SUBJECT_MAX = 150
PERMANENT = 500  # SMTP replies from here on say: do not try again


class EmailReceiver:
    """Sends notifications to a recipient's own address, or to `to` where there is none."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        sender: str,
        to: tuple[str, ...] = (),
        user: str | None = None,
        password: str | None = None,
        starttls: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.host, self.port, self.sender, self.to = host, port, sender, to
        self.user, self.password, self.starttls, self.timeout_s = user, password, starttls, timeout_s

    def deliver(self, notification: Notification) -> Outcome:
        """Send it. Refused for good by the server: rejected; anything that may pass: again later."""
        if not notification.address and not self.to:
            return Rejected(f"{notification.recipient} has no e-mail address, and the receiver has no `to`")
        try:
            to = (one_mailbox(notification.address),) if notification.address else self.to
            message = compose(notification, self.sender, to)
        except ValueError as error:
            return Rejected(f"no message can be made: {error}")
        try:
            self._send(message)
        except smtplib.SMTPAuthenticationError as error:
            # A password can be mended; until then nothing is lost.
            return RetryAfter(RETRY_S, f"the mail server refuses the login: {error.smtp_code}")
        except smtplib.SMTPNotSupportedError as error:
            return Rejected(f"the mail server cannot take it: {error}")
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return _by_code(min(codes, default=0), f"recipients refused: {sorted(error.recipients)}")
        except smtplib.SMTPResponseException as error:
            return _by_code(error.smtp_code, f"SMTP {error.smtp_code}")
        except (smtplib.SMTPException, OSError) as error:
            return RetryAfter(RETRY_S, f"the mail server cannot be reached ({type(error).__name__}: {error})")
        return Delivered()

    def _send(self, message: EmailMessage) -> None:
        with self._connect() as server:
            if self.starttls:
                server.starttls(context=ssl.create_default_context())
            if self.user is not None and self.password is not None:
                server.login(self.user, self.password)
            server.send_message(message)

    def _connect(self) -> smtplib.SMTP:
        if self.port == IMPLICIT_TLS_PORT:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_s, context=context)
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)


def _by_code(code: int, reason: str) -> Outcome:
    return Rejected(reason) if code >= PERMANENT else RetryAfter(RETRY_S, reason)


def one_mailbox(address: str) -> str:
    """An address from a record. Raises ValueError unless it is exactly one: a list would tell others too."""
    try:
        return Address(addr_spec=address.strip()).addr_spec
    except (HeaderParseError, IndexError, ValueError):
        raise ValueError(f"the recipient’s e-mail address {address[:100]!r} is not one address") from None


def compose(notification: Notification, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """The message. Its Message-ID comes from the key, so that a mailbox can drop a repeated delivery."""
    message = EmailMessage()
    message["Subject"] = subject(notification)
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{notification.key}@{sender.rpartition('@')[2].strip(' >') or 'planwatch'}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
    message.set_content(text(notification))
    message.add_alternative(html(notification), subtype="html")
    return message


def subject(notification: Notification) -> str:
    """The first alert's subject, and how many more there are.

    Encoded words (RFC 2047) are broken up: the email package would decode one that a name brings along, and write the
    line breaks inside it as new headers.
    """
    first, more = notification.alerts[0], len(notification.alerts) - 1
    words = f"[{_state(first, notification)}] {first.subject}" + (f" and {more} more" if more else "")
    return clean(words).replace("=?", "= ?")[:SUBJECT_MAX]


def text(notification: Notification) -> str:
    """The message as plain text."""
    parts = [f"{clean(notification.recipient_name)}:" if notification.recipient_name else ""]
    parts += [f"{_state(a, notification).upper()} ({a.severity}): {clean(a.sentence)}" for a in notification.alerts]
    if notification.board_url:
        parts.append(f"Board: {notification.board_url}")
    return "\n\n".join(p for p in parts if p) + "\n"


def html(notification: Notification) -> str:
    """The message as simple HTML; all that comes from records is escaped."""
    items = "".join(
        f"<li><strong>{escape(_state(a, notification).capitalize())}</strong> ({escape(a.severity)}): "
        f"{escape(clean(a.sentence))}</li>"
        for a in notification.alerts
    )
    link = notification.board_url
    board = f'<p><a href="{escape(link, quote=True)}">Open the board</a></p>' if link else ""
    return f"<p>{escape(clean(notification.recipient_name))}:</p><ul>{items}</ul>{board}"


def _state(alert: Alert, notification: Notification) -> str:
    if notification.reason == "repeat_interval" and alert.state == "firing":
        return "still firing"
    return alert.state.replace("_", " ")
