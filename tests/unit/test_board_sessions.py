"""Sessions and the brake on guessing: how long they last, and that neither grows without end."""

from __future__ import annotations

import threading

from boards.sessions import (
    ADDRESSES_MAX,
    ALL_FAILURES,
    FREE_FAILURES,
    IDLE_S,
    LIFETIME_S,
    MOST_WAIT_S,
    SESSIONS_MAX,
    SESSIONS_OF_A_TOKEN_MAX,
    Attempts,
    Sessions,
)
from boards.tokens import Grant, Tokens


class Hand:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def grant() -> Grant:
    """What the secret of a token of its own opens."""
    found = Tokens.single("a-secret").grant("a-secret")
    assert found is not None
    return found


def test_a_session_ends_by_age_and_by_idleness() -> None:
    """Twelve hours unused or seven days in all, whatever comes first; use puts off only the first."""
    clock = Hand()
    sessions = Sessions(clock)
    idle, used = sessions.begin(grant()), sessions.begin(grant())
    for _ in range(int(LIFETIME_S / (IDLE_S - 1))):
        clock.now += IDLE_S - 1
        assert sessions.find(used) is not None
    clock.now = 1000.0 + LIFETIME_S
    assert sessions.find(used) is None
    assert sessions.find(idle) is None
    assert len(sessions) == 0


def test_sessions_are_bounded() -> None:
    """One token's sessions push out its own oldest, and no more are kept in all than the bound."""
    sessions = Sessions()
    other, mine = sessions.begin(grant()), grant()
    ids = [sessions.begin(mine) for _ in range(SESSIONS_OF_A_TOKEN_MAX + 1)]
    assert sessions.find(ids[0]) is None
    assert sessions.find(ids[1]) is not None
    assert sessions.find(other) is not None
    for _ in range(SESSIONS_MAX):
        sessions.begin(grant())
    assert len(sessions) == SESSIONS_MAX


def test_waits_grow_and_have_an_end() -> None:
    """1, 2, 4 … seconds up to a minute; time heals, and other addresses do not wait."""
    clock = Hand()
    attempts = Attempts(clock)
    waits = []
    for _ in range(FREE_FAILURES + 10):
        attempts.failed("192.0.2.1")
        waits.append(attempts.wait_s("192.0.2.1"))
        clock.now += waits[-1]
    assert waits[: FREE_FAILURES - 1] == [0.0] * (FREE_FAILURES - 1)
    assert waits[FREE_FAILURES - 1 :] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert max(waits) == MOST_WAIT_S
    assert attempts.wait_s("192.0.2.2") == 0
    clock.now += 900
    attempts.failed("192.0.2.1")
    assert attempts.wait_s("192.0.2.1") == 0


def test_all_of_a_v6_network_is_one_guesser() -> None:
    """Whoever has one address of a /64 has all of them; a mapped address is its IPv4 one."""
    attempts = Attempts(Hand())
    for n in range(FREE_FAILURES):
        attempts.failed(f"2001:db8::{n:x}")
        attempts.failed("::ffff:192.0.2.1")
    assert attempts.wait_s("2001:db8::ffff") == 1
    assert attempts.wait_s("2001:db8:0:1::1") == 0
    assert attempts.wait_s("192.0.2.1") == 1


def test_many_addresses_together_are_slowed_down_and_the_table_is_bounded() -> None:
    """Guessers with an address for each guess use up what all may fail, which comes back by and by."""
    clock = Hand()
    attempts = Attempts(clock)
    for n in range(ADDRESSES_MAX + 5):
        attempts.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(attempts._failures) == ADDRESSES_MAX
    assert 0 < attempts.wait_s("192.0.2.1") <= 1
    clock.now += 1
    assert attempts.wait_s("192.0.2.1") == 0
    attempts.failed("192.0.2.1")
    assert attempts.wait_s("192.0.2.2") > 0
    clock.now += ALL_FAILURES
    assert attempts.wait_s("192.0.2.2") == 0


def test_sessions_hold_under_many_threads() -> None:
    """Signing in and out from many threads at once loses no session and keeps none too many."""
    sessions, found = Sessions(), []

    def work() -> None:
        mine = grant()
        for _ in range(50):
            session_id = sessions.begin(mine)
            found.append(sessions.find(session_id) is not None)
            sessions.end(session_id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 400
    assert len(sessions) == 0
