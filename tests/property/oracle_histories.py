"""Random change histories over a handful of records, with all that a real log does to them.

Every history holds updates before their create, repeats, any order of arrival, deletes and undeletes, nulled fields,
backdated assignments, equal versions, two sources, amounts of 0 to 4 decimals in three currencies.

`histories()` is the hypothesis strategy, which shrinks; `random_history(seed)` draws from the same rules with `random`
and is some twenty times as fast.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

from schemas.change import SEQUENCE_MAX, Change
from schemas.config import CalendarConfig, Config, ExchangeRate, Stage

T = TypeVar("T")
CHANGES_MAX = 40
EPOCH = dt.date(1970, 1, 1).toordinal()
FIRST_DAY = dt.date(2016, 11, 1).toordinal() - EPOCH
DAYS = 430
DAY_US = 86_400_000_000

STAGES = (
    Stage(name="Prospect", probability=Decimal(10)),
    Stage(name="Offer", probability=Decimal("37.5")),
    Stage(name="Talks"),
    Stage(name="Won", kind="won"),
    Stage(name="Lost", kind="lost"),
)
DEALS = ("d1", "d2", "d10", 'd,"é 4')
ACCOUNTS = ("a1", "a2")
REPS = ("r1", "Nicolas O'Brien", "r=3 x")
TEAMS = ("t1", "t2")
TERRITORIES = ("north", "south\\n")
PRODUCTS = ("p1", "p2")
CURRENCIES = ("EUR", "JPY", "USD")
ZONES = ("UTC", "Asia/Jakarta", "America/New_York", "America/Sao_Paulo")
SOURCES = ("crm", "crm", "crm", "crm", "erp")
IDS: dict[str, tuple[str, ...]] = {
    "opportunity": DEALS,
    "account": ACCOUNTS,
    "rep": REPS,
    "team": TEAMS,
    "territory": TERRITORIES,
    "product": PRODUCTS,
    "lead": ("l1", "l2"),
    "contract": ("c1", "c2", "c3"),
    "spend": ("s1", "s2", "s3"),
    "traffic": ("v1", "v2"),
    "rate": ("x1", "x2", "x3"),
}
#: Which entity a change is about: mostly deals, then what moves them.
WEIGHTED = (
    *["opportunity"] * 20,
    *["rep"] * 6,
    *["team"] * 4,
    *["account"] * 2,
    *["product"] * 2,
    *["rate"] * 3,
    *["lead"] * 3,
    *["contract"] * 4,
    *["spend"] * 3,
    "traffic",
    "territory",
)


@dataclass(frozen=True)
class History:
    """Changes as they arrive, the configuration they meet, and moments worth a look (microseconds UTC)."""

    changes: list[Change]
    config: Config
    moments: tuple[int, ...]

    def __repr__(self) -> str:
        """One change a line, so that a failure can be read."""
        lines = "\n".join(f"  {change.model_dump(exclude_defaults=True)}" for change in self.changes)
        kept = self.config.model_dump(include={"currency", "amount_fallback", "rates"})
        return f"History({self.config.calendar.time_zone}, {kept}, moments={self.moments}\n{lines})"


class Chooser(Protocol):
    """Where the choices come from."""

    def integer(self, low: int, high: int) -> int:
        """An integer, both ends in."""
        ...


class RandomChooser:
    """Choices from `random`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        """An integer, both ends in."""
        return low + int(self._random.random() * (high - low + 1))


