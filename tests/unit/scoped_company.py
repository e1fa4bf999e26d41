"""A company in which every scope has unmistakable names and amounts, and what may not be told of each."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from decimal import Decimal

from planwatch.board_health import pipeline_standing
from planwatch.board_pages import Pages
from schemas.change import Change, Scalar
from schemas.config import CalendarConfig, Config, Stage
from schemas.message import encode_changes
from schemas.plan import Contingency, Plan, Revision, Split, Target
from tests.property.pipelines import Process, World

REPS = {"r-na1": "t-na", "r-na2": "t-na", "r-nb1": "t-nb", "r-sa1": "t-sa", "r-sa2": "t-sa"}
TEAMS = {"t-na": "north", "t-nb": "north", "t-sa": "south"}
TERRITORIES = ("north", "south")
#: Each rep's own factor: no two sums of amounts are alike.
FACTOR = {"r-na1": 1_013, "r-na2": 2_027, "r-nb1": 4_051, "r-sa1": 8_101, "r-sa2": 16_217}
CONFIG = Config(
    tenant="acme",
    company="Acme",
    time="log",
    calendar=CalendarConfig(time_zone="UTC", custom_periods={"Zz-south-push": ("2017-01-15", "2017-06-30")}),
    stages=(Stage(name="Open", probability=50), Stage(name="Won", kind="won"), Stage(name="Lost", kind="lost")),
)
QUARTERS = {"2017-Q1": Decimal(9_876_543), "2017-Q2": Decimal(8_765_432)}
PLAN = Plan(
    name="A year",
    horizon=("2017-01-01", "2017-12-31"),
    timeline={"2017-02-10": "Zz-milestone of the company"},
    targets=(
        Target(
            kpi="revenue",
            values=QUARTERS,
            split=Split(dimension="rep", members=tuple(REPS), weights=tuple(Decimal(f) for f in FACTOR.values())),
            roll_up=("team", "territory"),
        ),
        Target(kpi="revenue", dimension="team", scope="t-sa", values={"Zz-south-push": Decimal(7_654_321)}),
        Target(kpi="win_rate", values={"2017-Q1": Decimal("0.43219")}),
    ),
    revisions=(
        Revision(
            date="2017-02-15",
            why="Zz-revision for Name-r-sa1",
            targets=(Target(kpi="revenue", dimension="rep", scope="r-sa1", values={"2017-Q1": Decimal(6_543_219)}),),
        ),
    ),
    contingencies=(Contingency(trigger="target_at_risk", actions=("Call the ten largest deals.",)),),
)


def noon(day: str) -> int:
    """Noon of a day in UTC as microseconds."""
    return int(dt.datetime.fromisoformat(f"{day}T12:00:00+00:00").timestamp()) * 1_000_000


def name_of(scope: str) -> str:
    """What a record is called."""
    return f"Name-{scope}"


class Scoped:
    """The company. Changes come by `tell`; `pages` are its pages."""

    def __init__(self) -> None:
        self._number = 0
        people = [self.change("territory", t, "2017-01-02", name=name_of(t)) for t in TERRITORIES]
        people += [self.change("team", t, "2017-01-02", name=name_of(t), territory=of) for t, of in TEAMS.items()]
        people += [self.change("rep", r, "2017-01-02", name=name_of(r), team=of) for r, of in REPS.items()]
        self.process = Process(World(CONFIG, PLAN, [encode_changes(people)]))
        self.process.run(1)
        for rep in REPS:
            self._deals_of(rep)
        self.deal("lone", "2017-01-09", "", "Open", 31_337_001, "2017-03-20")
        self.deal(f"won-{'r-na1'}-late", "2017-03-05", "r-na1", "Won", 1_013 * 17, "2017-03-05")
        self.pages = Pages(self.process.pipeline, pipeline_standing(self.process.pipeline))

    def change(self, entity: str, record_id: str, day: str, **fields: Scalar) -> Change:
        """One change of a record at noon of a day."""
        self._number += 1
        return Change(
            tenant="acme", source="Zz-source", entity=entity, record_id=record_id, op="update", version=self._number,
            occurred_at=noon(day), event_id=f"e{self._number}", fields=fields,
        )  # type: ignore[arg-type]  # fmt: skip

    def tell(self, *changes: Change) -> None:
        """Append to the log and take it in."""
        self.process.pipeline.store.append(changes)
        self.process.run(1)

    def deal(self, record_id: str, day: str, owner: str, stage: str, amount: int, close: str) -> None:
        """A deal as it is from a day on."""
        self.tell(
            self.change(
                "opportunity", record_id, day, name=f"Deal-{record_id}", owner=owner or None, stage=stage, amount=amount,
                close_date=close, created_date="2017-01-05",
            )
            if owner
            else self.change(
                "opportunity", record_id, day, name=f"Deal-{record_id}", stage=stage, amount=amount, close_date=close
            )
        )  # fmt: skip

    def _deals_of(self, rep: str) -> None:
        """One won, one past its date, one that slipped out of its quarter, one that is fine."""
        unit = FACTOR[rep]
        self.deal(f"won-{rep}", "2017-01-10", rep, "Won", 111 * unit, "2017-01-10")
        self.deal(f"late-{rep}", "2017-01-11", rep, "Open", 7 * unit, "2017-02-01")
        self.deal(f"slip-{rep}", "2017-01-12", rep, "Open", 13 * unit, "2017-03-01")
        self.deal(f"fine-{rep}", "2017-01-13", rep, "Open", 29 * unit, "2017-05-15")
        self.deal(f"slip-{rep}", "2017-02-20", rep, "Open", 13 * unit, "2017-06-01")

    def inside(self, dimension: str, scope: str) -> set[tuple[str, str]]:
        """What a token of a scope may see, by the assignments above."""
        found = {(dimension, scope)}
        found |= {("team", team) for team, of in TEAMS.items() if ("territory", of) in found}
        return found | {("rep", rep) for rep, of in REPS.items() if ("team", of) in found}


SCOPES = (
    [("company", "")] + [("territory", t) for t in TERRITORIES] + [("team", t) for t in TEAMS] + [("rep", r) for r in REPS]
)  # fmt: skip
LONG_NUMBER = re.compile(r"(?<![\d.])\d{5,}(?:\.\d+)?")


def names_of(scopes: Iterable[tuple[str, str]]) -> set[str]:
    """Everything by which scopes are recognised: names, ids, deals of their reps."""
    found: set[str] = set()
    for dimension, scope in scopes:
        if dimension != "company":
            found |= {name_of(scope), scope if "-" in scope else name_of(scope)}
    return found


def numbers_in(text: str) -> set[str]:
    """The long numbers of a view as JSON: amounts, without trailing zeros, and in the form in which pages write them."""
    found = set()
    for number in LONG_NUMBER.findall(text):
        value = Decimal(number)
        if value < 10**12:  # beyond are moments
            plain = format(value.normalize(), "f")
            found |= {plain, f"{value:,.2f}", f"{value:,.0f}" if value == value.to_integral_value() else plain}
    return {n for n in found if len(n) > 4}
