"""Names are data: markup, template expressions and line breaks in them are shown, never obeyed, wherever they appear."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest
from jinja2.sandbox import SecurityError
from starlette.testclient import TestClient

from alerts.email import EmailReceiver, compose
from alerts.grafana import words
from alerts.outcomes import Rejected
from alerts.receivers import console_line
from boards.app import create_app
from boards.page import environment
from schemas.alert import Notification
from storage.memory import MemoryJournal
from tests.unit.alert_samples import MAY, Recorder, engine, signals, slip, status
from tests.unit.scoped_company import Scoped

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
TEMPLATE = "{{7*7}}{% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %}"
LINES = "Ann\r\nBcc: all@example.com\r\n\r\n<b>injected</b>\x1b[31m"
HOSTILE = MARKUP + TEMPLATE


@pytest.fixture(scope="module")
def client() -> TestClient:
    """A board of a company in which everything has a hostile name."""
    company = Scoped()
    company.tell(
        *[company.change("rep", r, "2017-03-06", name=f"{HOSTILE}{r}") for r in ("r-na1", "r-na2", "r-nb1")],
        *[company.change("team", t, "2017-03-06", name=f"{HOSTILE}{t}") for t in ("t-na", "t-nb")],
        company.change("territory", "north", "2017-03-06", name=f"{HOSTILE}north"),
        company.change("account", "a1", "2017-03-06", name=HOSTILE),
        *[
            company.change("opportunity", f"late-{r}", "2017-03-06", name=f"{HOSTILE}{r}", account="a1", stage="Open")
            for r in ("r-na1", "r-na2")
        ],
    )
    app = create_app(company.pages, title=HOSTILE, tokens=None)
    return TestClient(app, base_url="http://127.0.0.1:8350")


def tags_of(page: str) -> list[tuple[str, dict[str, str]]]:
    """Every tag of a page with its attributes, as a parser sees them."""
    found: list[tuple[str, dict[str, str]]] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, {name: value or "" for name, value in attrs}))

    Parser().feed(page)
    return found


@pytest.mark.parametrize(
    "path",
    ["/", "/?period=2017-Q1", "/territory/north?period=2017-Q1", "/team/t-na?period=2017-Q1", "/rep/r-na1?period=2017-Q1",
     "/deals", "/deals?dimension=rep&scope=r-na1", "/health"],
)  # fmt: skip
def test_pages_show_hostile_names_as_text(path: str, client: TestClient) -> None:
    """Every page: no tag and no attribute of a name's making, and no expression worked out."""
    page = client.get(path).text
    if path != "/health":
        assert "&lt;script&gt;alert(1)" in page
        assert "{{7*7}}" in page
    tags = tags_of(page)
    assert "img" not in {tag for tag, _ in tags}
    assert all(attributes.get("src", "").startswith("/static/") for tag, attributes in tags if tag == "script")
    assert [name for _, attributes in tags for name in attributes if name.startswith("on")] == []
    assert "49{%" not in page


@pytest.mark.parametrize("address", ["/rep/{}", "/?period={}", "/?as_of={}", "/{}", "/deals?dimension=rep&scope={}"])
def test_error_pages_show_what_was_asked_for_as_text(address: str, client: TestClient) -> None:
    """What an error says again is escaped as well."""
    answer = client.get(address.format("%3Cscript%3Ealert(1)%3C%2Fscript%3E%7B%7B7*7%7D%7D"))
    assert answer.status_code in (400, 404)
    assert "<script>alert" not in answer.text


def test_the_door_shows_where_one_came_from_as_text(client: TestClient) -> None:
    """An address that is kept through the sign-in cannot leave its attribute."""
    from boards.tokens import Tokens
    from tests.browser.sample_board import SampleSource

    locked = create_app(SampleSource(), title="Planwatch", tokens=Tokens.single("x" * 20))
    page = TestClient(locked, base_url="http://b.example").get('/"><script>alert(1)</script>?a="><img src=x>').text
    assert "<script>alert" not in page
    assert "<img" not in page


@pytest.mark.parametrize(
    "attack",
    ["{{ ''.__class__.__mro__ }}", "{{ view.__init__.__globals__ }}", "{{ known.append(1) }}", "{{ q.__globals__.x }}"],
)
def test_templates_are_sandboxed(attack: str) -> None:
    """Should a text ever become a template, it reaches no internals and changes nothing."""
    with pytest.raises(SecurityError):
        environment().from_string(attack).render(view=object(), known=[])


def test_templates_escape_by_themselves() -> None:
    """Nothing has to be escaped by hand."""
    assert environment().from_string("{{ name }}").render(name=MARKUP).startswith("&lt;script&gt;")


def notification(**about: str) -> Notification:
    """A message about a hostile name."""
    receiver = Recorder()
    e = engine(MemoryJournal(), {"x": receiver})
    e.evaluate(signals(MAY, status("0.1", **about)))
    e.flush(MAY)
    return receiver.got[0]


@pytest.mark.parametrize(
    "name", [LINES, HOSTILE, "=?utf-8?q?x=0d=0aBcc:_all@example.com?=", "a\u2028b\u0085c\x0bBcc: x"]
)
def test_a_name_adds_nothing_to_a_mail(name: str) -> None:
    """Line breaks of any kind in a name add no header and no line, markup no tag, however the mail is encoded."""
    found = notification(scope_name=name).model_copy(update={"recipient_name": name})
    sent = compose(found, "Planwatch <planwatch@example.com>", ("ann@example.com",)).as_bytes()
    message = message_from_bytes(sent, policy=policy.default)
    assert isinstance(message, EmailMessage)
    plain = ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
    assert sorted(message.keys()) == sorted(plain)
    assert message["To"] == "ann@example.com"
    text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    rich = message.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert not [line for line in text.splitlines() if line.startswith(("Bcc", "<b>"))]
    assert "\x1b" not in text + rich
    assert not re.search(r"<(script|img|b)\b", rich)


@pytest.mark.parametrize(
    "address",
    ["ann@example.com, evil@example.com", "ann@example.com\r\nBcc: evil@example.com", "ann@example.com;evil@example.com",
     "Ann <ann@example.com>", "@", "ann", "ann@example.com evil@example.com", "a@b\x00.example", ">"],
)  # fmt: skip
def test_an_address_from_a_record_is_one_address(address: str) -> None:
    """Nobody else is written to through a rep's e-mail field; the refusal is final and named."""
    receiver = EmailReceiver(host="127.0.0.1", port=9, sender="planwatch@example.com")
    outcome = receiver.deliver(notification().model_copy(update={"address": address}))
    assert isinstance(outcome, Rejected)
    assert "is not one address" in outcome.reason


def test_a_name_cannot_write_to_the_terminal_or_an_annotation() -> None:
    """The console's line is one line without escapes; Grafana's text is escaped, as Grafana shows HTML."""
    found = notification(scope_name=LINES + MARKUP)
    line = console_line(found.alerts[0], found)
    assert "\n" not in line + words(found.alerts[0])
    assert "\x1b" not in line + words(found.alerts[0])
    assert "<" not in words(found.alerts[0])


def test_a_deal_s_name_is_data_too() -> None:
    """What slips is named in subject and sentence: one line each."""
    receiver = Recorder()
    e = engine(MemoryJournal(), {"x": receiver})
    e.evaluate(signals(MAY, slipped=[slip().model_copy(update={"name": LINES, "rep_name": TEMPLATE})]))
    e.flush(MAY)
    for found in receiver.got:
        message = compose(found, "planwatch@example.com", ("ann@example.com",))
        assert message["Bcc"] is None
        assert "49" not in str(message["Subject"])
