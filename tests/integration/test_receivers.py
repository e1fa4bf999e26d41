"""Webhook and e-mail receivers against real servers on this machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from alerts.outbound import Targets
from alerts.receivers import Delivered, Rejected, RetryAfter, make_receivers
from alerts.webhook import WebhookReceiver
from schemas.alert import Notification
from schemas.base import PlanwatchError
from schemas.config import ReceiverConfig
from storage.memory import MemoryJournal
from tests.http_receiver import HttpReceiver, http_receiver
from tests.unit.alert_samples import MAY, Recorder, engine, signals, status


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def notification() -> Notification:
    """A message about a rep whose name is an attack on headers and HTML."""
    receiver = Recorder()
    e = engine(MemoryJournal(), {"x": receiver})
    e.evaluate(signals(MAY, status("0.1", scope_name="Zoë\r\nBcc: all@example.com <script>")))
    e.flush(MAY)
    return receiver.got[0]


@pytest.fixture
def hook() -> Iterator[HttpReceiver]:
    """A service that takes notifications."""
    with http_receiver() as server:
        yield server


def webhook(url: str) -> Any:
    return make_receivers([ReceiverConfig(name="hook", kind="webhook", url=url, allow_private=True)])["hook"]


def test_webhook_delivers_json_with_its_key(hook: HttpReceiver, notification: Notification) -> None:
    """What arrives is the notification, whole, and the same key at every attempt."""
    receiver = webhook(hook.url)
    assert [receiver.deliver(notification) for _ in range(2)] == [Delivered(), Delivered()]
    assert [post.headers["Idempotency-Key"] for post in hook.got] == [notification.key] * 2
    assert Notification.model_validate_json(hook.got[0].body) == notification


@pytest.mark.parametrize(
    ("code", "headers", "answer"),
    [
        (200, {}, Delivered),
        (429, {"Retry-After": "30"}, RetryAfter),
        (500, {}, RetryAfter),
        (503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, RetryAfter),
        (503, {"Retry-After": "soon"}, RetryAfter),
        (400, {}, Rejected),
        (404, {}, Rejected),
        (302, {"Location": "/elsewhere"}, Rejected),
    ],
)
def test_webhook_answers(
    code: int, headers: dict[str, str], answer: type, hook: HttpReceiver, notification: Notification
) -> None:
    """Success, trouble that may pass and refusal are told apart; the server's own wait is kept."""
    hook.code, hook.answer = code, headers
    outcome = webhook(hook.url).deliver(notification)
    assert isinstance(outcome, answer)
    if headers.get("Retry-After") == "30":
        assert outcome.seconds == 30


def test_webhook_without_a_server_is_tried_again(hook: HttpReceiver, notification: Notification) -> None:
    """No connection is trouble that may pass, and the address (it may hold a secret) is not in the reason."""
    closed = WebhookReceiver("http://127.0.0.1:1/secret-token", Targets(allow_private=True), timeout_s=2)
    outcome = closed.deliver(notification)
    assert isinstance(outcome, RetryAfter)
    assert "secret-token" not in outcome.reason


def test_webhook_through_the_engine_after_an_outage(hook: HttpReceiver) -> None:
    """A server that is away at first gets every alert once, in the end."""
    hook.code = 503
    e = engine(MemoryJournal(), {"hook": WebhookReceiver(hook.url, Targets(allow_private=True))})
    e.evaluate(signals(MAY, status("0.1"), status("0.1", rep="r2")))
    e.flush(MAY, wait_s=20)
    assert (len(hook.got), e.waiting) == (1, 2)
    hook.code = 200
    e.flush(MAY + 5_000_000, wait_s=20)
    assert e.waiting == 0
    assert sorted(json.loads(post.body)["recipient"] for post in hook.got[1:]) == ["rep:r1", "rep:r2"]


