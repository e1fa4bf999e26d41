"""The simulator door: a whole invented company, day by day and without end; the same seed gives the same changes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from ingest.simulated_company import (
    CHANNELS,
    PRODUCTS,
    SOCIAL,
    TEAMS,
    TERRITORIES,
    Account,
    Names,
    Rep,
    first_reps,
    new_account,
    slug,
    text_of_cents,
)
from ingest.simulated_days import (
    US,
    appetite,
    date_of,
    day_number,
    iso,
    last_workday_of_month,
    month_start,
    poisson,
    works,
)
from ingest.simulated_deals import TERRITORY_OF, Deals
from ingest.simulated_people import People
from ingest.simulated_world import World
from schemas.change import Change, Scalar

#: Deals that a full rep begins, and leads that come in, on an average working day.
DEALS_A_DAY, LEADS_A_DAY = 0.485, 10.0
FIRST_ACCOUNTS, FIRST_CUSTOMERS = 270, 0.68
#: How often a lead of each channel becomes a deal.
CONVERSION = {"Website": 0.13, "Events": 0.16, "Partners": 0.25, "Paid search": 0.08, "Referral": 0.31}
ARRIVALS = {"Website": 0.4, "Events": 0.15, "Partners": 0.12, "Paid search": 0.25, "Referral": 0.08}
#: Dollars a month in each territory.
MARKETING = {"Website": 1500, "Events": 5200, "Partners": 2600, "Paid search": 4100, "Referral": 600}
SELLING_PER_REP = 3900
VISITS = {"LinkedIn": 940, "Instagram": 610, "YouTube": 380, "TikTok": 260}
ACTIVITY = {territory: factor for territory, _, _, _, factor in TERRITORIES}


class Simulator:
    """Changes of a simulated company: 4 territories, 8 teams, some 40 reps, 400 accounts, several hundred deals a month.

    The company has already lived for `warm_up_days` when the stream begins: what it has by then comes as snapshots on
    the morning of `start`. Office hours and dates are local, `utc_offset_h` ahead of UTC.
    """

    def __init__(
        self,
        seed: int = 7,
        start: dt.date = dt.date(2026, 1, 5),
        tenant: str = "demo",
        source: str = "simulator",
        utc_offset_h: int = 7,
        warm_up_days: int = 180,
    ) -> None:
        self.seed, self.start = seed, start
        self.tenant, self.source = tenant, source
        self.utc_offset_us = utc_offset_h * 3600 * US
        self.warm_up_days = warm_up_days

    def changes(self, until_us: int | None = None, after_us: int = 0) -> Iterator[Change]:
        """Changes in the order of occurred_at, each with a time of its own; endless without `until_us`.

        Gives those with `after_us` < occurred_at ≤ `until_us` (microseconds UTC). The past is lived through again, so
        a stream that goes on after a stop is the same as one that never stopped.
        """
        world = World(self.seed, self.tenant, self.source, self.utc_offset_us, after_us)
        return _Company(world, day_number(self.start), self.warm_up_days).world.run(until_us)


class _Company:
    """Everything that one run of the simulation holds."""

    def __init__(self, world: World, start: int, warm_up_days: int) -> None:
        self.world, self.rng = world, world.rng
        self.names = Names(world.rng)
        self.deals = Deals(world)
        self.accounts = self.leads = 0
        first = start - warm_up_days
        world.now = world.midnight(first)
        self.people = People(world, self.names, self.deals, first_reps(self.rng, first))
        self._found()
        self._stock(first)
        self.start = start
        world.at(world.midnight(first), self._day, first)
        world.at(world.midnight(start) + 6 * 3600 * US, world.open)

    def _found(self) -> None:
        """Territories, teams, products and the first reps."""
        tell = self.world.tell
        for territory, name, manager, *_ in TERRITORIES:
            mail = f"{slug(manager)}@nusantara.example"
            tell("territory", territory, "create", {"name": name, "manager": manager, "email": mail})
        for team, name, territory, manager in TEAMS:
            mail = f"{slug(manager)}@nusantara.example"
            tell("team", team, "create", {"name": name, "territory": territory, "manager": manager, "email": mail})
        for product, name, family, price, cost, *_ in PRODUCTS:
            fields = {"name": name, "family": family, "list_price": str(price), "unit_cost": str(cost)}
            tell("product", product, "create", dict(fields))
        for rep in self.people.active:
            self.people.tell(rep)

    def _stock(self, first: int) -> None:
        """The accounts, what the customers among them bought first, and the contracts that run."""
        rng = self.rng
        for i in range(FIRST_ACCOUNTS):
            reps = self.people.active
            account = self._account(reps[i % len(reps)], customer=rng.random() < FIRST_CUSTOMERS)
            if account.customer:
                self._old_deal(account, first)
            if account.customer and rng.random() < 0.75:
                price = PRODUCTS[product := rng.randrange(3)][3]
                cents = round(price * account.size * rng.uniform(0.8, 2.2)) * 100
                self.deals.contract(account, product, cents, month_start(first, -rng.randrange(12)))

    def _account(self, owner: Rep, customer: bool) -> Account:
        self.accounts += 1
        account = new_account(self.rng, self.names, self.accounts, owner, customer)
        fields = {"name": account.name, "segment": account.segment, "owner": owner.id}
        self.world.tell("account", account.id, "create", dict(fields))
        return account

    def _old_deal(self, account: Account, first: int) -> None:
        """The deal that made an account a customer, long ago."""
        product = self.rng.randrange(len(PRODUCTS))
        closed = first - self.rng.randrange(5, 700)
        self.world.tell(
            "opportunity",
            f"opp-old-{account.id[4:]}",
            "create",
            {
                "name": f"{account.name} – {PRODUCTS[product][1]}",
                "stage": "Won",
                "amount": text_of_cents(round(PRODUCTS[product][3] * account.size) * 100),
                "owner": account.owner.id,
                "account": account.id,
                "product": PRODUCTS[product][0],
                "created_date": iso(closed - self.rng.randrange(20, 90)),
                "close_date": iso(closed),
            },
        )

    def _day(self, day: int) -> None:
        """Lay out what a day brings, and come again tomorrow."""
        world, rng = self.world, self.rng
        world.at(world.midnight(day + 1), self._day, day + 1)
        world.at(world.midnight(day) + 22 * 3600 * US + rng.randrange(1800 * US), self._traffic, day)
        leads = LEADS_A_DAY * appetite(day) if works(day) else 1.5
        for _ in range(poisson(rng, leads)):
            hour = rng.triangular(7, 22, 11)
            world.at(world.midnight(day) + int(hour * 3600 * US), self._lead)
        if not works(day):
            return
        for rep in self.people.active:
            mean = DEALS_A_DAY * appetite(day) * self.people.energy(rep, day) * ACTIVITY[TERRITORY_OF[rep.team]]
            for _ in range(poisson(rng, mean)):
                world.on(day, self._deal, rep)
        if world.opened and date_of(day).weekday() == 0:
            self.people.week(day)
        if last_workday_of_month(day):
            world.at(world.midnight(day) + 17 * 3600 * US + rng.randrange(3600 * US), self._spend, day)

    def _deal(self, rep: Rep) -> None:
        if rep.accounts and rep in self.people.active:
            weights = [1.0 if account.customer else 0.28 for account in rep.accounts]
            self.deals.begin(self.rng.choices(rep.accounts, weights)[0], rep)

    def _lead(self) -> None:
        """Someone asks: contacted within days, decided within weeks."""
        world, rng = self.world, self.rng
        self.leads += 1
        lead, today, owner = f"lead-{self.leads:05d}", world.today(), self.people.someone()
        channel = rng.choices(CHANNELS, [ARRIVALS[c] for c in CHANNELS])[0]
        world.tell(
            "lead",
            lead,
            "create",
            {
                "name": self.names.person(),
                "status": "New",
                "owner": owner.id,
                "created_date": iso(today),
                "converted": False,
                "channel": channel,
            },
        )
        contacted = today + rng.choice((0, 0, 1, 1, 2, 4))
        world.on(contacted, world.tell, "lead", lead, "update", {"status": "Contacted"})
        kind, decided = rng.random(), contacted + rng.randrange(3, 26)
        if kind < CONVERSION[channel]:
            world.on(decided, self._convert, lead, owner)
        elif kind < 0.9:
            world.on(decided, world.tell, "lead", lead, "update", {"status": "Disqualified"})

    def _convert(self, lead: str, owner: Rep) -> None:
        """A lead becomes a deal, one time in three with a new account."""
        world = self.world
        owner = owner if owner in self.people.active else self.people.someone()
        world.tell(
            "lead",
            lead,
            "update",
            {"status": "Converted", "converted": True, "converted_date": iso(world.today()), "owner": owner.id},
        )
        if self.rng.random() < 0.36 or not owner.accounts:
            account = self._account(owner, customer=False)
        else:
            account = self.rng.choice(owner.accounts)
        self.deals.begin(account, owner)

    def _traffic(self, day: int) -> None:
        """The day's visits from each social channel: fewer at weekends, growing slowly."""
        growth = 1 + (day - self.start) / 1500
        for channel in SOCIAL:
            visits = VISITS[channel] * growth * (1.0 if works(day) else 0.55) * self.rng.uniform(0.8, 1.25)
            fields: dict[str, Scalar] = {"date": iso(day), "visits": round(visits), "channel": channel}
            self.world.tell("traffic", f"visits-{iso(day)}-{slug(channel)}", "create", fields)

    def _spend(self, day: int) -> None:
        """The month's account: marketing by channel, selling, and the cost of what was won, by territory."""
        for territory, *_ in TERRITORIES:
            reps = sum(TERRITORY_OF[rep.team] == territory for rep in self.people.active)
            for channel in CHANNELS:
                self._cost(day, territory, "marketing", MARKETING[channel], channel)
            self._cost(day, territory, "sales", SELLING_PER_REP * reps)
            self._cost(day, territory, "cost", self.deals.cost_cents[territory] // 100 + 4000)
            self.deals.cost_cents[territory] = 0

    def _cost(self, day: int, territory: str, kind: str, dollars: int, channel: str | None = None) -> None:
        cents = round(dollars * self.rng.uniform(0.88, 1.12) * 100)
        name = "-".join(filter(None, ("spend", iso(day)[:7], territory, kind, slug(channel or ""))))
        fields = {"date": iso(day), "amount": text_of_cents(cents), "kind": kind, "territory": territory}
        self.world.tell("spend", name, "create", {**fields, **({"channel": channel} if channel else {})})
