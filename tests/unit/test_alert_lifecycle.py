"""The life of an alert, as tables: what is seen when, and the state after it."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from alerts.lifecycle import Entry, advance, alert_of
from alerts.rules import observe
from schemas.alert import Rule, SourceHealth
from tests.unit.alert_samples import DAY, MAY, US, risk_rule, signals, slip, status

BAD, MID, GOOD, NONE = "0.1", "0.5", "0.9", None


def walk(rule: Rule, steps: list[tuple[int, str | None]]) -> list[str]:
    """The state after each (second, probability)."""
    entry, states = None, []
    for second, probability in steps:
        now = MAY + second * US
        seen = observe([rule], signals(now, status(probability)))[0]
        entry, _ = advance(rule, entry, seen, now)
        assert entry is not None
        states.append("no_data" if entry.state == "firing" and entry.no_data_at else entry.state)
    return states


@pytest.mark.parametrize(
    ("settings", "steps", "states"),
    [
        ({}, [(0, GOOD), (1, MID)], ["inactive", "inactive"]),
        ({}, [(0, BAD), (1, MID), (2, GOOD)], ["firing", "firing", "resolved"]),
        ({"for_s": 10}, [(0, BAD), (9, BAD), (10, BAD)], ["pending", "pending", "firing"]),
        ({"for_s": 10}, [(0, BAD), (5, MID), (11, BAD)], ["pending", "inactive", "pending"]),
        ({"for_s": 10}, [(0, BAD), (5, GOOD), (11, BAD)], ["pending", "inactive", "pending"]),
        ({"keep_firing_s": 5}, [(0, BAD), (1, GOOD), (5, GOOD), (6, GOOD)], ["firing"] * 3 + ["resolved"]),
        ({"keep_firing_s": 5}, [(0, BAD), (1, GOOD), (4, MID), (6, GOOD), (11, GOOD)], ["firing"] * 4 + ["resolved"]),
        ({}, [(0, BAD), (1, GOOD), (2, BAD)], ["firing", "resolved", "firing"]),
        # No data: what pends does not fire by it, what fires does not resolve by it.
        ({"for_s": 5}, [(0, BAD), (9, NONE), (10, BAD)], ["pending", "pending", "firing"]),
        ({}, [(0, NONE), (1, NONE)], ["inactive", "inactive"]),
        ({}, [(0, BAD), (1, NONE), (2, BAD)], ["firing", "no_data", "firing"]),
        ({"keep_firing_s": 5}, [(0, BAD), (1, GOOD), (2, NONE), (7, GOOD)], ["firing", "firing", "no_data", "firing"]),
        # The clock is set back: nothing fires or resolves by a negative time, and nothing gets stuck.
        ({"for_s": 10}, [(1000, BAD), (0, BAD), (9, BAD), (10, BAD)], ["pending"] * 3 + ["firing"]),
        (
            {"keep_firing_s": 10},
            [(999, BAD), (1000, GOOD), (0, GOOD), (9, GOOD), (10, GOOD)],
            ["firing"] * 4 + ["resolved"],
        ),
    ],
)
def test_states(settings: dict[str, Any], steps: list[tuple[int, str | None]], states: list[str]) -> None:
    """Each sequence of observations leads through the states that the design names."""
    assert walk(risk_rule(**settings), steps) == states


def test_a_value_between_the_thresholds_never_flaps() -> None:
    """A thousand random values between firing and recovery neither fire nor resolve anything."""
    dice = random.Random(7)
    between = [(n, f"{dice.uniform(0.4, 0.5499):.4f}") for n in range(1, 1000)]
    assert set(walk(risk_rule(), between)) == {"inactive"}
    assert set(walk(risk_rule(), [(0, BAD), *between])) == {"firing"}


def test_a_missed_target_resolves_in_words_of_its_own() -> None:
    """The end of the period closes an alert at once, whatever keep_firing_s says."""
    rule = risk_rule(keep_firing_s=9999)
    entry, _ = advance(rule, None, observe([rule], signals(MAY, status(BAD)))[0], MAY)
    over = observe([rule], signals(MAY + US, status("0", status="missed")))[0]
    entry, transition = advance(rule, entry, over, MAY + US)
    assert entry is not None
    assert (transition, entry.state) == ("resolved", "resolved")
    assert "period ended: missed" in entry.sentence


@pytest.mark.parametrize(
    ("actual", "quiet_s", "transition"),
    [(210_000, 2 * 86_400, None), (400_000, 2 * 86_400, "resolved"), (210_000, 60, "resolved")],
)
def test_silence_never_resolves(actual: int, quiet_s: int, transition: str | None) -> None:
    """While a source is silent a recovery counts only if newer data stand behind it."""
    rule = risk_rule()
    entry, _ = advance(rule, None, observe([rule], signals(MAY, status(BAD)))[0], MAY)
    health = [SourceHealth(source="crm", last_seen_at=MAY + DAY - quiet_s * US)]
    later = signals(MAY + DAY, status(GOOD, actual=Decimal(actual)), sources=health)
    entry, happened = advance(rule, entry, observe([rule], later)[0], MAY + DAY)
    assert happened == transition


def test_an_event_fires_once_and_expires() -> None:
    """A slipped deal needs no `for`, is not renewed by a repeat, and resolves by itself after a day."""
    rule = Rule(name="slip", kind="deal_slipped", for_s=500)
    seen = observe([rule], signals(MAY, slipped=[slip()]))[0]
    entry, first = advance(rule, None, seen, MAY)
    entry, again = advance(rule, entry, seen, MAY + US)
    entry, early = advance(rule, entry, None, MAY + DAY - 1)
    entry, late = advance(rule, entry, None, MAY + DAY)
    assert (first, again, early, late) == ("fired", None, None, "resolved")


def test_an_entry_survives_json() -> None:
    """State is what its JSON says, and the alert made of it says the same."""
    rule = risk_rule()
    entry, _ = advance(rule, None, observe([rule], signals(MAY, status(BAD)))[0], MAY)
    assert entry is not None
    again = Entry.model_validate_json(entry.model_dump_json())
    assert again == entry
    alert = alert_of(again)
    assert (alert.state, alert.fired_at, alert.recipient) == ("firing", MAY, "rep:r1")
    assert alert.id == f"at_risk|revenue|rep|r1|2017-Q2|{MAY}"
