"""The simulated company: deterministic, resumable, in order, and full of life."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter, defaultdict
from functools import lru_cache
from pathlib import Path

import orjson
import pytest
from ruamel.yaml import YAML

from ingest.simulated_company import STAGES
from ingest.simulated_days import works
from ingest.simulator import Simulator
from schemas.change import Change
from schemas.config import Config
from schemas.plan import Plan

DAY_US = 86_400_000_000
OFFSET_US = 7 * 3_600_000_000
START_US = int(dt.datetime(2026, 1, 5, tzinfo=dt.UTC).timestamp()) * 1_000_000 - OFFSET_US
DEMO = Path(__file__).parents[2] / "examples" / "demo"


@lru_cache(maxsize=1)
def nine_months() -> tuple[Change, ...]:
    """What the demo begins with."""
    return tuple(Simulator().changes(until_us=START_US + 273 * DAY_US))


def few(days: int, **settings: int) -> list[Change]:
    """The first days of a company with a short past."""
    return list(Simulator(warm_up_days=20, **settings).changes(until_us=START_US + days * DAY_US))


def local_day(us: int) -> int:
    return (us + OFFSET_US) // DAY_US


def written(changes: list[Change]) -> bytes:
    return orjson.dumps([change.model_dump() for change in changes])


def updates(field: str) -> list[tuple[str, str, Change]]:
    """(old, new, change) of every update of a field of a deal."""
    found, last = [], {}
    for change in nine_months():
        if change.entity == "opportunity" and field in change.fields:
            new = str(change.fields[field])
            if change.op == "update":
                found.append((last[change.record_id], new, change))
            last[change.record_id] = new
    return found


def count(entity: str, *ops: str) -> int:
    return sum(change.entity == entity and (not ops or change.op in ops) for change in nine_months())


def test_same_seed_same_bytes() -> None:
    """Two runs with one seed give the same bytes; another seed gives another company."""
    assert written(few(20, seed=3)) == written(few(20, seed=3))
    assert written(few(20, seed=3)) != written(few(20, seed=4))


def test_two_streams_of_one_simulator_do_not_disturb_each_other() -> None:
    """A simulator holds no state of its own: interleaved streams give what each would give alone."""
    simulator = Simulator(warm_up_days=20)
    pairs = itertools.islice(zip(simulator.changes(), simulator.changes(), strict=False), 3000)
    assert all(left == right for left, right in pairs)


def test_every_change_is_valid() -> None:
    """Every change survives strict validation from its own JSON, unchanged."""
    for change in nine_months():
        assert Change.model_validate_json(change.model_dump_json(), strict=True) == change


def test_every_change_has_a_time_of_its_own_in_order() -> None:
    """Times rise strictly, so that a time alone says where a stream stopped."""
    times = [change.occurred_at for change in nine_months()]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert times[0] >= START_US
    assert times[-1] <= START_US + 273 * DAY_US


def test_event_ids_are_unique_and_versions_rise() -> None:
    """No event id comes twice, and a record's versions rise from change to change."""
    changes = nine_months()
    assert len({change.event_id for change in changes}) == len(changes)
    last: dict[tuple[str, str], int] = {}
    for change in changes:
        key = change.entity, change.record_id
        assert change.version > last.get(key, -1)
        last[key] = change.version


@pytest.mark.parametrize("stop", [0, 1, 400, 2500])
def test_a_stopped_stream_goes_on_where_it_stopped(stop: int) -> None:
    """What came before a stop and what a second start gives after it make up the whole, whatever the place."""
    whole = few(25)
    after = whole[stop - 1].occurred_at if stop else 0
    rest = Simulator(warm_up_days=20).changes(after_us=after, until_us=START_US + 25 * DAY_US)
    assert whole[:stop] + list(rest) == whole


def test_a_record_exists_before_it_changes_and_rests_while_deleted() -> None:
    """First a snapshot or a create, never two; after a delete nothing but an undelete."""
    alive: dict[tuple[str, str], bool] = {}
    for change in nine_months():
        key = change.entity, change.record_id
        if change.op in ("create", "snapshot"):
            assert key not in alive, change
        else:
            assert alive[key] is (change.op != "undelete"), change
        alive[key] = change.op != "delete"


def test_what_a_record_names_is_there() -> None:
    """Owners, accounts, products, teams and territories were told before they are named."""
    known: dict[str, set[str]] = defaultdict(set)
    named = {"owner": "rep", "account": "account", "product": "product", "team": "team", "territory": "territory"}
    for change in nine_months():
        for field, entity in named.items():
            if field in change.fields:
                assert change.fields[field] in known[entity], change
        known[change.entity].add(change.record_id)


