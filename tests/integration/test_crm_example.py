"""The shipped example on the public data set: every known figure, and whatever an independent reading in SQL gives."""

from __future__ import annotations

import csv
import json
import os
import random
import sqlite3
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "crm_sales_opportunities"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the data set is not at {DATA}")
DAY_NUMBERS = range(1, 365, 23)


def planwatch(home: Path, *words: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the program as a user would."""
    env = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "planwatch", "--home", str(home), *words],
        input=stdin,
        capture_output=True,
        env=env,
        cwd=ROOT,
    )


def answer(home: Path, *words: str) -> dict:
    """The JSON that a command prints."""
    done = planwatch(home, *words, "--json")
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def value(home: Path, *words: str) -> float:
    """The one value of a query."""
    (row,) = answer(home, "query", *words)["rows"]
    return row["value"]


def make_home(path: Path, *files: Path | str) -> Path:
    """A home from the example with files taken in."""
    assert planwatch(path, "init", "--example", "crm_sales_opportunities").returncode == 0
    if files:
        answer(path, "ingest", "csv", *map(str, files))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the whole data set in it."""
    return make_home(tmp_path_factory.mktemp("crm"), DATA)


@pytest.fixture(scope="module")
def sql() -> sqlite3.Connection:
    """The CSVs as tables: nothing of Planwatch's is used."""
    db = sqlite3.connect(":memory:")
    for name in ("accounts", "products", "sales_teams", "sales_pipeline"):
        with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        db.execute(f"CREATE TABLE {name} ({', '.join(header)})")
        db.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(header))})", rows)
    db.execute("UPDATE sales_pipeline SET product = 'GTX Pro' WHERE product = 'GTXPro'")
    return db


KNOWN = [
    (("revenue", "--period", "2017"), 10_005_534),
    (("revenue", "--period", "2017-Q1"), 1_134_672),
    (("revenue", "--period", "2017-Q2"), 3_086_111),
    (("revenue", "--period", "2017-Q3"), 2_982_255),
    (("revenue", "--period", "2017-Q4"), 2_802_496),
    (("won_deals",), 4238),
    (("lost_deals",), 2473),
    (("open_deals",), 2089),
    (("open_deals", "--where", "stage=Engaging"), 1589),
    (("open_deals", "--where", "stage=Prospecting"), 500),
    (("won_deals", "--period", "2017-Q1"), 531),
    (("won_deals", "--period", "2017-Q4"), 1196),
    (("lost_deals", "--period", "2017-Q1"), 116),
    (("lost_deals", "--period", "2017-Q4"), 789),
    (("win_rate", "--period", "2017"), 0.631501),
    (("average_deal_size",), 2360.91),
    (("sales_cycle_days",), 51.78),
]


@pytest.mark.parametrize(("words", "figure"), KNOWN, ids=lambda x: " ".join(x) if isinstance(x, tuple) else None)
def test_known_figures(home: Path, words: tuple[str, ...], figure: float) -> None:
    """Every published figure of the data set comes out to the cent."""
    assert value(home, *words) == figure


@pytest.mark.parametrize(
    ("dim", "column"),
    [
        ("territory", "regional_office"),
        ("team", "manager"),
        ("rep", "p.sales_agent"),
        ("product", "p.product"),
        ("segment", "sector"),
    ],
)
def test_revenue_by_dimension_is_what_sql_says(home: Path, sql: sqlite3.Connection, dim: str, column: str) -> None:
    """Revenue by office, manager, agent, product and sector equals a GROUP BY over the CSVs."""
    expected = dict(
        sql.execute(
            f"""SELECT {column}, sum(close_value) FROM sales_pipeline p JOIN sales_teams t ON t.sales_agent = p.sales_agent
            LEFT JOIN accounts a ON a.account = p.account WHERE deal_stage = 'Won' GROUP BY 1"""
        )
    )
    rows = answer(home, "query", "revenue", "--by", dim)["rows"]
    assert {r["scope"][dim]: r["value"] for r in rows} == expected


@pytest.mark.parametrize("number", DAY_NUMBERS)
def test_any_day_of_the_year(home: Path, sql: sqlite3.Connection, number: int) -> None:
    """As of a day: open deals, revenue to date and pipeline equal an independent computation."""
    day = (date(2017, 1, 1) + timedelta(days=number)).isoformat()
    is_open = "engage_date <> '' AND engage_date <= :d AND (close_date = '' OR close_date > :d)"
    count, pipeline = sql.execute(
        f"SELECT count(*), sum(sales_price) FROM sales_pipeline p JOIN products USING (product) WHERE {is_open}",
        {"d": day},
    ).fetchone()
    (revenue,) = sql.execute(
        "SELECT coalesce(sum(close_value), 0) FROM sales_pipeline WHERE deal_stage = 'Won' AND close_date <= ?", (day,)
    ).fetchone()
    assert value(home, "open_deals", "--as-of", day) == count
    assert value(home, "pipeline", "--as-of", day) == pipeline
    assert value(home, "revenue", "--as-of", day) == revenue


