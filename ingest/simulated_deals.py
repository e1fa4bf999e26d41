"""The life of simulated deals: begun, moved on and back, slipped, repriced, decided, reopened, deleted, restored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ingest.simulated_company import PRODUCTS, STAGES, TEAMS, TERRITORIES, Account, Deal, Rep, text_of_cents
from ingest.simulated_days import DAY_US, date_of, iso, month_start, quarter_end, working
from ingest.simulated_world import World

#: The chance that a deal of an average rep in an average territory is won.
WIN_CHANCE = 0.3
DELETED, RESTORED, REOPENED, STEPS_BACK = 0.022, 0.4, 0.06, 0.13
RENEWED = 0.86
TERRITORY_OF = {team: territory for team, _, territory, _ in TEAMS}
WIN_FACTOR = {territory: factor for territory, _, _, factor, _ in TERRITORIES}


class Deals:
    """All deals and contracts, and what becomes of them."""

    def __init__(self, world: World) -> None:
        self.world, self.rng = world, world.rng
        self.count = self.contracts = 0
        self.cost_cents = dict.fromkeys(WIN_FACTOR, 0)  # of what was won since the last monthly account

    def begin(self, account: Account, owner: Rep) -> None:
        """A rep begins a deal with an account."""
        rng, today = self.rng, self.world.today()
        product = rng.choices(range(len(PRODUCTS)), [p[6] for p in PRODUCTS])[0]
        self.count += 1
        cycle = min(max(rng.lognormvariate(4.02, 0.4), 12), 160)
        deal = Deal(
            id=f"opp-{self.count:05d}",
            account=account,
            product=product,
            owner=owner,
            cents=self._price(product, account),
            stage=int(rng.random() < 0.3),
            created=today,
            close=self._promise(today, cycle),
            wins=rng.random() < WIN_CHANCE * owner.skill * WIN_FACTOR[TERRITORY_OF[owner.team]],
        )
        owner.deals[deal.id] = deal
        self.world.tell(
            "opportunity",
            deal.id,
            "create",
            {
                "name": f"{account.name} – {PRODUCTS[product][1]}",
                "stage": STAGES[deal.stage],
                "amount": text_of_cents(deal.cents),
                "owner": owner.id,
                "account": account.id,
                "product": PRODUCTS[product][0],
                "created_date": iso(today),
                "close_date": iso(deal.close),
            },
        )
        self._plan(deal, self._decision_day(today, round(cycle), deal.wins))

    def _price(self, product: int, account: Account) -> int:
        rng = self.rng
        units = rng.choices((1, 2, 3), (0.84, 0.12, 0.04))[0]
        dollars = PRODUCTS[product][3] * units * account.size * rng.uniform(0.68, 0.98)
        # Most quotes are round; a discount in percent leaves cents.
        return round(dollars * 100) if rng.random() < 0.3 else max(round(dollars / 50), 1) * 5000

    def _promise(self, today: int, cycle: float) -> int:
        """The close date that a rep puts down: hopeful, and often a quarter's or a month's end."""
        rng = self.rng
        day = today + max(7, round(cycle * rng.uniform(0.6, 1.2)))
        kind = rng.random()
        if kind < 0.22:
            return quarter_end(day)
        return month_start(day, 1) - 1 if kind < 0.4 else working(day)

    def _decision_day(self, today: int, cycle: int, wins: bool) -> int:
        """When it is decided: the last two weeks of a quarter draw wins from both sides."""
        rng, day = self.rng, today + cycle
        if date_of(day).month in (7, 8) and rng.random() < 0.25:
            day += rng.randrange(8, 24)  # the customer is on holiday
        last, end = month_start(day, -((date_of(day).month - 1) % 3)) - 1, quarter_end(day)
        if wins and day - last <= 26 and last - today >= 20 and rng.random() < 0.42:
            day = last - rng.randrange(9)
        elif wins and 13 <= end - day <= 40 and rng.random() < 0.26:
            day = end - rng.randrange(12)
        return working(max(day, today + 2), -1 if end - day < 5 else 1)

    def _later(self, day: int, what: Callable[..., None], deal: Deal, *arguments: Any) -> None:
        self.world.on(day, self._do, what, deal, deal.life, arguments)

    def _do(self, what: Callable[..., None], deal: Deal, life: int, arguments: tuple[Any, ...]) -> None:
        """Do what was planned, unless the deal has been closed or deleted meanwhile."""
        if deal.life != life:
            return
        if not deal.deleted:
            what(deal, *arguments)
        elif deal.returns_at is not None:
            self.world.at(deal.returns_at + 3_600_000_000, self._do, what, deal, life, arguments)

    def _plan(self, deal: Deal, decision: int) -> None:
        """Lay out a deal's way to its decision."""
        rng, today = self.rng, self.world.today()
        span = max(decision - today, 1)
        top = len(STAGES) - 1
        if not deal.wins:
            top = max(deal.stage, rng.choices(range(len(STAGES)), (0.16, 0.3, 0.34, 0.2))[0])
        steps = list(range(deal.stage + 1, top + 1))
        if len(steps) > 1 and rng.random() < 0.12:
            steps.pop(0)  # stages are skipped now and then
        for i, stage in enumerate(steps):
            self._later(today + int(span * (i + rng.uniform(0.25, 0.9)) / (len(steps) + 0.3)), self._move, deal, stage)
        if steps and rng.random() < STEPS_BACK:
            self._later(today + int(span * rng.uniform(0.45, 0.8)), self._step_back, deal, decision)
        for _ in range(rng.choices((0, 1, 2), (0.5, 0.36, 0.14))[0]):
            self._later(today + int(span * rng.uniform(0.1, 0.95)), self._reprice, deal)
        self._plan_close_dates(deal, today, decision)
        # The past is told as it ended up: what was deleted then is not worth a word.
        if self.world.opened and rng.random() < DELETED:
            self._later(today + int(span * rng.uniform(0.1, 0.8)), self._delete, deal)
        self._later(decision, self._decide, deal)

    def _plan_close_dates(self, deal: Deal, today: int, decision: int) -> None:
        rng, stated = self.rng, deal.close
        while stated < decision - 2:
            noticed = max(stated - rng.randrange(-3, 8), today + 1)
            stated += rng.randrange(9, 40)
            if rng.random() < 0.25:
                stated = quarter_end(stated)
            self._later(noticed, self._restate, deal, stated)
        if stated > decision + 7 and rng.random() < 0.55:
            soon = working(decision + rng.randrange(4))
            self._later(max(decision - rng.randrange(2, 12), today + 1), self._restate, deal, soon)

    def _update(self, deal: Deal, **fields: str) -> None:
        self.world.tell("opportunity", deal.id, "update", dict(fields))

    def _move(self, deal: Deal, stage: int) -> None:
        if stage != deal.stage:
            deal.stage = stage
            self._update(deal, stage=STAGES[stage])

    def _step_back(self, deal: Deal, decision: int) -> None:
        if deal.stage:
            again = self.world.today() + self.rng.randrange(4, 13)
            if again < decision:
                self._later(again, self._move, deal, deal.stage)
            self._move(deal, deal.stage - 1)

    def _reprice(self, deal: Deal) -> None:
        factor = self.rng.uniform(0.72, 1.06) if self.rng.random() < 0.6 else self.rng.uniform(1.04, 1.35)
        deal.cents = max(round(deal.cents * factor / 1000), 1) * 1000
        self._update(deal, amount=text_of_cents(deal.cents))

    def _restate(self, deal: Deal, close: int) -> None:
        if close != deal.close and close > self.world.today():
            deal.close = close
            self._update(deal, close_date=iso(close))

    def _delete(self, deal: Deal) -> None:
        """Someone deletes a deal; some come back from the bin."""
        deal.deleted = True
        if self.rng.random() < RESTORED:
            deal.returns_at = self.world.now + int(self.rng.uniform(0.02, 5) * DAY_US)
            self.world.at(deal.returns_at, self._restore, deal)
        else:
            deal.owner.deals.pop(deal.id, None)
        self.world.tell("opportunity", deal.id, "delete", {})

    def _restore(self, deal: Deal) -> None:
        deal.deleted, deal.returns_at = False, None
        # Its owner may have left while it lay in the bin.
        self.world.tell("opportunity", deal.id, "undelete", {"owner": deal.owner.id})

    def reassign(self, deal: Deal, owner: Rep) -> None:
        """A deal goes to another rep, and with the old one goes some of its chance."""
        deal.owner.deals.pop(deal.id, None)
        owner.deals[deal.id] = deal
        deal.owner = owner
        deal.wins &= self.rng.random() < 0.7
        if not deal.deleted:
            self._update(deal, owner=owner.id)

    def _decide(self, deal: Deal) -> None:
        deal.life += 1
        deal.owner.deals.pop(deal.id, None)
        deal.close = self.world.today()
        fields = {"stage": "Won" if deal.wins else "Lost", "close_date": iso(deal.close)}
        if not deal.wins:
            self._update(deal, **fields)
            if self.rng.random() < REOPENED:
                self.world.on(deal.close + self.rng.randrange(5, 45), self._reopen, deal)
            return
        if self.rng.random() < 0.35:
            deal.cents = round(deal.cents * self.rng.uniform(0.86, 1.0) / 100) * 100
            fields["amount"] = text_of_cents(deal.cents)
        self._update(deal, **fields)
        self._won(deal)

    def _won(self, deal: Deal) -> None:
        deal.account.customer = True
        price, cost, subscription = PRODUCTS[deal.product][3:6]
        # Discounts do not lower the cost of what is delivered.
        self.cost_cents[TERRITORY_OF[deal.owner.team]] += round(deal.cents * cost / price * 1.12)
        if subscription:
            begins = month_start(deal.close, 1)
            due = deal.close + self.rng.randrange(4)
            self.world.on(due, self.contract, deal.account, deal.product, deal.cents, begins)

    def _reopen(self, deal: Deal) -> None:
        """A lost deal comes back to life, with whoever looks after the account now."""
        today = self.world.today()
        cycle = self.rng.randrange(12, 50)
        deal.owner = deal.account.owner
        deal.owner.deals[deal.id] = deal
        deal.stage = self.rng.randrange(1, 3)
        deal.close = self._promise(today, cycle)
        deal.wins = self.rng.random() < 0.4
        self._update(deal, stage=STAGES[deal.stage], close_date=iso(deal.close), owner=deal.owner.id)
        self._plan(deal, self._decision_day(today, cycle, deal.wins))

    def contract(self, account: Account, product: int, cents: int, begins: int) -> None:
        """An account signs for a year; shortly before its end it renews, grows, shrinks or goes."""
        self.contracts += 1
        ends = month_start(begins, 12) - 1
        self.world.tell(
            "contract",
            f"con-{self.contracts:05d}",
            "create",
            {
                "account": account.id,
                "owner": account.owner.id,
                "product": PRODUCTS[product][0],
                "start_date": iso(begins),
                "end_date": iso(ends),
                "annual_value": text_of_cents(cents),
            },
        )
        if self.rng.random() < RENEWED:
            value = round(cents * self.rng.uniform(0.9, 1.24) / 1000) * 1000
            self.world.on(ends - self.rng.randrange(2, 20), self.contract, account, product, value, ends + 1)
