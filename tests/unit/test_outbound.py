"""Webhooks that shall go where they must not: tried as an attacker would, against a server on this machine."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import httpcore
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from alerts.outbound import NAT64, PUBLIC, READ_BYTES_MAX, Targets
from alerts.outcomes import Delivered, Rejected, RetryAfter
from alerts.receivers import make_receivers
from alerts.webhook import WebhookReceiver
from schemas.alert import Notification
from schemas.base import PlanwatchError
from schemas.config import ReceiverConfig
from storage.memory import MemoryJournal
from tests.http_receiver import HttpReceiver, http_receiver
from tests.unit.alert_samples import MAY, Recorder, engine, signals, status

INSIDE = Targets(allow_private=True)


@pytest.fixture
def notification() -> Notification:
    """A message as receivers get it."""
    receiver = Recorder()
    e = engine(MemoryJournal(), {"x": receiver})
    e.evaluate(signals(MAY, status("0.1")))
    e.flush(MAY)
    return receiver.got[0]


@pytest.fixture
def victim() -> Iterator[HttpReceiver]:
    """A service that trusts whoever reaches it."""
    with http_receiver() as server:
        yield server


def answers(*addresses: str) -> Callable[[str, int], list[str]]:
    """A name server's answers to one question after another; the last one stays."""
    left = list(addresses)

    def resolve(host: str, port: int) -> list[str]:
        return [left.pop(0) if len(left) > 1 else left[0]]

    return resolve


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "good.example@127.0.0.1",
        "127.0.0.1#@good.example",
        "127.0.0.1\\@good.example",
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
    ],
)
def test_no_spelling_reaches_this_machine(host: str, victim: HttpReceiver, notification: Notification) -> None:
    """Loopback in every form of writing it is rejected for good, or is no address at all; nothing arrives."""
    outcome = None
    with suppress(PlanwatchError):  # the address is refused before anything is sent
        outcome = WebhookReceiver(f"http://{host}:{victim.server_port}/hook", timeout_s=2).deliver(notification)
    assert not isinstance(outcome, Delivered)
    assert victim.got == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost"])
def test_other_spellings_are_named_by_the_address_that_they_mean(host: str, notification: Notification) -> None:
    """The reason says what a host turned out to be, and which setting would allow it. It is not tried again."""
    outcome = WebhookReceiver(f"http://{host}:9/secret-path").deliver(notification)
    assert isinstance(outcome, Rejected)
    assert "this machine (loopback)" in outcome.reason
    assert "allow_private" in outcome.reason
    assert "secret-path" not in outcome.reason


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.1.2.3", "a private network"),
        ("172.31.255.255", "a private network"),
        ("192.168.0.1", "a private network"),
        ("100.64.0.1", "a carrier's private network"),
        ("100.127.255.255", "a carrier's private network"),
        ("169.254.1.1", "link-local"),
        ("169.254.169.254", "a cloud's metadata service"),
        ("100.100.100.200", "a cloud's metadata service"),
        ("168.63.129.16", "a cloud's metadata service"),
        ("fd00:ec2::254", "a cloud's metadata service"),
        ("0.0.0.0", "no address"),
        ("192.0.2.1", "for documentation"),
        ("198.18.0.1", "for measurements"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "no address"),
        ("::1", "this machine (loopback)"),
        ("::7f00:1", "no address"),
        ("::ffff:10.0.0.1", "a private network"),
        ("::ffff:169.254.169.254", "a cloud's metadata service"),
        ("64:ff9b::a00:1", "a private network"),
        ("64:ff9b::a9fe:a9fe", "a cloud's metadata service"),
        ("64:ff9b:1::1", "a private translation to IPv4"),
        ("2002:7f00:1::", "6to4"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved"),
        ("fc00::1", "a private network (unique local)"),
        ("fdff::1", "a private network (unique local)"),
        ("fe80::1", "link-local"),
        ("febf::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("4000::1", "no public address"),
        ("100::1", "no public address"),
    ],
)
def test_what_is_no_public_address(address: str, why: str, notification: Notification) -> None:
    """Special addresses are refused with a reason, also when a name of a good host leads to them."""
    receiver = WebhookReceiver("https://hooks.example/x", resolve=answers(address), timeout_s=2)
    assert receiver.deliver(notification) == Rejected(
        f"not sent: hooks.example is {ip_address(address)}, {why}. If it shall go there: allow_private or "
        "allow_networks of the receiver"
    )


