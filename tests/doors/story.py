"""The story that every door is told: three deals of one rep with one account, in plain values.

One deal is won, one is lost, one is deleted by mistake and restored. A change comes late, the winning comes twice, and a
fourth deal has an amount that is no number.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["rep", "account", "deal"]
What = Literal["created", "changed", "deleted", "restored"]

#: The sales process, as planwatch.yaml has it.
STAGES = [
    {"name": "Prospecting", "probability": 10},
    {"name": "Proposal", "probability": 50},
    {"name": "Won", "kind": "won"},
    {"name": "Lost", "kind": "lost"},
]


def milliseconds(time: str) -> int:
    """A day or a time of UTC in milliseconds since 1970."""
    return int(dt.datetime.fromisoformat(time).replace(tzinfo=dt.UTC).timestamp()) * 1000


@dataclass(frozen=True, eq=False)
class Step:
    """Something that happened to a record. Fields are those that changed: of deals name, stage, amount, owner, account
    and closes; owner and account are records of the story."""

    time: str
    record: str
    what: What
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def at(self) -> dt.datetime:
        """When it happened, in UTC."""
        return dt.datetime.fromisoformat(self.time).replace(tzinfo=dt.UTC)

    @property
    def ms(self) -> int:
        """The same in milliseconds since 1970."""
        return milliseconds(self.time)

    @property
    def iso(self) -> str:
        """The same as RFC 3339 writes it."""
        return self.at.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def kind(self) -> Kind:
        """What the record is."""
        return KINDS.get(self.record, "deal")


KINDS: dict[str, Kind] = {"ada": "rep", "northwind": "account"}
_OURS = {"owner": "ada", "account": "northwind"}

REP = Step("2024-02-01 09:00", "ada", "created", {"name": "Ada Moreau"})
ACCOUNT = Step("2024-02-01 09:30", "northwind", "created", {"name": "Northwind", "segment": "Health"})
RACK = Step(
    "2024-02-05 10:00",
    "rack",
    "created",
    {"name": "Server rack", "stage": "Prospecting", "amount": "10000", "closes": "2024-03-29", **_OURS},
)
CLOUD = Step(
    "2024-02-06 10:00",
    "cloud",
    "created",
    {"name": "Cloud move", "stage": "Prospecting", "amount": "5000", "closes": "2024-03-20", **_OURS},
)
SUPPORT = Step(
    "2024-02-07 10:00",
    "support",
    "created",
    {"name": "Support", "stage": "Proposal", "amount": "8000", "closes": "2024-06-28", **_OURS},
)
LATE = Step("2024-02-12 10:00", "rack", "changed", {"amount": "11000"})
AMOUNT = Step("2024-02-19 10:00", "rack", "changed", {"amount": "12500.50"})
STAGE = Step("2024-02-26 10:00", "rack", "changed", {"stage": "Proposal"})
DELETED = Step("2024-02-27 10:00", "support", "deleted")
RESTORED = Step("2024-02-28 10:00", "support", "restored")
WON = Step("2024-03-04 15:00", "rack", "changed", {"stage": "Won", "closes": "2024-03-04"})
BAD = Step(
    "2024-03-05 10:00",
    "bad",
    "created",
    {"name": "Bad", "stage": "Proposal", "amount": "ten thousand", "closes": "2024-06-28", **_OURS},
)
LOST = Step("2024-03-11 15:00", "cloud", "changed", {"stage": "Lost", "closes": "2024-03-11"})

#: What comes at first, and what comes afterwards: something that happened before, something again, something bad.
FIRST = (REP, ACCOUNT, RACK, CLOUD, SUPPORT, AMOUNT, STAGE, DELETED, RESTORED, WON, LOST)
THEN = (LATE, WON, BAD)


class Row(NamedTuple):
    """A record as a whole before and after a step; none where it was not there."""

    before: Mapping[str, str] | None
    after: Mapping[str, str] | None


def _rows(steps: Sequence[Step]) -> dict[Step, Row]:
    rows: dict[Step, Row] = {}
    known: dict[str, Mapping[str, str]] = {}  # by record, also of deleted ones: a restored one is as it was
    there: set[str] = set()
    for step in sorted(steps, key=lambda step: step.at):
        before = known[step.record] if step.record in there else None
        known[step.record] = {**known.get(step.record, {}), **step.fields}
        if step.what == "deleted":
            there.remove(step.record)
        else:
            there.add(step.record)
        rows[step] = Row(before, known[step.record] if step.record in there else None)
    return rows


#: For systems that tell of whole records.
ROWS = _rows([*FIRST, LATE, BAD])
