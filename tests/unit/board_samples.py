"""A tenant whose records and times a test says one by one, and what it gives to boards."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from ingest.quarantine import Quarantine
from planwatch.pipeline import Outlet, Pipeline
from planwatch.store import Store
from planwatch.wiring import Parts
from processors.fold import apply
from schemas.change import Change
from schemas.config import CalendarConfig, Config, Stage
from schemas.message import decode_changes, encode_changes
from schemas.plan import Plan, Revision, Target
from storage.memory import MemoryJournal, MemoryLog, MemorySeries
from storage.ports import Message, Record
from tests.property.pipelines import MemoryHome

#: Seven hours ahead of UTC, the whole year: midnight is 17:00 UTC of the day before.
ZONE = dt.timezone(dt.timedelta(hours=7))
DAY_US = 86_400_000_000
CONFIG = Config(
    tenant="acme",
    company="Acme Ltd",
    currency="USD",
    time="log",
    calendar=CalendarConfig(time_zone="Asia/Jakarta"),
    stages=(
        Stage(name="Offer", probability=50),
        Stage(name="Won", kind="won"),
        Stage(name="Lost", kind="lost"),
    ),
)
PLAN = Plan(
    name="Two quarters",
    horizon=("2026-01-01", "2026-06-30"),
    targets=(
        Target(kpi="revenue", values={"2026-Q1": 900_000, "2026-Q2": 500_000}),
        Target(kpi="revenue", dimension="rep", scope="ann", values={"2026-Q1": 60_000}),
        Target(kpi="win_rate", values={"2026-Q1": "0.4"}),
    ),
    revisions=(
        Revision(date="2026-02-01", why="more", targets=(Target(kpi="revenue", values={"2026-Q1": 1_000_000}),)),
    ),
)


def moment(text: str) -> int:
    """A local date, or a time as 2026-02-10T09:00, in microseconds UTC."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()) * 1_000_000


class Tenant:
    """A tenant in memory. Its time is that of what it was last told.

    With an outlet its pipeline judges each change; without one changes are only folded, which takes no time.
    """

    def __init__(self, config: Config = CONFIG, plan: Plan = PLAN, outlet: Outlet | None = None) -> None:
        journal = MemoryJournal()
        parts = Parts(MemoryLog(), MemorySeries(), journal, Quarantine(journal))
        self.pipeline = Pipeline(Store(MemoryHome(config, plan), None, parts), {}, outlet=outlet)
        self.state = self.pipeline.state
        self._told = 0

    def tell(self, at: str, entity: str, record_id: str, op: str = "update", **fields: Any) -> Tenant:
        """One change, at a local time."""
        self._told += 1
        change = Change(
            tenant="acme",
            source="crm",
            entity=entity,  # type: ignore[arg-type]
            record_id=record_id,
            op=op,  # type: ignore[arg-type]
            version=self._told,
            occurred_at=moment(at),
            event_id=f"e{self._told}",
            fields=fields,
        )
        message = Message(self._told, decode_changes(encode_changes([change])))
        if self.pipeline.outlet is None:
            apply(self.state, message.changes)
        else:
            self.pipeline.take([message])
        return self

    def deal(self, at: str, record_id: str, amount: int, close: str, *, stage: str = "Offer", **fields: Any) -> Tenant:
        """A deal as it stands from a time on."""
        known = {"stage": stage, "amount": amount, "close_date": close, "created_date": at[:10], "owner": "ann"}
        return self.tell(at, "opportunity", record_id, **{**known, **fields})

    def people(self) -> Tenant:
        """Two reps in a team each, both in one territory; a third rep stands nowhere."""
        self.tell("2026-01-01T08:00", "territory", "east", name="The East")
        for team in ("ants", "bees"):
            self.tell("2026-01-01T08:00", "team", team, name=team.title(), territory="east")
        for rep, team in (("ann", "ants"), ("bob", "bees")):
            self.tell("2026-01-01T08:00", "rep", rep, name=rep.title(), team=team)
        return self.tell("2026-01-01T08:00", "rep", "zoe", name="Zoe")


class Kept:
    """Records as the newest one under each identity, and how often each measurement was written."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, tuple[tuple[str, str], ...], int], dict[str, Any]] = {}
        self.writes: list[tuple[str, str]] = []

    def write_records(self, grain: str, records: Iterable[Record]) -> None:
        """Keep them."""
        taken = list(records)
        self.writes += sorted({(grain, r.measurement) for r in taken})
        for r in taken:
            self.found.setdefault((grain, r.measurement, tuple(sorted(r.tags.items())), r.at), {}).update(r.fields)

    def of(self, measurement: str, grain: str = "day") -> dict[tuple[tuple[str, str], ...], dict[str, Any]]:
        """The newest of each identity: tags → fields."""
        return {tags: f for (g, m, tags, _), f in sorted(self.found.items()) if (g, m) == (grain, measurement)}