class DrawChooser:
    """Choices from hypothesis, which shrinks them towards the low end."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        """An integer, both ends in."""
        return int(self._draw(st.integers(low, high)))


def pick(choose: Chooser, options: Sequence[T]) -> T:
    """One of the options."""
    return options[choose.integer(0, len(options) - 1)]


def chance(choose: Chooser, percent: int) -> bool:
    """True so often."""
    return choose.integer(1, 100) > 100 - percent


def day(choose: Chooser) -> str:
    """A date of the fourteen months; often one of a few, so that dates meet."""
    number = pick(choose, (0, 61, 91, 92, 150, 151, 242, 425)) if chance(choose, 30) else choose.integer(0, DAYS)
    return dt.date.fromordinal(EPOCH + FIRST_DAY + number).isoformat()


def decimal(choose: Chooser, low: int = 0, high: int = 100_000) -> int | str:
    """A whole number, or a text with 1 to 4 decimals; halves of a minor unit are frequent."""
    whole, places = choose.integer(low, high), choose.integer(0, 4)
    if places == 0:
        return whole
    digits = choose.integer(0, 10**places - 1) if chance(choose, 60) else 5
    return f"{'-' if whole < 0 else ''}{abs(whole)}.{digits:0{places}d}"


def instant(choose: Chooser, days: int = DAYS) -> int:
    """A moment; sometimes a midnight, the microsecond before it, or one that others share."""
    midnight = (FIRST_DAY + choose.integer(0, days)) * DAY_US
    kind = choose.integer(0, 9)
    if kind < 5:
        return midnight + choose.integer(0, DAY_US - 1)
    if kind < 8:
        return midnight + pick(choose, (0, -1, 3, 4, 5, -7)) * (3_600_000_000 if kind == 7 else 1)
    return (FIRST_DAY + pick(choose, (61, 91, 151, 242))) * DAY_US


def value_of(choose: Chooser, entity: str, field: str) -> Any:
    """A value that a field can have."""
    simple: dict[str, Sequence[Any]] = {
        "stage": ("Prospect", "Offer", "Talks", "Won", "Lost", "Won", "Lost", "Offer", "Unheard of"),
        "owner": (*REPS, "nobody known"),
        "account": (*ACCOUNTS, "a9"),
        "product": (*PRODUCTS, "p9"),
        "team": (*TEAMS, "t9"),
        "territory": TERRITORIES,
        "rep": REPS,
        "segment": ("retail", "health"),
        "currency": CURRENCIES,
        "converted": (True, False),
        "kind": ("cost", "marketing", "sales", "other"),
        "channel": ("web", "fair"),
        "region": ("east", "west"),
        "name": ("One", "Two"),
    }
    if field in simple:
        return pick(choose, simple[field])
    if field == "probability":
        return decimal(choose, 0, 99)
    if field == "rate":
        return f"{choose.integer(0, 2)}.{choose.integer(1, 9999):04d}"
    if field == "visits":
        return choose.integer(0, 500)
    if field in ("amount", "list_price", "annual_value"):
        return decimal(choose, -50 if entity == "opportunity" and chance(choose, 10) else 0)
    return day(choose)


#: Fields of each entity, the usual ones first; `region` is one that nobody declared.
FIELDS: dict[str, tuple[str, ...]] = {
    "opportunity": ("stage", "amount", "owner", "close_date", "created_date", "account", "product", "currency",
                    "probability", "region"),
    "account": ("segment", "name"),
    "rep": ("team", "name"),
    "team": ("territory", "name"),
    "territory": ("name",),
    "product": ("list_price", "currency", "name"),
    "lead": ("created_date", "converted", "owner", "channel"),
    "contract": ("account", "annual_value", "start_date", "end_date", "currency"),
    "spend": ("date", "amount", "kind", "currency", "channel", "territory", "rep"),
    "traffic": ("date", "visits", "channel"),
    "rate": ("currency", "date", "rate"),
}  # fmt: skip


def one_change(choose: Chooser, number: int, entity: str, record_id: str, whole: bool) -> Change:
    """A change of a record: a whole one says most of what there is, others a field or two."""
    fields: dict[str, Any] = {}
    nulled: list[str] = []
    op = "create" if whole else pick(choose, ("update",) * 14 + ("snapshot", "create", "delete", "delete", "undelete"))
    if op != "delete" or chance(choose, 10):
        for field in FIELDS[entity]:
            if not chance(choose, 85 if whole else 30):
                continue
            if not whole and chance(choose, 12):
                nulled.append(field)
            else:
                fields[field] = value_of(choose, entity, field)
    dated = {"rep": "team", "team": "territory"}.get(entity)
    if dated and (dated in fields or dated in nulled) and chance(choose, 50):
        fields["effective_from"] = day(choose)
    if whole and entity == "opportunity" and chance(choose, 60):
        fields["stage"] = pick(choose, ("Prospect", "Offer", "Talks"))
    # What is told in full mostly comes early, so that the rest of the history has something to change.
    occurred_at = instant(choose, 90) if whole and chance(choose, 70) else instant(choose)
    return Change(
        tenant="acme",
        source=pick(choose, SOURCES),
        entity=entity,  # type: ignore[arg-type]
        record_id=record_id,
        op=op,  # type: ignore[arg-type]
        # Mostly the source's clock; else a counter, in which many are equal and all are older.
        version=occurred_at if chance(choose, 70) else choose.integer(0, 3),
        sequence=choose.integer(0, 2) if chance(choose, 95) else SEQUENCE_MAX,
        occurred_at=occurred_at,
        event_id=f"e{number}",
        fields=fields,
        nulled=tuple(nulled),
    )


def any_change(choose: Chooser, number: int) -> Change:
    """A change of any record; one in three is whole."""
    entity = pick(choose, WEIGHTED)
    return one_change(choose, number, entity, pick(choose, IDS[entity]), chance(choose, 33))


def any_config(choose: Chooser) -> Config:
    """A configuration: currency of 0 or 2 places, a zone, list prices as a fallback or not, with or without rates."""
    currency = pick(choose, CURRENCIES)
    rates = [
        ExchangeRate(currency=other, date=day(choose), rate=Decimal(f"0.{choose.integer(1, 9999):04d}"))
        for other in CURRENCIES
        if other != currency and chance(choose, 60)
    ]
    return Config(
        tenant="acme",
        currency=currency,
        calendar=CalendarConfig(time_zone=pick(choose, ZONES)),
        stages=STAGES,
        rates=tuple(rates),
        amount_fallback="list_price" if chance(choose, 50) else "none",
        future_tolerance_s=0,
    )


def moments_of(choose: Chooser, changes: Sequence[Change]) -> tuple[int, ...]:
    """Three moments in order: two anywhere, on a change as often as not, and one after everything."""
    end = (FIRST_DAY + DAYS + 30) * DAY_US
    two = [pick(choose, changes).occurred_at if changes and chance(choose, 50) else instant(choose) for _ in range(2)]
    return (*sorted(two), end)


def skeleton(choose: Chooser) -> list[tuple[str, str]]:
    """Records that most histories tell of in full: without them nearly all deals would be incomplete."""
    usual = ("rep", "team", "opportunity", "product", "account", "contract", "rate")
    return [(entity, record_id) for entity in usual for record_id in IDS[entity] if chance(choose, 60)]


def random_history(seed: int) -> History:
    """A history from a seed: up to 40 changes, then up to 8 repeats of them, shuffled."""
    choose = RandomChooser(seed)
    changes = [
        one_change(choose, number, entity, record_id, whole=True)
        for number, (entity, record_id) in enumerate(skeleton(choose))
    ]
    wanted = max(len(changes), choose.integer(1, CHANGES_MAX))
    changes += [any_change(choose, number) for number in range(len(changes), wanted)]
    arriving = changes + [pick(choose, changes) for _ in range(choose.integer(0, 8))]
    # Fisher-Yates by the same chooser: one seed, one history, whatever Python's shuffle becomes.
    for place in range(len(arriving) - 1, 0, -1):
        other = choose.integer(0, place)
        arriving[place], arriving[other] = arriving[other], arriving[place]
    return History(arriving, any_config(choose), moments_of(choose, changes))


@st.composite
def _changes(draw: Any) -> Change:
    return any_change(DrawChooser(draw), 0)


@st.composite
def histories(draw: Any) -> History:
    """A history that hypothesis draws and shrinks: fewer changes, fewer fields, earlier days."""
    drawn = draw(st.lists(_changes(), max_size=CHANGES_MAX))
    changes = [change.model_copy(update={"event_id": f"e{number}"}) for number, change in enumerate(drawn)]
    repeats = draw(st.lists(st.sampled_from(changes), max_size=8)) if changes else []
    arriving = draw(st.permutations(changes + repeats))
    choose = DrawChooser(draw)
    return History(list(arriving), any_config(choose), moments_of(choose, changes))


def shuffled(history: History, seed: int) -> History:
    """The same changes in another order of arrival."""
    changes = list(history.changes)
    random.Random(seed).shuffle(changes)
    return replace(history, changes=changes)


def batched(history: History, seed: int) -> list[list[Change]]:
    """The changes in batches of random sizes, in their order."""
    choose, left, batches = RandomChooser(seed), list(history.changes), []
    while left:
        size = choose.integer(1, 12)
        batches.append(left[:size])
        left = left[size:]
    return batches
