"""Changes written by hand, for examples in tests."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import count
from typing import Any

from schemas.change import Change
from schemas.config import Config, Stage
from tests.oracle.oracle import Oracle

STAGES = (
    Stage(name="Prospect", probability=Decimal(10)),
    Stage(name="Offer", probability=Decimal(50)),
    Stage(name="Won", kind="won"),
    Stage(name="Lost", kind="lost"),
)
CONFIG = Config(currency="EUR", stages=STAGES)
numbers = count()


def at(text: str) -> int:
    """A UTC time in microseconds."""
    moment = dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def change(entity: Any, record_id: str, when: str, **more: Any) -> Change:
    """A change at a time; fields as keywords, a None is a nulled field, `_op` and the like set the rest."""
    given = {name[1:]: more.pop(name) for name in list(more) if name.startswith("_")}
    given.setdefault("version", at(when))
    given.setdefault("event_id", f"e{next(numbers)}")
    return Change(
        **{"tenant": "t", "source": "crm", "op": "update", **given},
        entity=entity,
        record_id=record_id,
        occurred_at=at(when),
        fields={name: value for name, value in more.items() if value is not None},
        nulled=tuple(name for name, value in more.items() if value is None),
    )


def deal(record_id: str, when: str, **more: Any) -> Change:
    """A change of an opportunity."""
    return change("opportunity", record_id, when, **more)


def one(oracle: Oracle, kpi: str, period: str | None = None, as_of: str | None = None) -> Decimal | None:
    """The company's value."""
    return oracle.kpi(kpi, (), period, at(as_of) if as_of else None)[()]