def test_the_company_has_its_size() -> None:
    """4 territories, 8 teams, 40 first reps, 6 products, 5 segments, some 400 accounts, several thousand deals."""
    assert [count(entity, "snapshot") for entity in ("territory", "team", "rep", "product")] == [4, 8, 40, 6]
    assert len({c.fields["segment"] for c in nine_months() if c.entity == "account" and "segment" in c.fields}) == 5
    assert 360 <= count("account", "create", "snapshot") <= 450
    assert 3500 <= count("opportunity", "create") <= 6000
    assert 30_000 <= len(nine_months()) <= 50_000
    assert all({"list_price", "unit_cost"} <= set(c.fields) for c in nine_months() if c.entity == "product")


def test_deals_live() -> None:
    """Stages move on and back, deals are won, lost and reopened, slip, are pulled in, repriced, deleted, restored."""
    rank = {stage: i for i, stage in enumerate(STAGES)}
    moves = [(old, new) for old, new, _ in updates("stage")]
    assert sum(old in rank and new in rank and rank[new] > rank[old] for old, new in moves) > 3000
    assert sum(old in rank and new in rank and rank[new] < rank[old] for old, new in moves) > 100
    assert sum(old == "Lost" and new in rank for old, new in moves) > 50
    ends = Counter(new for _, new in moves)
    assert 0.25 < ends["Won"] / (ends["Won"] + ends["Lost"]) < 0.36
    dates = [(old, new) for old, new, change in updates("close_date") if "stage" not in change.fields]
    assert sum(new > old for old, new in dates) > 1500
    assert sum(new < old for old, new in dates) > 200
    prices = [(float(old), float(new)) for old, new, _ in updates("amount")]
    assert sum(new > old for old, new in prices) > 500
    assert sum(new < old for old, new in prices) > 1000
    assert count("opportunity", "delete") > 50
    assert 10 < count("opportunity", "undelete") < count("opportunity", "delete")
    assert sum(old != new for old, new, change in updates("owner") if "stage" not in change.fields) > 30


def test_people_come_and_go() -> None:
    """Reps join, leave (inactive, without a team from a date) and change teams by dated assignments."""
    changes = [change for change in nine_months() if change.entity == "rep" and change.op != "snapshot"]
    left = [change for change in changes if change.fields.get("active") is False]
    assert len(left) >= 3
    assert all(change.nulled == ("team",) and "effective_from" in change.fields for change in left)
    assert sum(change.op == "create" for change in changes) >= 3
    assert sum(change.op == "update" and {"team", "effective_from"} <= set(change.fields) for change in changes) >= 3


def test_who_has_left_owns_nothing_open() -> None:
    """Once a rep has left, no deal and no account is theirs but what was closed before."""
    owner: dict[tuple[str, str], str] = {}
    stage: dict[str, str] = {}
    gone: set[str] = set()
    for change in nine_months():
        key = change.entity, change.record_id
        if change.entity == "rep" and change.fields.get("active") is False:
            gone.add(change.record_id)
        if change.entity in ("opportunity", "account") and "owner" in change.fields:
            assert change.fields["owner"] not in gone, change
            owner[key] = str(change.fields["owner"])
        if change.entity == "opportunity":
            stage[change.record_id] = str(change.fields.get("stage", stage.get(change.record_id)))
            stage[change.record_id] = "Deleted" if change.op == "delete" else stage[change.record_id]
    open_now = [rep for (kind, i), rep in owner.items() if kind == "account" or stage[i] in STAGES]
    assert not gone & set(open_now)


def test_leads_contracts_spend_and_traffic() -> None:
    """Leads convert with date and channel, wins bring contracts, money is spent monthly, visits are counted daily."""
    changes = nine_months()
    converted = [c for c in changes if c.entity == "lead" and c.op == "update" and c.fields.get("converted") is True]
    assert 0.08 < len(converted) / count("lead", "create") < 0.25
    assert all("converted_date" in change.fields for change in converted)
    assert len({c.fields["channel"] for c in changes if c.entity == "lead" and c.op == "create"}) == 5
    contracts = [c.fields for c in changes if c.entity == "contract"]
    assert len(contracts) > 500
    assert all({"account", "start_date", "end_date", "annual_value"} <= set(c) for c in contracts)
    spend = [c.fields for c in changes if c.entity == "spend" and c.op == "create"]
    assert {str(c["kind"]) for c in spend} == {"marketing", "sales", "cost"}
    assert len({str(c["date"])[:7] for c in spend}) == 9
    days = Counter(str(c.fields["date"]) for c in changes if c.entity == "traffic" and c.op == "create")
    assert len(days) == 273
    assert set(days.values()) == {4}


