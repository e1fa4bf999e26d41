"""The SQL reading of the public data set gives the known figures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from schemas.change import Change
from schemas.config import Config, Stage
from tests.oracle import Oracle
from tests.oracle.crm_sql import SNAPSHOT_AT, CrmSql
from tests.oracle.days import parse_day

DATA = Path(__file__).parents[3] / "shared" / "data" / "crm_sales_opportunities"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the data set is not at {DATA}")


@pytest.fixture(scope="module")
def sql() -> CrmSql:
    """The data set in SQLite."""
    return CrmSql(DATA)


def test_known_figures(sql: CrmSql) -> None:
    """Deals won and lost, revenue, win rate, average deal and cycle are those that are known of the data set."""
    year = sql.by_quarter()["2017"][()]
    assert (year.won, year.lost, year.revenue) == (4238, 2473, 10_005_534)
    assert round(100 * year.won / (year.won + year.lost), 2) == 63.15
    assert round(year.revenue / year.won, 2) == 2360.91
    assert round(year.days / year.won, 2) == 51.78
    quarters = [sql.by_quarter()[f"2017-Q{number}"][()] for number in (1, 2, 3, 4)]
    assert [quarter.revenue for quarter in quarters] == [1_134_672, 3_086_111, 2_982_255, 2_802_496]
    assert [quarter.won for quarter in quarters] == [531, 1254, 1257, 1196]
    assert [quarter.lost for quarter in quarters] == [116, 778, 790, 789]
    assert sql.open("2017-12-31")[()].deals == 1589 + 500
    assert sql.open("2017-12-30")[()].deals < 1589 + 500


@pytest.mark.parametrize("dim", ["territory", "team", "rep", "product", "segment", "account"])
def test_parts_add_up(sql: CrmSql, dim: str) -> None:
    """By any dimension the parts make up the whole."""
    parts, (whole,) = sql.closed((dim,)), sql.closed().values()
    assert tuple(map(sum, zip(*parts.values(), strict=True))) == whole
    deals = [row.deals for row in sql.open("2017-07-01", (dim,)).values()]
    assert sum(deals) == sql.open("2017-07-01")[()].deals > 0


def test_dimensions(sql: CrmSql) -> None:
    """3 offices, 6 managers, the 30 agents with deals, 7 products, and no sector where there is no account."""
    sizes = [len(sql.created((dim,))) for dim in ("territory", "team", "rep", "product")]
    assert sizes == [3, 6, 30, 7]
    assert sql.created(("account",))[None,].deals == sql.created(("segment",))[None,].deals == 1425


def test_movement_adds_up(sql: CrmSql) -> None:
    """Opening plus what came minus what went is closing."""
    for start, end in (("2017-01-01", "2017-02-01"), ("2017-06-30", "2017-07-01"), ("2016-10-01", "2018-01-01")):
        m = sql.movement(start, end)
        assert m["opening"] + m["created"] + m["increased"] - m["won"] - m["lost"] - m["decreased"] == m["closing"]
        assert m["closing"] == sql.open(end)[()].pipeline


def all_changes() -> list[Change]:
    """The files as changes, straight from the rows: reference records first, then what each deal went through."""
    found: list[Change] = []

    def add(entity: Any, record_id: str, day: str, **fields: Any) -> None:
        moment = parse_day(day) * 86_400_000_000
        given = {name: value for name, value in fields.items() if value != ""}
        found.append(
            Change(
                tenant="t",
                source="crm",
                entity=entity,
                record_id=record_id,
                op="update",
                version=moment,
                sequence=len(found),
                occurred_at=moment,
                event_id=f"e{len(found)}",
                fields=given,
            )
        )

    def rows(name: str) -> list[dict[str, str]]:
        with (DATA / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    for row in rows("accounts"):
        add("account", row["account"], "2016-01-01", segment=row["sector"])
    for row in rows("products"):
        add("product", row["product"], "2016-01-01", list_price=int(row["sales_price"]))
    for row in rows("sales_teams"):
        add("rep", row["sales_agent"], "2016-01-01", team=row["manager"])
        add("team", row["manager"], "2016-01-01", territory=row["regional_office"])
    for row in rows("sales_pipeline"):
        deal, opened = row["opportunity_id"], row["engage_date"] or SNAPSHOT_AT
        product = row["product"].replace("GTXPro", "GTX Pro")
        stage = "Engaging" if row["engage_date"] else "Prospecting"
        known = {"owner": row["sales_agent"], "account": row["account"], "product": product}
        add("opportunity", deal, opened, stage=stage, created_date=opened, **known)
        if row["close_date"]:
            amount = {"amount": int(row["close_value"])} if row["deal_stage"] == "Won" else {}
            add("opportunity", deal, row["close_date"], stage=row["deal_stage"], close_date=row["close_date"], **amount)
    return found


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    """The data set in the oracle."""
    stages = (
        Stage(name="Prospecting"),
        Stage(name="Engaging"),
        Stage(name="Won", kind="won"),
        Stage(name="Lost", kind="lost"),
    )
    return Oracle(all_changes(), Config(stages=stages, amount_fallback="list_price"))


@pytest.mark.parametrize("by", [(), ("territory",), ("team",), ("rep", "product"), ("segment",)])
def test_oracle_and_sql_agree(sql: CrmSql, oracle: Oracle, by: tuple[str, ...]) -> None:
    """Two independent readings, one in plain Python over changes and one in SQL over rows, give the same."""
    for period, rows in sql.by_quarter(by).items():
        for kpi, field in (("revenue", "revenue"), ("won_deals", "won"), ("lost_deals", "lost")):
            found = oracle.kpi(kpi, by, period)
            expected = {scope: getattr(row, field) for scope, row in rows.items() if getattr(row, field)}
            assert {scope: value for scope, value in found.items() if value} == expected
    for day in ("2016-12-31", "2017-07-01", "2017-12-31"):
        as_of = parse_day(day) * 86_400_000_000
        rows_open = sql.open(day, by)
        assert oracle.kpi("open_deals", by, None, as_of) == {scope: row.deals for scope, row in rows_open.items()}
        assert oracle.kpi("pipeline", by, None, as_of) == {scope: row.pipeline for scope, row in rows_open.items()}
        revenue = {scope: value for scope, value in sql.revenue(day, by).items() if value}
        assert {scope: value for scope, value in oracle.kpi("revenue", by, None, as_of).items() if value} == revenue
