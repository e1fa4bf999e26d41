"""What a target is, and what must hold of whatever comes out of a door: the log and the quarantine can hold all of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple

from ingest.door import PAYLOAD_BYTES_MAX, REQUEST_BYTES_MAX, Refused
from ingest.quarantine import Quarantine, decode_refused, encode_refused, identity
from processors.fold import apply
from processors.state import State
from schemas.change import Change
from schemas.clock import ManualClock
from schemas.config import Config
from schemas.message import decode_message, encode_changes
from storage.memory import MemoryJournal

#: The present of every context: 2025-06-15.
NOW = 1_750_000_000_000_000
TENANT = "acme"
CONFIGS = tuple(
    Config.model_validate(
        {
            "tenant": TENANT,
            "time": time,
            "stages": [
                {"name": "New", "probability": 10},
                {"name": "Won", "kind": "won"},
                {"name": "Lost", "kind": "lost"},
            ],
            "calendar": {"time_zone": zone},
            "fields": {"opportunity": {"seen": "time", "active": "flag"}, "lead": {"score": "decimal", "seen": "time"}},
        }
    )
    for time, zone in (("system", "Europe/Berlin"), ("log", "Asia/Jakarta"))
)
REASON_CHARS_MAX = 2_000  # what the quarantine topic keeps of one


class Account(NamedTuple):
    """What became of the parts of an input (lines, rows, events, requests): each is in exactly one of these."""

    changes: int = 0  # became changes, or whatever else the parser makes of good input
    refused: int = 0
    skipped: int = 0  # said to be skipped, by the mapping or by what they are

    def plus(self, other: Account) -> Account:
        """Both together."""
        return Account(*(one + two for one, two in zip(self, other, strict=True)))


class Case(NamedTuple):
    """One input, and what runs it through its parser and checks what comes out. Raises where something does not hold."""

    given: object
    run: Callable[[], Account]


@dataclass(frozen=True)
class Target:
    """A parser under fuzzing. `opened` gives what makes a case out of chance, and cleans up after itself.

    `share`: its weight among the others in a campaign.
    """

    name: str
    share: int
    opened: Callable[[], AbstractContextManager[Callable[[random.Random], Case]]]


def check_items(items: Iterable[Change | Refused], config: Config) -> None:
    """Assert that the log takes every change and the fold every message, and that the quarantine keeps every refusal."""
    changes: list[Change] = []
    for item in items:
        if isinstance(item, Refused):
            check_refused(item)
        else:
            assert Change.model_validate(item.model_dump()) == item
            changes.append(item)
    if changes:
        rows = decode_message(encode_changes(changes), tenant=TENANT, extra_fields=config.fields)
        assert len(rows) == len(changes)
        outcomes = apply(State(config), rows).outcomes
        assert sum(outcomes.values()) == len(changes)


def check_refused(item: Refused) -> None:
    """Assert that a refusal is fit to be shown, and the same after its way through the topic and through the journal."""
    assert item.code
    assert item.reason.isprintable(), item.reason
    assert len(item.reason) <= REASON_CHARS_MAX
    assert len(item.payload) <= (REQUEST_BYTES_MAX if item.origin.startswith("hooks/") else PAYLOAD_BYTES_MAX)
    again = decode_refused(encode_refused(item, TENANT))
    assert (again, dict(again.around)) == (item, dict(item.around))
    quarantine = Quarantine(MemoryJournal(), ManualClock(NOW))
    assert quarantine.add([item, again]) == 1
    (kept,) = quarantine.kept()
    assert (kept.refused, dict(kept.refused.around)) == (item, dict(item.around))
    assert kept.id == identity(item)


def account_of(part: object, items: Sequence[Change | Refused], skipped: Callable[[], bool]) -> Account:
    """The account of one part: one refusal, or changes and nothing else, or nothing where `skipped` says so."""
    if not items:
        assert skipped(), f"neither in a change nor refused nor to be skipped: {part!r}"
        return Account(skipped=1)
    kinds = {type(item) for item in items}
    assert kinds == {Change} or (kinds == {Refused} and len(items) == 1), items
    return Account(changes=1) if kinds == {Change} else Account(refused=1)


def unplaced(items: Iterable[Change | Refused]) -> list[Change | Refused]:
    """The same without the places of refusals and their line ends: what is equal where a part stands somewhere else."""
    return [
        replace(item, position=0, payload=item.payload.rstrip(b"\n")) if isinstance(item, Refused) else item
        for item in items
    ]