@pytest.mark.parametrize("address", ["8.8.8.8", "100.63.255.255", "100.128.0.0", "172.32.0.0", "2606:4700::1111"])
def test_public_addresses_are_admitted(address: str) -> None:
    """The edges of the refused networks are in the right place, also inside a translation to IPv4."""
    ip = ip_address(address)
    assert PUBLIC.refusal(ip) == ""
    if isinstance(ip, IPv4Address):
        assert PUBLIC.refusal(IPv6Address(f"::ffff:{ip}")) == ""
        assert PUBLIC.refusal(IPv6Address(int(IPv6Address("64:ff9b::")) | int(ip))) == ""


@given(st.ip_addresses())
def test_nothing_that_python_calls_inside_is_admitted(address: IPv4Address | IPv6Address) -> None:
    """Every address that the standard library knows to be private or special is refused, and mapped into IPv6 too."""
    means_another = isinstance(address, IPv6Address) and (address.ipv4_mapped or address in NAT64)
    inside = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    if not means_another and (inside or address.is_reserved or address.is_unspecified):
        assert PUBLIC.refusal(address)
    if isinstance(address, IPv4Address):
        assert PUBLIC.refusal(IPv6Address(f"::ffff:{address}")) == PUBLIC.refusal(address)


def test_a_name_is_asked_once_and_its_answer_is_where_one_goes(
    victim: HttpReceiver, notification: Notification
) -> None:
    """Rebinding: an answer that is public when it is judged and loopback afterwards leads to no connection inside."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) > 1 else ["192.88.98.1"]  # routed to nobody

    url = f"http://rebind.example:{victim.server_port}/"
    assert isinstance(WebhookReceiver(url, resolve=resolve, timeout_s=0.2).deliver(notification), RetryAfter)
    assert asked == ["rebind.example"]
    assert isinstance(WebhookReceiver(url, resolve=resolve, timeout_s=0.2).deliver(notification), Rejected)
    assert victim.got == []


def test_of_several_answers_only_the_admitted_are_tried(victim: HttpReceiver, notification: Notification) -> None:
    """A name that is loopback beside something public is not connected to at loopback."""
    url = f"http://both.example:{victim.server_port}/"
    both = WebhookReceiver(url, resolve=lambda *_: ["127.0.0.1", "192.88.98.1"], timeout_s=0.2)
    assert isinstance(both.deliver(notification), RetryAfter)
    assert victim.got == []


@pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/inside", "http://[::ffff:127.0.0.1]:{port}/", "/again"])
def test_redirects_are_not_followed(location: str, victim: HttpReceiver, notification: Notification) -> None:
    """An admitted server cannot send us elsewhere; the reason says so without the address."""
    victim.code, victim.answer = 307, {"Location": location.format(port=victim.server_port)}
    outcome = WebhookReceiver(f"http://127.0.0.1:{victim.server_port}/first", INSIDE).deliver(notification)
    assert isinstance(outcome, Rejected)
    assert "redirects are not followed" in outcome.reason
    assert "inside" not in outcome.reason
    assert [post.path for post in victim.got] == ["/first"]


def test_proxies_of_the_environment_are_not_asked(
    victim: HttpReceiver, notification: Notification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would resolve and connect for us, past every check."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{victim.server_port}")
    outcome = WebhookReceiver("http://hooks.example/", resolve=answers("10.0.0.1")).deliver(notification)
    assert isinstance(outcome, Rejected)
    assert victim.got == []


def test_what_is_allowed_arrives_under_its_name(victim: HttpReceiver, notification: Notification) -> None:
    """An allowance for all private networks, or for the one, lets it through; the server is told the name."""
    url, there = f"http://hooks.internal:{victim.server_port}/x?y=1", answers("127.0.0.1")
    for targets in (INSIDE, Targets.parse(False, ["127.0.0.0/8"])):
        assert WebhookReceiver(url, targets, resolve=there).deliver(notification) == Delivered()
    assert [(post.path, post.headers["Host"]) for post in victim.got] == [
        ("/x?y=1", f"hooks.internal:{victim.server_port}")
    ] * 2
    other = Targets.parse(False, ["10.0.0.0/8"])
    assert isinstance(WebhookReceiver(url, other, resolve=there).deliver(notification), Rejected)


def test_metadata_needs_an_allowance_of_its_own() -> None:
    """`allow_private` does not open the credentials of a cloud machine, link-local or multicast; naming them does."""
    for text in (
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "169.254.0.1",
        "fe80::1",
        "224.0.0.1",
        "0.0.0.0",
    ):
        assert INSIDE.refusal(ip_address(text))
    assert Targets.parse(False, ["169.254.169.254/32"]).refusal(ip_address("::ffff:169.254.169.254")) == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("gopher://127.0.0.1:70/x", "begins with https"),
        ("file:///etc/passwd", "begins with https"),
        ("//good.example/", "begins with https"),
        ("http://", "begins with https"),
        ("", "begins with https"),
        ("https://user:secret@good.example/", "without user and password"),
        ("https://user@good.example/", "without user and password"),
        ("http://good.example/\r\nHost: evil.example", "not valid"),
        ("http://good.example\r\n/", "not valid"),
        ("http://good.example/a\x00b", "not valid"),
        ("http://good.example:99999/", "port is not valid"),
        ("http://0177.0.0.1/", "not valid"),
    ],
)
def test_addresses_that_are_refused_before_anything_runs(url: str, words: str) -> None:
    """Other schemes, credentials and control characters in an address are mistakes of the configuration."""
    with pytest.raises(PlanwatchError, match="«hook»") as error:
        make_receivers([ReceiverConfig(name="hook", kind="webhook", url=url)])
    assert words in str(error.value)
    assert "secret" not in str(error.value)


def test_a_network_that_is_none_is_named() -> None:
    """A mistake in `allow_networks` is told with the receiver and the setting."""
    config = ReceiverConfig(name="hook", kind="webhook", url="https://x.example", allow_networks=("10.0.0.1/8",))
    with pytest.raises(PlanwatchError, match=r"«hook»: allow_networks: 10\.0\.0\.1/8"):
        make_receivers([config])


@pytest.fixture
def drip() -> Iterator[tuple[int, list[bytes]]]:
    """A server that sends what a test puts into the list again and again, and never ends its headers."""
    sending = [b""]
    done = threading.Event()

    def serve(listening: socket.socket) -> None:
        peer, _ = listening.accept()
        with peer:
            try:
                while not done.is_set():
                    peer.sendall(sending[0])
                    done.wait(0.02)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        yield listening.getsockname()[1], sending
        done.set()
        thread.join(5)


@pytest.mark.parametrize("bit", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"x"])
def test_an_answer_that_drips_ends_in_time(
    bit: bytes, drip: tuple[int, list[bytes]], notification: Notification
) -> None:
    """A server that always has a little more to say holds a delivery no longer than the timeout, in all."""
    port, sending = drip
    sending[0] = bit
    outcome = WebhookReceiver(f"http://127.0.0.1:{port}/", INSIDE, timeout_s=0.3).deliver(notification)
    assert isinstance(outcome, RetryAfter)
    assert "ReadTimeout" in outcome.reason


def test_an_answer_without_end_is_cut(drip: tuple[int, list[bytes]], notification: Notification) -> None:
    """What is read of an answer is bounded: informational answers without end are given up."""
    port, sending = drip
    sending[0] = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * (READ_BYTES_MAX // 16)
    outcome = WebhookReceiver(f"http://127.0.0.1:{port}/", INSIDE, timeout_s=20).deliver(notification)
    assert isinstance(outcome, RetryAfter)
    assert "does not end" in outcome.reason


def test_the_certificate_is_that_of_the_name(
    victim: HttpReceiver, notification: Notification, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS is made with the name, whatever address was connected to: another's certificate is no delivery."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.internal").configure_cert(context)
    victim.socket = context.wrap_socket(victim.socket, server_side=True)
    for name, arrives in (("hooks.internal", True), ("other.internal", False)):
        url = f"https://{name}:{victim.server_port}/"
        outcome = WebhookReceiver(url, INSIDE, resolve=answers("127.0.0.1")).deliver(notification)
        assert isinstance(outcome, Delivered if arrives else RetryAfter)
    assert len(victim.got) == 1


def test_errors_of_the_wire_are_told_apart_from_refusals() -> None:
    """A refused target is no network error, so nothing that retries those retries it."""
    from alerts.outbound import CheckedBackend, ForbiddenTarget

    with pytest.raises(ForbiddenTarget, match="is 127"):
        CheckedBackend(PUBLIC, 1.0).connect_tcp("127.0.0.1", 80)
    with pytest.raises(httpcore.ConnectError, match="cannot be resolved"):
        CheckedBackend(PUBLIC, 1.0).connect_tcp("x" * 300, 80)
