"""Whether to tell, whom, and under which key."""

from __future__ import annotations

import pytest

from alerts.grouping import matches
from alerts.lifecycle import alert_of, fresh
from alerts.notify import LastNotified, decide, idempotency_key
from alerts.rules import observe
from tests.unit.alert_samples import MAY, US, risk_rule, signals, status

WEEK_S = 604_800


def last(*ids: str) -> LastNotified:
    """A group that was told of these a moment ago."""
    return LastNotified(firing=ids, at=MAY)


@pytest.mark.parametrize(
    ("before", "firing", "resolved", "after_s", "notify", "reason"),
    [
        (None, "", "", 0, False, "nothing_firing"),
        (None, "a", "", 0, True, "first_firing"),
        (None, "", "a", 0, False, "never_told"),
        (last("a"), "a", "", 0, False, "nothing_new"),
        (last("a"), "ab", "", 0, True, "new_alert_in_group"),
        (last("a"), "b", "a", 0, True, "new_alert_in_group"),
        (last("a"), "", "a", 0, True, "resolved"),
        (last("a", "b"), "a", "b", 0, True, "resolved"),
        (last("a"), "a", "b", 0, False, "nothing_new"),
        (last("a"), "a", "", WEEK_S - 1, False, "nothing_new"),
        (last("a"), "a", "", WEEK_S, True, "repeat_interval"),
        (last("a"), "a", "", -WEEK_S, False, "nothing_new"),
        (last("a"), "b", "", 0, True, "first_firing"),  # a, an event, expired quietly
    ],
)
def test_decide(
    before: LastNotified | None, firing: str, resolved: str, after_s: int, notify: bool, reason: str
) -> None:
    """Every case has its named reason."""
    assert decide(before, set(firing), set(resolved), WEEK_S, MAY + after_s * US) == (notify, reason)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        ("rep:*", True),
        ("rep:r1", True),
        ("rep:Anna Snelling", True),
        ("rep:r2", False),
        ("team:*", False),
        ("rep", False),
        ("company", False),
    ],
)
def test_recipients(pattern: str, fits: bool) -> None:
    """A recipient is meant by id, by name or by kind."""
    assert matches(pattern, "rep:r1", "Anna Snelling") is fits


def test_the_key_depends_on_the_message_alone() -> None:
    """The same alerts in any order give the same key; another reason, repeat or recipient gives another."""
    rule = risk_rule()
    a, b = (
        alert_of(fresh(rule, o, MAY).model_copy(update={"state": "firing", "id": o.key}))
        for o in observe([rule], signals(MAY, status("0.1"), status("0.1", rep="r2")))
    )
    key = idempotency_key("company", [a, b], "first_firing", 0)
    assert key == idempotency_key("company", [b, a], "first_firing", 0)
    others = {
        idempotency_key("company", [a], "first_firing", 0),
        idempotency_key("company", [a, b], "repeat_interval", 0),
        idempotency_key("company", [a, b], "first_firing", 1),
        idempotency_key("rep:r1", [a, b], "first_firing", 0),
    }
    assert len(others | {key}) == 5
