"""The simulated company's people: who joins, who leaves, who changes the team, and who takes over what."""

from __future__ import annotations

from ingest.simulated_company import TEAMS, Account, Names, Rep, slug
from ingest.simulated_days import iso, month_start
from ingest.simulated_deals import Deals
from ingest.simulated_world import World

#: Chances a week: that someone leaves, changes the team, joins beyond replacement.
LEAVES, MOVES, GROWS = 0.16, 0.14, 0.04
RAMP_DAYS = 100


class People:
    """All active reps."""

    def __init__(self, world: World, names: Names, deals: Deals, reps: list[Rep]) -> None:
        self.world, self.rng, self.names, self.deals = world, world.rng, names, deals
        self.active = reps

    def tell(self, rep: Rep) -> None:
        """A rep joins."""
        self.world.tell(
            "rep",
            rep.id,
            "create",
            {
                "name": rep.name,
                "team": rep.team,
                "email": f"{rep.id}@nusantara.example",
                "active": True,
                "effective_from": iso(rep.hired),
            },
        )

    def energy(self, rep: Rep, day: int) -> float:
        """How much of a full rep's work one does: newcomers need some months."""
        return rep.weight * min(1.0, 0.2 + 0.8 * (day - rep.hired) / RAMP_DAYS)

    def someone(self) -> Rep:
        """An active rep, at random."""
        return self.rng.choice(self.active)

    def colleagues(self, rep: Rep) -> list[Rep]:
        """The others of a rep's team; where there are none, everybody else."""
        others = [other for other in self.active if other is not rep]
        return [other for other in others if other.team == rep.team] or others

    def week(self, day: int) -> None:
        """What a week brings."""
        rng = self.rng
        if rng.random() < LEAVES:
            settled = [rep for rep in self.active if day - rep.hired > 90]
            # Who makes few of their chances goes sooner.
            leaver = rng.choices(settled, [1.6 - min(rep.skill, 1.4) for rep in settled])[0]
            self.world.on(day + rng.randrange(5), self._leave, leaver)
        if rng.random() < MOVES:
            self.world.on(day + rng.randrange(5), self._move)
        if rng.random() < GROWS:
            self.world.on(day + rng.randrange(5), self._join, rng.choice(TEAMS)[0], 0.7, [])

    def _leave(self, rep: Rep) -> None:
        """Deals and accounts go to the colleagues, then the rep goes; a successor comes some weeks later."""
        world, rng = self.world, self.rng
        if rep not in self.active:
            return
        colleagues = self.colleagues(rep)
        self.active.remove(rep)
        accounts, rep.accounts = rep.accounts, []
        for deal in list(rep.deals.values()):
            world.spend_time(15, 70)
            self.deals.reassign(deal, rng.choice(colleagues))
        for account in accounts:
            world.spend_time(8, 30)
            self._hand_over(account, rng.choice(colleagues))
        world.spend_time(60, 600)
        leaves = iso(world.today() + 1)
        world.tell("rep", rep.id, "update", {"active": False, "effective_from": leaves}, ("team",))
        world.on(world.today() + rng.randrange(9, 36), self._join, rep.team, rep.weight, accounts)

    def _hand_over(self, account: Account, rep: Rep) -> None:
        account.owner = rep
        rep.accounts.append(account)
        self.world.tell("account", account.id, "update", {"owner": rep.id})

    def _join(self, team: str, weight: float, accounts: list[Account]) -> None:
        """Someone joins and takes over what the predecessor looked after."""
        name = self.names.rep()
        today = self.world.today()
        rep = Rep(slug(name), name, team, weight, self.rng.uniform(0.75, 1.2), today, today)
        mates = self.colleagues(rep)
        self.active.append(rep)
        self.tell(rep)
        if not accounts:
            accounts = [account for mate in mates for account in mate.accounts[-2:]]
        for account in accounts:
            self.world.spend_time(8, 30)
            account.owner.accounts.remove(account)
            self._hand_over(account, rep)

    def _move(self) -> None:
        """Someone moves to the territory's other team from the first of the next month on."""
        rep = min((self.someone() for _ in range(3)), key=lambda rep: rep.since)
        territory = next(where for team, _, where, _ in TEAMS if team == rep.team)
        rep.team = next(team for team, _, where, _ in TEAMS if where == territory and team != rep.team)
        rep.since = month_start(self.world.today(), 1)
        self.world.tell("rep", rep.id, "update", {"team": rep.team, "effective_from": iso(rep.since)})
