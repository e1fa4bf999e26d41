"""What moves totals without a change of the record itself: whom it points at, and time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from processors.query import catalogue
from processors.state import State
from processors.totals import UNDATED, Totals
from schemas.change import Change
from schemas.config import Config, ExchangeRate, Stage
from schemas.message import decode_changes, encode_changes

JANUARY = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DAY_US = 86_400_000_000
FOUND = catalogue()
CONFIG = Config(
    tenant="acme",
    currency="USD",
    amount_fallback="list_price",
    stages=(Stage(name="Open", probability=50), Stage(name="Won", kind="won")),
    rates=(
        ExchangeRate(currency="EUR", date="2025-01-01", rate=Decimal(1)),
        ExchangeRate(currency="EUR", date="2026-01-20", rate=Decimal(2)),
    ),
)
#: Anna's team T1 is in the north; she has an open deal in euros and one that is priced by its product; T1 spends.
BASE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("rep", "anna", {"team": "T1"}),
    ("rep", "bo", {"team": "T2"}),
    ("team", "T1", {"territory": "north"}),
    ("team", "T2", {"territory": "south"}),
    ("account", "a1", {"segment": "retail"}),
    ("product", "p1", {"list_price": 7}),
    ("opportunity", "d1", {"stage": "Open", "owner": "anna", "account": "a1", "amount": 100, "currency": "EUR"}),
    ("opportunity", "d2", {"stage": "Open", "owner": "anna", "product": "p1"}),
    ("spend", "s1", {"kind": "cost", "team": "T1", "amount": 3, "date": "2026-01-02"}),
    ("spend", "s2", {"kind": "cost", "rep": "anna", "amount": 4, "date": "2026-01-02"}),
)


class Kept:
    """Totals that are told things day by day."""

    def __init__(self) -> None:
        self.totals = Totals(State(CONFIG), FOUND)
        self.told = 0
        for entity, record_id, fields in BASE:
            self.tell(0, entity, record_id, fields)

    def tell(self, day: int, entity: str, record_id: str, fields: dict[str, Any], op: str = "update") -> None:
        """One change on a day of January, counted from 0. What is kept must be what a rebuild gives."""
        self.told += 1
        change = Change(
            tenant="acme",
            source="crm",
            entity=entity,  # type: ignore[arg-type]
            record_id=record_id,
            op=op,  # type: ignore[arg-type]
            version=self.told,
            occurred_at=JANUARY + day * DAY_US + self.told,
            event_id=f"e{self.told}",
            fields=fields,
        )
        self.totals.apply(decode_changes(encode_changes([change])))
        fresh = Totals(self.totals.state, FOUND)
        fresh.rebuild()
        assert self.totals.values == fresh.values

    def by(self, measure: str, dim: str) -> dict[str, int]:
        """A measure by scope, all months; 0 is left out."""
        names = self.totals.state.names
        codes = {code for (m, d, code, _) in self.totals.values if (m, d) == (measure, dim)}
        return {
            ("" if dim == "company" else names.text(code) or ""): self.totals.total(measure, dim, code, None)
            for code in codes
        }


def test_as_told() -> None:
    """Where everything stands at first."""
    kept = Kept()
    assert kept.by("open_amount", "territory") == {"north": 107_00}
    assert kept.by("cost", "territory") == {"north": 7_00}
    assert kept.totals.total("open_amount", "company", 0, [UNDATED]) == 107_00
    assert kept.totals.total("open_amount", "company", 0, []) == 0


@pytest.mark.parametrize(
    ("change", "measure", "dim", "after"),
    [
        (("rep", "anna", {"team": "T2", "effective_from": "2026-01-01"}), "open_amount", "team", {"T2": 107_00}),
        (("rep", "anna", {"team": "T2", "effective_from": "2026-01-01"}), "cost", "team", {"T1": 3_00, "T2": 4_00}),
        (("team", "T1", {"territory": "east", "effective_from": "2026-01-01"}), "open_count", "territory", {"east": 2}),
        (("team", "T1", {"territory": "east", "effective_from": "2026-01-01"}), "cost", "territory", {"east": 7_00}),
        (("account", "a1", {"segment": "health"}), "open_amount", "segment", {"health": 100_00, "": 7_00}),
        (("product", "p1", {"list_price": 9}), "open_weighted", "product", {"p1": 4_50, "": 50_00}),
        (("rate", "x", {"currency": "EUR", "date": "2025-06-01", "rate": 3}), "open_amount", "company", {"": 307_00}),
    ],
)
def test_what_a_record_points_at_changes(
    change: tuple[str, str, dict[str, Any]], measure: str, dim: str, after: dict[str, int]
) -> None:
    """Its owner, the owner's team, its account, its product, its currency."""
    kept = Kept()
    kept.tell(1, *change)
    assert kept.by(measure, dim) == after


@pytest.mark.parametrize(
    ("entity", "record_id", "measure", "dim", "after"),
    [
        ("rep", "anna", "open_count", "team", {"": 2}),
        ("team", "T1", "cost", "territory", {"": 7_00}),
        ("account", "a1", "open_count", "segment", {"": 2}),
        ("product", "p1", "open_amount", "product", {"": 100_00}),
    ],
)
def test_what_a_record_points_at_is_deleted(
    entity: str, record_id: str, measure: str, dim: str, after: dict[str, int]
) -> None:
    """It counts for nobody then, and again for the same ones when it comes back."""
    kept = Kept()
    before = kept.by(measure, dim)
    kept.tell(1, entity, record_id, {}, op="delete")
    assert kept.by(measure, dim) == after
    kept.tell(1, entity, record_id, {}, op="undelete")
    assert kept.by(measure, dim) == before


def test_the_day_of_an_assignment_comes() -> None:
    """What was told in advance moves totals on its day, by whatever change the day begins."""
    kept = Kept()
    kept.tell(1, "rep", "anna", {"team": "T2", "effective_from": "2026-01-10"})
    kept.tell(1, "team", "T2", {"territory": "west", "effective_from": "2026-01-12"})
    assert kept.by("open_count", "territory") == {"north": 2}
    kept.tell(10, "account", "a9", {"segment": "other"})
    assert kept.by("open_count", "territory") == {"south": 2}
    kept.tell(15, "account", "a9", {"segment": "other"})
    assert kept.by("open_count", "territory") == {"west": 2}


def test_the_day_of_a_rate_comes() -> None:
    """Open deals are worth what the rate of the day says."""
    kept = Kept()
    kept.tell(18, "account", "a9", {"segment": "other"})
    assert kept.by("open_amount", "company") == {"": 107_00}
    kept.tell(19, "account", "a9", {"segment": "another"})
    assert kept.by("open_amount", "company") == {"": 207_00}