def test_movement_adds_up(home: Path) -> None:
    """Between two days, opening plus what came less what went is closing, and both are the pipeline of their day."""
    (bars,) = answer(home, "movement", "--from", "2017-04-10", "--to", "2017-09-19")["rows"]
    gained = sum(bars[b] for b in ("created", "reopened", "pulled_in", "increased", "moved_in"))
    left = sum(bars[b] for b in ("won", "lost", "deleted", "pushed_out", "decreased", "moved_out"))
    assert bars["opening"] + gained - left == bars["closing"]
    assert bars["opening"] == value(home, "pipeline", "--as-of", "2017-04-10")
    assert bars["closing"] == value(home, "pipeline", "--as-of", "2017-09-19")
    assert bars["won"] > 0 < bars["created"]


def test_order_repeats_and_halves_change_no_byte(home: Path, tmp_path: Path) -> None:
    """Twice the same file applies nothing; shuffled rows and halves in the other order export the same bytes."""
    whole = tmp_path / "whole.json"
    assert planwatch(home, "export", "--out", str(whole)).returncode == 0
    again = answer(home, "ingest", "csv", str(DATA))
    assert (again["applied"], again["duplicate"] + again["stale"]) == (0, again["received"])

    header, *rows = (DATA / "sales_pipeline.csv").read_text(encoding="utf-8").splitlines()
    random.Random(7).shuffle(rows)
    halves = [tmp_path / "sales_pipeline_b.csv", tmp_path / "sales_pipeline_a.csv"]
    for half, part in zip(halves, (rows[: len(rows) // 2], rows[len(rows) // 2 :]), strict=True):
        half.write_text("\n".join([header, *part]) + "\n", encoding="utf-8")
    other = make_home(tmp_path / "other")
    for file in [*halves, DATA / "products.csv", DATA / "sales_teams.csv", DATA / "accounts.csv"]:
        mapped = tmp_path / "in" / ("sales_pipeline.csv" if file in halves else file.name)
        mapped.parent.mkdir(exist_ok=True)
        mapped.write_bytes(file.read_bytes())
        answer(other, "ingest", "csv", str(mapped))
    shuffled = tmp_path / "shuffled.json"
    assert planwatch(other, "export", "--out", str(shuffled)).returncode == 0
    assert shuffled.read_bytes() == whole.read_bytes()


HEADER = b"opportunity_id,sales_agent,product,account,deal_stage,engage_date,close_date,close_value\n"
GOOD_ROW = b"A2,Moses Frase,GTX Pro,,Won,2017-01-01,2017-03-01,5\n"
BAD = {
    "binary": (b"\x00\xff\xfe\x81" * 300, "text"),
    "empty": (b"", "empty"),
    "missing column": (HEADER.replace(b",close_date", b"") + b"A,B,GTX Pro,,Won,2017-01-01,5\n", "close_date"),
    "bad date": (HEADER + b"A1,Moses Frase,GTX Pro,,Won,2017-13-01,2017-03-01,5\n" + GOOD_ROW, "2017-13-01"),
    "unknown product": (HEADER + b"A1,Moses Frase,GTX Prp,,Won,2017-01-01,2017-03-01,5\n" + GOOD_ROW, "GTX Prp"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_input_is_named_and_the_rest_goes_in(tmp_path: Path, name: str) -> None:
    """Bad input gets a message that names it, every input is accounted for, and what is good is loaded."""
    content, word = BAD[name]
    file = tmp_path / "sales_pipeline.csv"
    file.write_bytes(content)
    home = make_home(tmp_path / "home")
    done = planwatch(home, "ingest", "csv", str(file), str(DATA / "sales_teams.csv"), "--json")
    counts = json.loads(done.stdout)
    assert word in done.stderr.decode()
    assert counts["quarantined"] == 1
    assert counts["received"] == sum(counts[k] for k in ("applied", "duplicate", "stale", "quarantined"))
    assert value(home, "won_deals") == (1 if name in ("bad date", "unknown product") else 0)


def test_targets_of_managers_and_offices_are_sums(home: Path) -> None:
    """The plan's split over agents adds up to the company, and teams and territories to the same."""
    rows = answer(home, "status", "--period", "2017-Q2", "--as-of", "2017-05-15")["rows"]
    by_dim: dict[str, float] = {}
    for row in rows:
        if row["kpi"] == "revenue":
            by_dim[row["dimension"]] = round(by_dim.get(row["dimension"], 0) + row["target"], 2)
    assert by_dim == {"company": 2_900_000, "rep": 2_900_000, "team": 2_900_000, "territory": 2_900_000}