def test_people_work_in_working_hours() -> None:
    """Deals are begun on working days only, within a long day at the office, fewer in the summer holidays."""
    begun = [c.occurred_at for c in nine_months() if c.entity == "opportunity" and c.op == "create"]
    assert all(works(local_day(us)) for us in begun)
    hours = [(us + OFFSET_US) % DAY_US / 3_600_000_000 for us in begun]
    assert sum(8 <= hour <= 20 for hour in hours) > 0.99 * len(hours)
    months = Counter(dt.datetime.fromtimestamp((us + OFFSET_US) / 1e6, dt.UTC).month for us in begun)
    assert max(months[7], months[8]) < min(months[m] for m in (3, 4, 5, 9))


def test_quarters_end_in_a_push() -> None:
    """More is won on a working day of a quarter's last two weeks than on any other."""
    wins = [dt.date.fromisoformat(str(c.fields["close_date"])) for _, new, c in updates("stage") if new == "Won"]
    wins = [day for day in wins if day < dt.date(2026, 10, 1)]
    pushes = [(dt.date(2026, m, d - 13), dt.date(2026, m, d)) for m, d in ((3, 31), (6, 30), (9, 30))]
    pushed = sum(any(first <= day <= last for first, last in pushes) for day in wins)
    assert pushed / 30 > 1.8 * (len(wins) - pushed) / 160


def test_the_company_goes_on() -> None:
    """Three years on it still hires, sells and counts some forty reps."""
    changes = Simulator(warm_up_days=20).changes(until_us=START_US + 1095 * DAY_US)
    active, late = set(), Counter()
    for change in changes:
        if change.entity == "rep" and "active" in change.fields:
            (active.add if change.fields["active"] else active.discard)(change.record_id)
        if change.occurred_at > START_US + 1000 * DAY_US:
            late[change.entity, change.op] += 1
    assert 34 <= len(active) <= 60
    assert late["opportunity", "create"] > 800
    assert late["rep", "create"] >= 1


def test_the_demo_fits_the_simulation() -> None:
    """The demo's stages, reps and calendar are those of the simulation; each quota has a rep and a weight."""
    read = YAML(typ="safe", pure=True).load
    config = Config.model_validate(read((DEMO / "planwatch.yaml").read_text(encoding="utf-8")))
    plan = Plan.model_validate(read((DEMO / "plan.yaml").read_text(encoding="utf-8")))
    assert {stage.name for stage in config.stages} == set(STAGES) | {"Won", "Lost"}
    assert config.sources["simulator"].kind == "simulator"
    reps = {change.record_id for change in nine_months() if change.entity == "rep"}
    splits = [t.split for t in (*plan.targets, *(t for r in plan.revisions for t in r.targets)) if t.split]
    assert [len(split.members) for split in splits] == [40, 42]
    for split in splits:
        assert set(split.members) <= reps
        assert len(set(split.members)) == len(split.members) == len(split.weights)
        assert sum(split.weights) == 400


def test_the_plan_is_in_reach_but_not_for_all() -> None:
    """Three quarters bring 90 to 105 % of their revenue targets; one territory is far behind its share, one ahead."""
    amount, stage, owner, close = ({} for _ in range(4))
    team: dict[str, str] = {}
    for change in nine_months():
        if change.entity == "opportunity":
            for field, values in (("amount", amount), ("stage", stage), ("owner", owner), ("close_date", close)):
                values.update({change.record_id: change.fields[field]} if field in change.fields else {})
            if change.op == "delete":
                stage[change.record_id] = "Deleted"
        elif change.entity == "rep" and "team" in change.fields:
            team[change.record_id] = str(change.fields["team"])
    territory = {c.record_id: str(c.fields["territory"]) for c in nine_months() if c.entity == "team"}
    won: dict[str, float] = defaultdict(float)
    for record, name in stage.items():
        if name == "Won" and "2026-01-01" <= str(close[record]) <= "2026-09-30":
            won[territory[team[owner[record]]]] += float(amount[record])
    wanted = 3_000_000 + 3_500_000 + 3_100_000
    assert 0.9 < sum(won.values()) / wanted < 1.05
    assert won["indonesia-east"] / (wanted * 80 / 400) < 0.88
    assert won["mekong"] / (wanted * 125 / 400) > 1.1
