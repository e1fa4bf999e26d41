"""Who is signed in, and who tries to be: sessions on the server, and a brake on guessing. Both are bounded.

Sessions live in memory: a restart signs everybody out, and no file holds what would let one in.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from boards.tokens import Grant
from storage.backoff import backoff_s

LIFETIME_S = 7 * 86_400.0
IDLE_S = 12 * 3600.0
SESSIONS_MAX = 2_000
#: Of one token, so that its holder cannot push out everybody else's.
SESSIONS_OF_A_TOKEN_MAX = 100

ADDRESSES_MAX = 10_000
FREE_FAILURES = 5
FIRST_WAIT_S, MOST_WAIT_S = 1.0, 60.0
FORGOTTEN_S = 900.0
#: Failures of everybody together that are borne at once, and how many more each second.
ALL_FAILURES, ALL_PER_S = 100.0, 1.0

Clock = Callable[[], float]


@dataclass
class _Session:
    grant: Grant
    began: float
    used: float


class Sessions:
    """Signed-in browsers. An id is random and kept only as its digest; it ends with its token, by age or by idleness."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, _Session] = OrderedDict()  # the least recently used first

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, grant: Grant) -> str:
        """A new session; returns its id."""
        session_id, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            mine = [key for key, s in self._known.items() if s.grant.token is grant.token]
            for key in mine[: max(len(mine) - SESSIONS_OF_A_TOKEN_MAX + 1, 0)]:
                del self._known[key]
            while len(self._known) >= SESSIONS_MAX:
                self._known.popitem(last=False)
            self._known[_key(session_id)] = _Session(grant, now, now)
        return session_id

    def find(self, session_id: str) -> Grant | None:
        """What a session may see, and note that it was used; none where it never was or has ended."""
        key, now = _key(session_id), self._clock()
        with self._lock:
            session = self._known.get(key)
            if session is None:
                return None
            over = now - session.began >= LIFETIME_S or now - session.used >= IDLE_S
            if over or not session.grant.holds():
                del self._known[key]
                return None
            session.used = now
            self._known.move_to_end(key)
            return session.grant

    def end(self, session_id: str) -> None:
        """Sign out."""
        with self._lock:
            self._known.pop(_key(session_id), None)


def _key(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()


@dataclass
class _Failures:
    count: int
    last: float


class Attempts:
    """Slows down guessing: by address after a few failures, and for everybody when too many fail at once.

    While one has to wait a secret is not even looked at, so that the answer tells nothing. A right one does not wipe out
    the wrong ones before it: whoever has one token could else guess at another without end.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()  # the oldest failure first
        self._left = ALL_FAILURES
        self._filled = clock()

    def wait_s(self, address: str) -> float:
        """Seconds until a secret from an address is looked at again; 0: now."""
        with self._lock:
            now = self._clock()
            self._fill(now)
            everybody = (1.0 - self._left) / ALL_PER_S if self._left < 1.0 else 0.0
            known = self._failures.get(network_of(address))
            if known is None or known.count < FREE_FAILURES:
                return everybody
            own = known.last + backoff_s(known.count - FREE_FAILURES + 1, FIRST_WAIT_S, MOST_WAIT_S) - now
            return max(own, everybody, 0.0)

    def failed(self, address: str) -> None:
        """A secret from an address was not right."""
        with self._lock:
            now, key = self._clock(), network_of(address)
            self._fill(now)
            self._left = max(self._left - 1.0, 0.0)
            known = self._failures.pop(key, None)
            fresh = known is None or now - known.last >= FORGOTTEN_S
            self._failures[key] = _Failures(1 if known is None or fresh else known.count + 1, now)
            while len(self._failures) > ADDRESSES_MAX:
                self._failures.popitem(last=False)

    def _fill(self, now: float) -> None:
        self._left = min(self._left + (now - self._filled) * ALL_PER_S, ALL_FAILURES)
        self._filled = now


def network_of(address: str) -> str:
    """Whom an address counts for: itself, and in IPv6 its /64, since whoever has one has all of it."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
