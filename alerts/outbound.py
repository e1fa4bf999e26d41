"""Requests to addresses outside: where they may go is judged by the very address that is connected to.

A name is resolved once, and the connection is made to what was judged: a second answer of the name server cannot lead
elsewhere. Redirects are not followed, proxies of the environment are not asked, and the whole exchange has an end.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpcore
import httpx

from schemas.base import PlanwatchError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: From a host and a port to its addresses as text. Raises OSError or UnicodeError.
Resolve = Callable[[str, int], Sequence[str]]

ADDRESSES_MAX = 4  # of one name that are tried
READ_BYTES_MAX = 256 << 10  # of an answer; its body is of no interest
PORTS = {"http": 80, "https": 443}


def _networks(*named: tuple[str, str]) -> tuple[tuple[Network, str], ...]:
    return tuple((ipaddress.ip_network(network), what) for network, what in named)


#: Where cloud machines ask for their own credentials. No general allowance admits these.
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
#: Inside: what `allow_private` admits.
PRIVATE = _networks(
    ("127.0.0.0/8", "this machine (loopback)"),
    ("10.0.0.0/8", "a private network"),
    ("172.16.0.0/12", "a private network"),
    ("192.168.0.0/16", "a private network"),
    ("100.64.0.0/10", "a carrier's private network"),
    ("::1/128", "this machine (loopback)"),
    ("fc00::/7", "a private network (unique local)"),
)
#: What the IANA registries of special-purpose addresses have beyond that, and no public service has.
SPECIAL = _networks(
    ("0.0.0.0/8", "no address"),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "for documentation"),
    ("192.88.99.0/24", "reserved (6to4)"),
    ("198.18.0.0/15", "for measurements"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/96", "no address"),  # and IPv4-compatible ones
    ("64:ff9b:1::/48", "a private translation to IPv4"),
    ("2001::/23", "reserved"),  # Teredo among them
    ("2001:db8::/32", "for documentation"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "for documentation"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that is handed out so far
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class ForbiddenTarget(Exception):
    """An address that requests must not go to. The message says which and why."""


@dataclass(frozen=True)
class Targets:
    """Where requests may go beside public addresses."""

    allow_private: bool = False
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, allow_private: bool, networks: Iterable[str]) -> Targets:
        """From the settings. Raises PlanwatchError for what is no network."""
        found: list[Network] = []
        for text in networks:
            try:
                found.append(ipaddress.ip_network(text))
            except ValueError as error:
                raise PlanwatchError(f"allow_networks: {error}. Write 10.1.2.0/24 or fd12::/48.") from None
        return cls(allow_private, tuple(found))

    def refusal(self, address: Address) -> str:
        """Why nothing may go to an address; empty where it may."""
        meant = _meant(address)
        if any(meant in network or address in network for network in self.networks):
            return ""
        if meant in METADATA:
            return "a cloud's metadata service"
        inside = next((what for network, what in PRIVATE if meant in network), "")
        if inside:
            return "" if self.allow_private else inside
        special = next((what for network, what in SPECIAL if meant in network), "")
        if not special and meant.version == 6 and meant not in GLOBAL_UNICAST:
            return "no public address"
        return special


PUBLIC = Targets()


def _meant(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one through which packets reach it; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host as the system's resolver has them, which also reads 2130706433 and 0x7f.1."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class CheckedBackend(httpcore.NetworkBackend):
    """Makes connections to addresses that `targets` admits. Each has to be done with `total_s` after it was begun."""

    def __init__(self, targets: Targets, total_s: float, resolve: Resolve = resolve) -> None:
        self._targets, self._total_s, self._resolve = targets, total_s, resolve
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection. Raises ForbiddenTarget where none of the host's addresses may be connected to."""
        until = time.monotonic() + self._total_s
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._admitted(host, port)[:ADDRESSES_MAX]:
            try:
                left = _left(until, timeout, httpcore.ConnectTimeout)
                stream = self._plain.connect_tcp(str(address), port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
                continue
            return _BoundedStream(stream, until)
        raise failed

    def _admitted(self, host: str, port: int) -> list[Address]:
        try:
            found = [ipaddress.ip_address(text) for text in dict.fromkeys(self._resolve(host, port))]
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        reasons = {address: self._targets.refusal(address) for address in found}
        admitted = [address for address in found if not reasons[address]]
        if found and not admitted:
            address = found[0]
            raise ForbiddenTarget(f"{host} is {address}, {reasons[address]}")
        return admitted


class _BoundedStream(httpcore.NetworkStream):
    """A connection that ends at a moment and after so many bytes, however slowly they come."""

    def __init__(self, stream: httpcore.NetworkStream, until: float) -> None:
        self._stream, self._until = stream, until
        self._left_bytes = READ_BYTES_MAX

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes."""
        if self._left_bytes <= 0:
            raise httpcore.ReadError(f"the answer does not end within {READ_BYTES_MAX} bytes")
        most = min(max_bytes, self._left_bytes)
        found = self._stream.read(most, _left(self._until, timeout, httpcore.ReadTimeout))
        self._left_bytes -= len(found)
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        self._stream.write(buffer, _left(self._until, timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """End it."""
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on encrypted; the certificate has to be that of the name, whatever address was connected to."""
        left = _left(self._until, timeout, httpcore.ConnectTimeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._until)

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        return self._stream.get_extra_info(info)


def _left(until: float, timeout: float | None, raised: type[Exception]) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise raised("the time is over")
    return left if timeout is None else min(left, timeout)


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: httpx.Headers


#: What can go wrong on the way and may pass.
TROUBLES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


class Outbound:
    """Posts to one address, with a connection of its own each time."""

    def __init__(self, url: str, targets: Targets = PUBLIC, *, timeout_s: float, resolve: Resolve = resolve) -> None:
        """Raises PlanwatchError for an address that requests cannot go to."""
        self._url = parsed(url)
        self._timeout_s = timeout_s
        self._backend = CheckedBackend(targets, timeout_s, resolve)
        self._pool: httpcore.ConnectionPool | None = None

    def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Post; returns when the head of the answer is there. Raises ForbiddenTarget and TROUBLES."""
        if self._pool is None:  # made on first use: reading the certificates takes longer than all else
            self._pool = httpcore.ConnectionPool(
                httpx.create_ssl_context(), max_keepalive_connections=0, network_backend=self._backend
            )
        url = httpcore.URL(
            scheme=self._url.raw_scheme, host=self._url.raw_host, port=self._url.port, target=self._url.raw_path
        )
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_s)
        sent: list[tuple[bytes | str, bytes | str]] = [("Host", self._url.netloc), *headers.items()]
        with self._pool.stream("POST", url, headers=sent, content=content, extensions={"timeout": timeouts}) as answer:
            return Answer(answer.status, httpx.Headers(answer.headers))


def parsed(url: str) -> httpx.URL:
    """An address that requests may be made to. Raises PlanwatchError, without the address: it may hold a secret."""
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise PlanwatchError(f"url: the address is not valid: {error}.") from None
    if found.scheme not in PORTS or not found.host:
        raise PlanwatchError("url: a webhook needs an address that begins with https:// or http://.")
    if not 0 < (found.port or PORTS[found.scheme]) < 1 << 16:
        raise PlanwatchError("url: the port is not valid; it is a number from 1 to 65535.")
    if found.userinfo:
        raise PlanwatchError("url: write the address without user and password before an @.")
    return found
