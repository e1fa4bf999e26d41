"""The invented company's deals at risk and its health, in the states that a test asks for."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from schemas.alert import SourceHealth
from schemas.board import (
    Deal,
    DealsView,
    HealthView,
    RefusalCount,
    RefusedInput,
    RiskScope,
    SeriesStore,
    Trust,
)

D = Decimal
OPEN_DEALS, OPEN_AMOUNT = 189, D(1_804_350)
PRODUCTS = ("GTX Plus Pro", "MG Advanced", "GTK 500", "MG Special", "GTX Basic", "GTX Pro")
ACCOUNTS = ("Kinity", "Hottechi", "Zencorp & Söhne", "Bioholding", "Rantouch", "Cancity", "Betasoloin")
STAGES = ("Prospecting", "Engaging", "Proposal", "Negotiation")
HOSTILE_DEAL = "<img src=x onerror=alert(1)> “GTK” & 'Co'"
FLAGS = (
    ("slipped 2 times",),
    ("past its close date", "silent for 41 days"),
    ("silent for 33 days",),
    ("past its close date", "slipped 3 times", "large and late"),
    ("large and late",),
)


class Whose:
    """Where a sample deal stands: rep n is in team n // 5, which is in territory n // 10."""

    def __init__(self, reps: Sequence[str], teams: Sequence[str], territories: Sequence[str]) -> None:
        self.reps, self.teams, self.territories = reps, teams, territories

    def place(self, n: int) -> dict[str, str]:
        """Dimension → scope of rep n."""
        return {"rep": self.reps[n], "team": self.teams[n // 5], "territory": self.territories[n // 10]}


def sample_deals(extra: Decimal, whose: Whose) -> list[tuple[int, Deal]]:
    """(rep, deal) of all that are at risk, what decides most first. `extra` is added to the amount of the fourth."""
    found = []
    for n in range(26):
        rep = (n * 7) % 40
        amount = D(31_400) - n * 1_030 + (n * 37 % 11) * 410 + (extra if n == 3 else 0)
        flags = FLAGS[n % 5]
        deal = Deal(
            record_id=f"d{n}",
            name=HOSTILE_DEAL if n == 2 else f"{PRODUCTS[n % 6]} {('rollout', 'renewal', 'replacement')[n % 3]}",
            account=ACCOUNTS[n % 7],
            rep=whose.reps[rep],
            rep_id=whose.reps[rep],
            stage=STAGES[n % 4],
            amount=amount,
            close_date=None if n == 9 else f"2017-0{5 + n % 2}-{10 + n % 18}",
            age_days=None if n == 9 else 31 + (n * 53) % 170,
            slipped_times=2 + n % 5 // 3 if any("slipped" in flag for flag in flags) else n % 2,
            effect=None if n == 11 else max(D("0.31") - D("0.013") * n, D(0)),
            flags=flags,
        )
        found.append((rep, deal))
    return found


def deals_view(
    dimension: str, scope: str, as_of: int, extra: Decimal, whose: Whose, trust: Trust, *, live: bool, calm: bool
) -> DealsView:
    """The page of a scope. Raises LookupError for one that does not exist. `calm`: nothing is at risk."""
    known = {"company": ("",), "territory": whose.territories, "team": whose.teams, "rep": whose.reps}
    if scope not in known.get(dimension, ()):
        raise LookupError(f"There is no {dimension} “{scope}” in the plan.")
    everything = [] if calm else [(whose.place(n), deal) for n, deal in sample_deals(extra, whose)]
    mine = [deal for place, deal in everything if dimension == "company" or place[dimension] == scope]
    is_empty = trust.newest_change_at is None
    mine = [] if is_empty else mine
    amount = sum((deal.amount for deal in mine), D(0))
    name = scope or "Northwind Instruments"

    def total(of: str, one: str) -> RiskScope:
        its = [deal for place, deal in everything if of == "company" or place[of] == one]
        return RiskScope(
            dimension=of,
            scope=one,
            name=one or "Northwind Instruments",
            deals=len(its),
            amount=sum((d.amount for d in its), D(0)),
        )

    place = next(
        (whose.place(n) for n in range(40) if dimension in whose.place(n) and whose.place(n)[dimension] == scope), {}
    )
    inside = {
        "company": [("territory", t) for t in whose.territories],
        "territory": [("team", t) for n, t in enumerate(whose.teams) if whose.territories[n // 2] == scope],
        "team": [("rep", r) for n, r in enumerate(whose.reps) if whose.teams[n // 5] == scope],
        "rep": [],
    }[dimension]
    above = {"company": [], "territory": [("company", "")], "team": [("company", ""), ("territory", place.get("territory", ""))],
             "rep": []}[dimension]  # fmt: skip
    share = f", {100 * amount / OPEN_AMOUNT:.0f} % of the open pipeline"
    said = f"{len(mine)} of {OPEN_DEALS} open deals need help, {amount / 1000:.1f} k USD{share}."
    if not mine:
        said = "no deal is open." if is_empty else f"none of the {OPEN_DEALS} open deals needs help."
    return DealsView(
        company="Northwind Instruments", dimension=dimension, scope=scope, scope_name=name, currency="USD", time_zone="America/New_York",
        as_of=as_of, live=live, sentence=f"{name}: {said}", open_deals=0 if is_empty else OPEN_DEALS, open_amount=D(0) if is_empty else OPEN_AMOUNT,
        at_risk=len(mine), amount=amount, past=_count(mine, "past"), slipped=_count(mine, "slipped"), silent=_count(mine, "silent"),
        deals=tuple(mine), above=() if is_empty else tuple(total(*a) for a in above), inside=() if is_empty else tuple(total(*i) for i in inside),
        trust=trust,
    )  # fmt: skip


def _count(deals: Sequence[Deal], word: str) -> int:
    return sum(any(flag.startswith(word) for flag in deal.flags) for deal in deals)


REFUSED = (
    ("field-history", "OpportunityFieldHistory.csv", 4417, "bad_date", 'CreatedDate: "31.02.2017 25:10" is no time; write it as 2017-02-28T09:10:00Z',
     r"0065g00000AbCdE,StageName,Engaging,Won,31.02.2017 25:10\n"),
    ("salesforce", "crm.salesforce.opportunity[3]", 90_412, "bad_json", "the record is not JSON: unexpected end of data", r"{\"schema\": \xff\xfe\u202e<script>alert(1)</script>"),
    ("<u>salesforce</u>", "crm.salesforce.opportunity[0]", 0, "unknown_entity", "entity <i>Quote__c</i> is not mapped; add it to the mapping or leave it out of the topic",
     '{"payload": {"ChangeEventHeader": {"entityName": "Quote__c", "recordIds": ["a0B5g000001XyZ"], "changeType": "CREATE", "commitUser": "0055g00000"…'),
)  # fmt: skip


def health_view(as_of: int, trust: Trust, /, **shown: object) -> HealthView:
    """The operators' page; `shown` replaces fields."""
    refused = tuple(
        RefusedInput(
            id=f"r{n}",
            source=source,
            origin=origin,
            position=at,
            code=code,
            reason=reason,
            shown=text,
            size=len(text) * (9 if "…" in text else 1),
        )
        for n, (source, origin, at, code, reason, text) in enumerate(REFUSED)
    )
    received = sum(s.received for s in trust.sources)
    said = f"Of {received:,} inputs from 2 sources {received - 3:,} were taken in, 3 are in quarantine."
    view = HealthView(
        company="Northwind Instruments",
        time_zone="America/New_York",
        as_of=as_of,
        sentence=said if trust.sources else "No source has said anything yet.",
        verdict="Keeps up" if trust.sources else "Waiting for the first change",
        state="on_track" if trust.sources else "no_data",
        position=48_211 if trust.sources else 0,
        behind=0,
        failing="",
        waiting=2 if trust.sources else 0,
        series=SeriesStore(kind="SQLite", where="data/series.sqlite", readable=True, newest_at=as_of),
        refusals=tuple(RefusalCount(source=item.source, code=item.code, count=1, open=1) for item in refused)
        if trust.sources
        else (),
        refused=refused if trust.sources else (),
        trust=trust,
    )
    return view.model_copy(update=shown)


def one_more_refused(view: HealthView, source: str) -> HealthView:
    """The same page after another refusal of that source."""
    item = RefusedInput(
        id="new", source=source, origin="late.csv", position=7, code="missing_id", reason="the record's id is empty", shown="", size=0
    )  # fmt: skip
    sources = tuple(
        s.model_copy(update={"received": s.received + 1, "quarantined": s.quarantined + 1}) if s.source == source else s
        for s in view.trust.sources
    )
    return view.model_copy(
        update={
            "refused": (item, *view.refused),
            "refusals": (*view.refusals, RefusalCount(source=source, code="missing_id", count=1, open=1)),
            "trust": view.trust.model_copy(
                update={"sources": sources, "quarantined": sum(s.quarantined for s in sources)}
            ),
        }
    )


def silent_source(source: str, refused: int) -> SourceHealth:
    """A source of which only refusals are known."""
    return SourceHealth(source=source, last_seen_at=0, received=refused, quarantined=refused)