class Mailbox:
    """An SMTP handler that keeps messages and answers RCPT with `reply`."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.recipients: list[str] = []
        self.reply = "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.reply

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.messages.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients += envelope.rcpt_tos
        return "250 OK"


def login_ok(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    known = (data.login, data.password) == (b"planwatch", b"open sesame")
    return AuthResult(success=known, handled=known)


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=port,
        authenticator=login_ok,
        auth_require_tls=False,
        auth_exclude_mechanism=["LOGIN"],
    )
    controller.start()
    yield box, port
    controller.stop()


def mailer(port: int, **settings: Any) -> Any:
    fields = {"smtp_host": "127.0.0.1", "smtp_port": port, "sender": "Planwatch <planwatch@example.com>", **settings}
    home = fields.pop("home", None)
    return make_receivers([ReceiverConfig(name="mail", kind="email", **fields)], home=home)["mail"]


def test_email_arrives(mailbox: tuple[Mailbox, int], notification: Notification) -> None:
    """The message reaches the rep, as text and HTML, its id made from the key; a name cannot add headers or markup."""
    box, port = mailbox
    assert mailer(port).deliver(notification) == Delivered()
    message = box.messages[0]
    assert box.recipients == ["r1@example.com"]
    assert message["Message-ID"] == f"<{notification.key}@example.com>"
    assert "Zoë" in message["Subject"]
    assert message["Bcc"] is None
    plain = message.get_body(("plain",)).get_content()
    rich = message.get_body(("html",)).get_content()
    assert "is likely to miss Revenue 2017-Q2" in plain
    assert "http://127.0.0.1:8350/" in plain
    assert "<script>" not in rich
    assert "&lt;script&gt;" in rich


def test_email_without_an_address(mailbox: tuple[Mailbox, int], notification: Notification) -> None:
    """Who has no address is told through `to`; with no `to` either the message is rejected, with the reason."""
    box, port = mailbox
    nobody = notification.model_copy(update={"address": None})
    assert mailer(port, to=("a@example.com", "b@example.com")).deliver(nobody) == Delivered()
    assert box.recipients == ["a@example.com", "b@example.com"]
    outcome = mailer(port).deliver(nobody)
    assert isinstance(outcome, Rejected)
    assert "rep:r1" in outcome.reason


@pytest.mark.parametrize(("reply", "answer"), [("451 Later", RetryAfter), ("550 Unknown", Rejected)])
def test_email_refused(reply: str, answer: type, mailbox: tuple[Mailbox, int], notification: Notification) -> None:
    """A refusal for now is tried again, a refusal for good is not."""
    box, port = mailbox
    box.reply = reply
    assert isinstance(mailer(port).deliver(notification), answer)


def test_email_login(mailbox: tuple[Mailbox, int], notification: Notification, tmp_path: Path) -> None:
    """The password comes from a file; a wrong one loses nothing."""
    _, port = mailbox
    file = tmp_path / "password"
    settings = {"smtp_user": "planwatch", "smtp_password_file": "password", "home": tmp_path}
    file.write_text("open sesame\n")
    assert mailer(port, **settings).deliver(notification) == Delivered()
    file.write_text("wrong")
    outcome = mailer(port, **settings).deliver(notification)
    assert isinstance(outcome, RetryAfter)
    assert "login" in outcome.reason


def test_email_without_a_server(notification: Notification) -> None:
    """A server that is away is trouble that may pass."""
    assert isinstance(mailer(1).deliver(notification), RetryAfter)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "webhook"}, "url"),
        ({"kind": "webhook", "url": "ftp://x"}, "url"),
        ({"kind": "email", "sender": "a@example.com"}, "smtp_host"),
        ({"kind": "email", "smtp_host": "x", "sender": "a@example.com", "smtp_user": "u"}, "smtp_password_file"),
        (
            {
                "kind": "email",
                "smtp_host": "x",
                "sender": "a@example.com",
                "smtp_user": "u",
                "smtp_password_file": "nowhere",
            },
            "nowhere",
        ),
    ],
)
def test_receivers_that_cannot_be_made(fields: dict[str, Any], words: str, tmp_path: Path) -> None:
    """A mistake in the configuration is named before anything runs."""
    with pytest.raises(PlanwatchError, match=words):
        make_receivers([ReceiverConfig(name="x", **fields)], home=tmp_path)


def test_console_writes_a_line_per_alert(notification: Notification) -> None:
    """Each alert is one line, without anything that could steer a terminal."""
    lines: list[str] = []
    receiver = make_receivers([ReceiverConfig(name="c", kind="console")], print_line=lines.append)["c"]
    assert receiver.deliver(notification) == Delivered()
    assert len(lines) == 1
    assert lines[0].startswith("critical · firing · Zoë")
    assert lines[0].isprintable()
