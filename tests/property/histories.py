"""Random change histories: repeats, any order, deletes, reassignments, cleared fields, ties, two sources."""

from __future__ import annotations

import random

from schemas.change import Change
from schemas.config import Config, Stage

START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DAY_US = 86_400_000_000
CONFIG = Config(
    stages=(
        Stage(name="New", probability=10),
        Stage(name="Offer", probability=55),
        Stage(name="Won", kind="won"),
        Stage(name="Lost", kind="lost"),
    )
)


def history(seed: int, length: int = 30) -> list[Change]:
    """A history in an order of arrival of its own; the same seed gives the same one."""
    draw = random.Random(seed)
    made = [_change(draw, number) for number in range(draw.randint(1, length))]
    made += draw.choices(made, k=draw.randint(0, 6))
    draw.shuffle(made)
    return made


def _date(draw: random.Random) -> str:
    return f"2026-{draw.randint(1, 6):02d}-{draw.randint(1, 28):02d}"


def _change(draw: random.Random, number: int) -> Change:
    entity = draw.choices(("opportunity", "rep", "team", "account"), (10, 3, 2, 2))[0]
    op = draw.choices(("create", "update", "delete", "undelete"), (3, 8, 1, 1))[0]
    record, fields = {
        "opportunity": (f"D{draw.randint(1, 4)}", _deal(draw)),
        "rep": (f"S{draw.randint(1, 3)}", _assignment(draw, "team", "T")),
        "team": (f"T{draw.randint(1, 2)}", _assignment(draw, "territory", "R")),
        "account": (f"A{draw.randint(1, 2)}", {"segment": draw.choice(("Retail", "Health"))}),
    }[entity]
    nulled = tuple(n for n in fields if n != "effective_from" and draw.random() < 0.08)
    if op == "delete":
        fields, nulled = {}, ()
    day = draw.randint(0, 170)
    return Change(
        tenant="t",
        source=draw.choices(("crm", "other"), (6, 1))[0],
        entity=entity,
        record_id=record,
        op=op,
        version=draw.randint(1, 40),
        sequence=draw.randint(0, 2),
        occurred_at=START_US + day * DAY_US + draw.randint(0, DAY_US - 1),
        event_id=f"e{number}",
        fields={k: v for k, v in fields.items() if k not in nulled},
        nulled=nulled,
    )


def _deal(draw: random.Random) -> dict[str, str | int]:
    everything: dict[str, str | int] = {
        "stage": draw.choice(("New", "Offer", "Won", "Lost", "Unheard of")),
        "amount": draw.choice(
            (draw.randint(1, 10**6), f"{draw.randint(1, 999)}.{draw.randint(1, 9999):04d}".rstrip("0"))
        ),
        "owner": f"S{draw.randint(1, 4)}",
        "account": f"A{draw.randint(1, 3)}",
        "product": f"P{draw.randint(1, 2)}",
        "close_date": _date(draw),
        "created_date": _date(draw),
        "probability": draw.randint(0, 100),
    }
    return {k: v for k, v in everything.items() if draw.random() < (0.75 if k != "probability" else 0.1)}


def _assignment(draw: random.Random, field: str, letter: str) -> dict[str, str | int]:
    fields: dict[str, str | int] = {field: f"{letter}{draw.randint(1, 2)}"}
    if draw.random() < 0.6:
        fields["effective_from"] = _date(draw)
    return fields
