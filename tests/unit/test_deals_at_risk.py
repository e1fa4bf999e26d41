"""Which open deals need help, why, and in which order."""

from __future__ import annotations

from decimal import Decimal

import pytest

from planwatch.deals import deals_at_risk
from schemas.board import Deal
from schemas.status import Landing, TargetStatus
from tests.unit.alert_samples import status
from tests.unit.board_samples import Tenant

NOW = "2026-02-10T09:00"


def at_risk(tenant: Tenant, *headlines: TargetStatus, most: int = 50) -> list[Deal]:
    """The deals at risk; the slot beside each is that of its record."""
    found = deals_at_risk(tenant.state, {(h.dimension, h.scope): h for h in headlines}, most)
    table, names = tenant.state.tables["opportunity"], tenant.state.names
    assert [names.texts[table.ids[slot]] for slot, _ in found] == [deal.record_id for _, deal in found]
    return [deal for _, deal in found]


def flags(tenant: Tenant) -> dict[str, tuple[str, ...]]:
    """Deal → why it is at risk."""
    return {deal.record_id: deal.flags for deal in at_risk(tenant)}


def small(tenant: Tenant) -> Tenant:
    """Deals that are well and small, so that none of another test is large by chance."""
    for n in range(20):
        tenant.deal(NOW, f"well{n:02d}", 10 if n else 90_000, "2026-03-31")
    return tenant


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (("2026-02-01T09:00", "2026-02-09"), ("past its close date",)),
        (("2026-02-01T09:00", "2026-02-10"), ()),  # it may still close today
        (("2026-01-12T09:00", "2026-03-01"), ()),
        (("2026-01-11T09:00", "2026-03-01"), ("silent for 30 days",)),
    ],
)
def test_past_its_date_and_silent(days: tuple[str, str], expected: tuple[str, ...]) -> None:
    """By the tenant's own calendar: a close date that is over, and thirty days without a word."""
    since, close = days
    tenant = small(Tenant().deal(since, "d", 100, close))
    assert flags(tenant) == ({"d": expected} if expected else {})


def test_slipped_twice() -> None:
    """Once is no reason yet; a date that comes nearer is no slip."""
    tenant = Tenant()
    for day, close in (("05", "2026-02-20"), ("06", "2026-02-15"), ("07", "2026-03-01")):
        tenant.deal(f"2026-02-{day}T09:00", "once", 100, close)
    for day, close in (("05", "2026-02-20"), ("06", "2026-03-15"), ("07", "2026-03-20")):
        tenant.deal(f"2026-02-{day}T09:00", "twice", 100, close)
    assert flags(small(tenant)) == {"twice": ("slipped 2 times",)}


def test_large_and_late() -> None:
    """Among the largest tenth and open for more than ninety days, though it was heard of today; neither alone."""
    tenant = Tenant()
    for record_id, amount, created in (
        ("both", 80_000, "2025-11-10"), ("young", 85_000, "2025-11-13"), ("small", 10, "2025-11-10"),
    ):  # fmt: skip
        tenant.deal(NOW, record_id, amount, "2026-03-31", created_date=created)
    assert flags(small(tenant)) == {"both": ("large and late",)}


def test_what_is_not_open_needs_no_help() -> None:
    """Won, lost and deleted deals are no longer anybody's to save."""
    tenant = small(Tenant())
    for record_id, stage in (("won", "Won"), ("lost", "Lost"), ("open", "Offer"), ("gone", "Offer")):
        tenant.deal("2026-02-01T09:00", record_id, 100, "2026-02-05", stage=stage)
    tenant.tell(NOW, "opportunity", "gone", "delete")
    assert set(flags(tenant)) == {"open"}
    assert at_risk(Tenant()) == []


def landing(dimension: str, scope: str, p50: int, target: int) -> TargetStatus:
    """A revenue target that is less likely than not."""
    spread = Landing(p10=Decimal(p50 - 100), p50=Decimal(p50), p90=Decimal(p50 + 100))
    return status("0.2", dimension=dimension, scope=scope, landing=spread, target=Decimal(target))


def test_what_helps_most_comes_first() -> None:
    """By what winning adds to the probability of the owner's target, the company's where the owner has none; then by amount."""
    tenant = Tenant().people()
    for record_id, owner, amount in (
        ("lifts-zoe", "zoe", 200), ("idle-b", "bob", 150), ("idle-a", "bob", 150), ("idle-large", "bob", 900),
        ("lifts-ann", "ann", 100),
    ):  # fmt: skip
        tenant.deal("2026-02-01T09:00", record_id, amount, "2026-02-05", owner=owner)
    tenant.deal(NOW, "well", 1, "2026-03-31")
    headlines = (
        landing("rep", "ann", 900, 1_000),  # 100 more reach the target half of the time
        landing("rep", "bob", 5_000, 1_000_000),  # nothing helps
        landing("company", "", 10_000, 10_500),  # 200 more do next to nothing
    )
    found = at_risk(tenant, *headlines)
    assert [deal.record_id for deal in found] == ["lifts-ann", "idle-large", "lifts-zoe", "idle-a", "idle-b"]
    assert found[0].effect == Decimal("0.300")
    assert [deal.effect for deal in found[1:]] == [0] * 4
    assert [d.record_id for d in at_risk(tenant, *headlines, most=2)] == ["lifts-ann", "idle-large"]
    assert {deal.effect for deal in at_risk(tenant)} == {None}
    company = landing("company", "", 10_300, 10_500)
    assert at_risk(tenant, *headlines[:2], company)[0].record_id == "lifts-zoe"
