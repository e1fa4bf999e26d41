"""The oracle against examples worked out by hand: it judges the fold, so it has to be right itself."""

from __future__ import annotations

from decimal import Decimal

from schemas.change import tie
from schemas.config import CalendarConfig, Config, ExchangeRate
from tests.oracle import Days, Oracle
from tests.oracle.make import CONFIG, STAGES, at, change, deal, one

D = Decimal

CLOSED = [
    deal("a", "2017-01-05", stage="Won", amount="100.50", close_date="2017-01-05", created_date="2017-01-01"),
    deal("b", "2017-02-05", stage="Won", amount=200, close_date="2017-02-05", created_date="2017-02-01"),
    deal("c", "2017-03-05", stage="Won", amount=1, close_date="2017-04-01"),
    deal("d", "2017-02-06", stage="Lost", amount=99, close_date="2017-02-06", created_date="2017-02-01"),
    deal("e", "2017-02-06", stage="Won", amount=7),
    deal("f", "2017-02-06", amount=7, close_date="2017-02-06"),
]


def test_closed_deals_by_hand() -> None:
    """Sums, counts and ratios of closed deals in a quarter; incomplete deals (e, f) stay out."""
    oracle = Oracle(CLOSED, CONFIG)
    found = {
        kpi: one(oracle, kpi, "2017-Q1")
        for kpi in ("revenue", "won_deals", "lost_deals", "win_rate", "win_rate_value", "average_deal_size")
    }
    assert found == {
        "revenue": D("300.50"),
        "won_deals": 2,
        "lost_deals": 1,
        "win_rate": D("0.666667"),
        "win_rate_value": D("0.752190"),  # 300.5 / 399.5
        "average_deal_size": D("150.25"),
    }
    assert one(oracle, "sales_cycle_days", "2017-Q1") == 4  # 4 and 4 days; c has no creation date
    assert one(oracle, "revenue") == D("301.50")
    assert one(oracle, "created_deals", "2017-02") == 2
    assert one(oracle, "win_rate", "2018") is None


def test_open_deals_by_hand() -> None:
    """Pipeline counts open deals with and without date when no period is asked; the own probability overrides."""
    oracle = Oracle(
        [
            deal("a", "2017-01-01", stage="Prospect", amount="0.05", close_date="2017-01-31"),
            deal("b", "2017-01-01", stage="Offer", amount=10, probability="12.5"),
            deal("c", "2017-01-01", stage="Offer", close_date="2017-02-01"),
        ],
        CONFIG,
    )
    assert one(oracle, "pipeline") == D("10.05")
    assert one(oracle, "open_deals") == 3
    assert one(oracle, "pipeline", "2017-01") == D("0.05")
    # 0.005 rounds to 0.00 (half to even), 1.25 stays.
    assert one(oracle, "weighted_pipeline") == D("1.25")
    assert one(oracle, "weighted_pipeline", "2017-01") == 0


def test_list_price_stands_in_only_when_told() -> None:
    """An absent amount is the product's list price with the fallback on, else 0; counts count either way."""
    changes = [
        change("product", "p", "2017-01-01", list_price="12.345", currency="EUR"),
        deal("a", "2017-01-02", stage="Offer", product="p"),
        deal("b", "2017-01-02", stage="Offer", product="unknown"),
    ]
    with_price = Oracle(changes, CONFIG.model_copy(update={"amount_fallback": "list_price"}))
    assert (one(with_price, "pipeline"), one(with_price, "open_deals")) == (D("12.34"), 2)
    assert (one(Oracle(changes, CONFIG), "pipeline"), one(Oracle(changes, CONFIG), "open_deals")) == (0, 2)
    gone = [*changes, change("product", "p", "2017-01-03", _op="delete")]
    assert one(Oracle(gone, with_price.config), "pipeline") == 0


def test_rates_by_day() -> None:
    """The latest rate on or before the day counts, a record wins over configuration, no rate gives 0."""
    config = CONFIG.model_copy(
        update={
            "rates": (
                ExchangeRate(currency="USD", date="2017-02-01", rate=D("0.5")),
                ExchangeRate(currency="USD", date="2017-03-01", rate=D("0.25")),
            )
        }
    )
    won = {"stage": "Won", "amount": 100, "currency": "USD"}
    changes = [
        deal("early", "2017-01-01", **won, close_date="2017-01-01"),
        deal("mid", "2017-01-01", **won, close_date="2017-02-28"),
        deal("late", "2017-01-01", **won, close_date="2017-03-01"),
        deal("yen", "2017-01-01", **{**won, "currency": "JPY"}, close_date="2017-03-01"),
        deal("open", "2017-01-01", stage="Offer", amount=100, currency="USD", close_date="2019-01-01"),
    ]
    oracle = Oracle(changes, config)
    assert [one(oracle, "revenue", month) for month in ("2017-01", "2017-02", "2017-03")] == [50, 50, 25]
    assert one(oracle, "won_deals", "2017-03") == 2
    assert [one(oracle, "pipeline", None, day) for day in ("2017-01-15", "2017-02-28", "2017-03-01")] == [50, 50, 25]
    own = [
        *changes,
        change("rate", "x", "2017-01-01", currency="USD", date="2017-03-01", rate="0.75"),
        change("rate", "y", "2017-01-01", currency="USD", date="2017-03-01", rate="0.8"),
    ]
    assert one(Oracle(own, config), "revenue", "2017-03") == 80
    yen = Oracle([deal("a", "2017-01-01", stage="Offer", amount="2.5")], Config(currency="JPY", stages=STAGES))
    assert str(one(yen, "pipeline")) == "2"


def test_last_writer_wins_per_field() -> None:
    """Version, then sequence, decides within a source whatever the time; a null is a write too."""
    changes = [
        deal("a", "2017-01-01", stage="Offer", amount=1, _version=5),
        deal("a", "2017-01-02", amount=2, _version=7, _sequence=1),
        deal("a", "2017-01-03", amount=3, _version=7),
        deal("a", "2017-01-04", amount=4, stage="Won", _version=4),
        deal("b", "2017-01-01", stage="Offer", amount=10, _version=1),
        deal("b", "2017-01-02", amount=None, _version=2),
    ]
    assert one(Oracle(changes, CONFIG), "pipeline") == 2
    assert one(Oracle(changes + changes[:3], CONFIG), "pipeline") == 2
    assert one(Oracle(changes[::-1], CONFIG), "pipeline") == 2
    assert one(Oracle(changes, CONFIG), "pipeline", None, "2017-01-01") == 11
    assert one(Oracle(changes, CONFIG), "open_deals") == 2


def test_between_sources_the_later_time_wins() -> None:
    """Each source has its own versions; among their winners the time decides, then the source's name."""
    changes = [
        deal("a", "2017-01-01", stage="Offer", amount=1, _version=9),
        deal("a", "2017-01-02", amount=2, _version=1, _source="erp"),
    ]
    assert one(Oracle(changes, CONFIG), "pipeline") == 2
    assert one(Oracle([*changes, deal("a", "2017-01-02", amount=3, _source="zz")], CONFIG), "pipeline") == 3
    assert one(Oracle([*changes, deal("a", "2017-01-02", amount=3, _source="aa")], CONFIG), "pipeline") == 2


def test_delete_is_a_write_of_existence() -> None:
    """An older update does not bring a deal back, a newer one does."""
    made = deal("a", "2017-01-01", stage="Offer", amount=1, _version=1)
    gone = deal("a", "2017-01-03", _op="delete", _version=3)
    older = deal("a", "2017-01-04", amount=2, _version=2)
    newer = deal("a", "2017-01-05", name="x", _version=4)
    assert one(Oracle([made, gone, older], CONFIG), "open_deals") == 0
    assert one(Oracle([made, gone, older, newer], CONFIG), "pipeline") == 2
    assert one(Oracle([made, gone], CONFIG), "open_deals", None, "2017-01-02") == 1


def test_sequence_orders_within_one_version() -> None:
    """Of two writers with one version the greater sequence wins, whichever arrives or occurs first."""
    first = deal("a", "2017-01-03", stage="Offer", amount=1, _version=7)
    second = deal("a", "2017-01-02", amount=2, _version=7, _sequence=1)
    for changes in ([first, second], [second, first]):
        assert one(Oracle(changes, CONFIG), "pipeline") == 2
    tied = [deal("b", "2017-01-01", stage="Offer", amount=n, _version=7, _event_id=f"x{n}") for n in range(1, 6)]
    best = max(tied, key=lambda change: tie(0, change.event_id))
    for changes in (tied, tied[::-1]):
        assert one(Oracle(changes, CONFIG), "pipeline") == best.fields["amount"]


ORGANISATION = [
    change("rep", "r", "2017-01-10", team="t1"),
    change("rep", "r", "2017-06-01", team="t2", effective_from="2017-03-01"),
    change("team", "t1", "2017-01-01", territory="north"),
    change("team", "t2", "2017-01-01", territory="south"),
    change("team", "t2", "2017-05-01", territory="east"),
]


def test_attribution_is_effective_dated() -> None:
    """A closed deal counts where its owner stood on its close date, an open one where the owner stands now."""
    won = {"stage": "Won", "amount": 1, "owner": "r"}
    changes = [
        *ORGANISATION,
        deal("a", "2017-01-01", **won, close_date="2016-12-01"),  # before the first assignment: the first
        deal("b", "2017-01-01", **won, close_date="2017-02-28"),
        deal("c", "2017-01-01", **won, close_date="2017-03-01"),
        deal("d", "2017-01-01", **won, close_date="2017-05-01"),
        deal("e", "2017-01-01", stage="Offer", amount=5, owner="r", close_date="2017-01-01"),
        deal("f", "2017-01-01", stage="Won", amount=1, close_date="2017-05-01"),
    ]
    oracle = Oracle(changes, CONFIG)
    assert oracle.kpi("won_deals", ("team",)) == {("t1",): 2, ("t2",): 2, (None,): 1}
    expected = {("t1", "north"): 2, ("t2", "south"): 1, ("t2", "east"): 1, (None, None): 1}
    assert oracle.kpi("won_deals", ("team", "territory")) == expected
    assert oracle.kpi("pipeline", ("territory",)) == {("east",): 5}
    # Before the backdated change was known, and before the first territory of t2 had been replaced:
    assert oracle.kpi("won_deals", ("team",), None, at("2017-05-31")) == {("t1",): 4, (None,): 1}
    assert oracle.kpi("pipeline", ("territory",), None, at("2017-05-31")) == {("north",): 5}
    left = Oracle([*changes, change("rep", "r", "2017-07-01", _op="delete")], CONFIG)
    assert left.kpi("pipeline", ("rep", "team")) == {("r", None): 5}
    none = Oracle([*changes, change("rep", "r", "2017-07-02", team=None)], CONFIG)
    assert none.kpi("pipeline", ("rep", "team")) == {("r", None): 5}
    assert none.kpi("won_deals", ("team",)) == {("t1",): 2, ("t2",): 2, (None,): 1}


def test_days_are_the_tenants() -> None:
    """An assignment without a date holds from the local day of its change."""
    changes = [
        change("rep", "r", "2017-01-01", team="t1", effective_from="2016-01-01"),
        change("rep", "r", "2017-01-31T18:00", team="t2"),  # 1 February in Jakarta
        deal("a", "2017-01-01", stage="Won", owner="r", close_date="2017-01-31"),
        deal("b", "2017-01-01", stage="Won", owner="r", close_date="2017-02-01"),
    ]
    for zone, expected in (("Asia/Jakarta", {("t1",): 1, ("t2",): 1}), ("UTC", {("t2",): 2})):
        config = CONFIG.model_copy(update={"calendar": CalendarConfig(time_zone=zone)})
        assert Oracle(changes, config).kpi("won_deals", ("team",)) == expected
    days = Days("America/Sao_Paulo")
    skipped = days.day_of(at("2017-10-15T12:00"))  # its midnight does not exist: clocks go from 24:00 to 01:00
    assert days.midnight(skipped) == at("2017-10-15T03:00")
    assert days.day_of(at("2017-10-15T03:00") - 1) == skipped - 1


def test_segments_and_own_fields() -> None:
    """The segment is the account's at the moment of asking; any text field is a dimension; both unknown are None."""
    changes = [
        change("account", "x", "2017-01-01", segment="retail"),
        change("account", "x", "2017-02-01", segment="health"),
        deal("a", "2017-01-01", stage="Won", close_date="2017-01-01", account="x", region="east"),
        deal("b", "2017-01-01", stage="Won", close_date="2017-01-01", account="y"),
    ]
    oracle = Oracle(changes, CONFIG)
    assert oracle.kpi("won_deals", ("segment", "region")) == {("health", "east"): 1, (None, None): 1}
    assert oracle.kpi("won_deals", ("segment",), None, at("2017-01-15")) == {("retail",): 1, (None,): 1}
    gone = Oracle([*changes, change("account", "x", "2017-03-01", _op="delete")], CONFIG)
    assert gone.kpi("won_deals", ("account", "segment")) == {("x", None): 1, ("y", None): 1}


def test_leads_and_new_customers() -> None:
    """Conversion is of the leads created in the period; an account is new once, on its first win."""
    changes = [
        change("lead", "1", "2017-01-01", created_date="2017-01-01", converted=True, channel="web"),
        change("lead", "2", "2017-01-01", created_date="2017-01-31"),
        change("lead", "3", "2017-01-01", created_date="2017-02-01", converted=False),
        change("lead", "4", "2017-01-01", converted=True),
        deal("b", "2017-01-01", stage="Won", close_date="2017-02-01", account="x", owner="r1", amount=1),
        deal("a", "2017-01-01", stage="Won", close_date="2017-02-01", account="x", owner="r2", amount=2),
        deal("0", "2017-01-01", stage="Won", close_date="2017-03-01", account="x"),
        deal("d", "2017-01-01", stage="Won", close_date="2017-02-01"),
    ]
    oracle = Oracle(changes, CONFIG)
    assert (one(oracle, "leads", "2017-01"), one(oracle, "lead_conversion", "2017-01")) == (2, D("0.5"))
    assert oracle.kpi("leads", ("channel",)) == {("web",): 1, (None,): 2}
    assert oracle.kpi("new_customers", ("rep",)) == {("r2",): 1}
    assert one(oracle, "new_customers", "2017-03") == 0


def test_slipped_deals() -> None:
    """Of the deals open and due in February as it began: one moved out, one closed late, one won, one deleted."""
    due = {"stage": "Offer", "close_date": "2017-02-20"}
    changes = [
        *(deal(name, "2017-01-15", **due) for name in ("moved", "late", "won", "deleted", "still")),
        deal("new", "2017-02-01", **due),  # the very midnight is too late
        deal("moved", "2017-02-10", close_date="2017-03-01"),
        deal("late", "2017-03-05", stage="Lost", close_date="2017-03-05"),
        deal("won", "2017-02-11", stage="Won", close_date="2017-02-11"),
        deal("deleted", "2017-02-11", close_date="2017-05-01"),
        deal("deleted", "2017-02-12", _op="delete"),
        deal("new", "2017-02-12", close_date="2017-05-01"),
    ]
    oracle = Oracle(changes, CONFIG)
    assert (one(oracle, "slipped", "2017-02"), one(oracle, "slippage_rate", "2017-02")) == (2, D("0.5"))
    assert one(oracle, "slipped", "2017-02", "2017-02-28") == 1
    assert one(oracle, "slippage_rate", "2017-02", "2017-01-31T23:59") is None
    assert one(oracle, "slippage_rate", "2017-02", "2017-02-01") == 0


def test_stage_conversion() -> None:
    """Entries count once per deal and stage on the day of the first; back and forth adds nothing, lost is no advance."""
    changes = [
        deal("a", "2017-01-10", stage="Prospect"),
        deal("a", "2017-01-11", stage="Offer"),
        deal("a", "2017-01-12", stage="Prospect"),
        deal("a", "2017-02-12", stage="Offer"),
        deal("b", "2017-01-10", stage="Prospect"),
        deal("b", "2017-01-10T01:00", stage="Lost", close_date="2017-01-10"),
        deal("c", "2017-02-10", stage="Prospect"),
        deal("c", "2017-03-01", stage="Won", close_date="2017-03-01"),
        deal("d", "2017-01-10", stage="Prospect"),
        deal("d", "2017-01-11", _op="delete"),
    ]
    oracle = Oracle(changes, CONFIG)
    # January: a·Prospect (advanced), a·Offer (not), b·Prospect (not).
    assert one(oracle, "stage_conversion", "2017-01") == D("0.333333")
    assert one(oracle, "stage_conversion", "2017-02") == 1
    assert one(oracle, "stage_conversion", "2017-02", "2017-02-28") == 0
    backwards = [
        deal("x", "2017-01-10", stage="Prospect", _version=2),
        deal("x", "2017-01-11", stage="Offer", _version=1),
    ]
    assert one(Oracle(backwards, CONFIG), "stage_conversion", "2017-01") == 0


def test_retention_by_hand() -> None:
    """Of three accounts under contract one leaves, one shrinks, one grows; a new one is no part of the cohort."""
    changes = [
        change("contract", "1", "2016-01-01", account="leaves", annual_value=100, start_date="2016-01-01",
               end_date="2017-03-30"),
        change("contract", "2", "2016-01-01", account="shrinks", annual_value=100, start_date="2016-01-01",
               end_date="2017-02-28"),
        change("contract", "7", "2016-01-01", account="grows", annual_value=5, start_date="2017-04-01"),
        change("contract", "3", "2016-01-01", account="shrinks", annual_value=60, start_date="2017-03-01"),
        change("contract", "4", "2016-01-01", account="grows", annual_value=100, start_date="2017-01-01"),
        change("contract", "5", "2016-01-01", account="grows", annual_value=50, start_date="2017-02-01"),
        change("contract", "6", "2016-01-01", account="new", annual_value=999, start_date="2017-01-02"),
        change("account", "grows", "2017-12-01", segment="retail"),
    ]  # fmt: skip
    oracle = Oracle(changes, CONFIG)
    kpis = ("logo_retention", "gross_revenue_retention", "net_revenue_retention")
    assert [one(oracle, kpi, "2017-Q1") for kpi in kpis] == [D("0.666667"), D("0.533333"), D("0.7")]
    assert [one(oracle, kpi, "2017-Q1", "2017-03-30") for kpi in kpis] == [1, D("0.866667"), D("1.033333")]
    assert [one(oracle, kpi, "2017-Q1", "2016-12-31") for kpi in kpis] == [None, None, None]
    assert oracle.kpi("net_revenue_retention", ("segment",), "2017-Q1") == {("retail",): D("1.5"), (None,): D("0.3")}


def test_spend_and_traffic() -> None:
    """Margin takes the cost; return and acquisition cost take marketing and sales; velocity is a product of four."""
    changes = [
        *CLOSED,
        deal("g", "2017-01-01", stage="Offer", close_date="2017-02-01", amount=1),
        deal("b", "2017-02-07", account="x"),
        change("spend", "1", "2017-01-01", date="2017-01-01", amount=30, kind="cost"),
        change("spend", "2", "2017-01-01", date="2017-01-01", amount="60.10", kind="marketing"),
        change("spend", "3", "2017-01-01", date="2017-03-31", amount=40, kind="sales"),
        change("spend", "4", "2017-01-01", date="2017-03-31", amount=40, kind="party"),
        change("traffic", "1", "2017-01-01", date="2017-03-31", visits=40, channel="web"),
        change("traffic", "2", "2017-01-01", date="2017-04-01", visits=50),
    ]
    oracle = Oracle(changes, CONFIG)
    assert one(oracle, "gross_margin", "2017-Q1") == D("0.900166")  # 270.5 / 300.5
    assert one(oracle, "roi", "2017-Q1") == D("2.001998")  # (300.5 − 100.1) / 100.1
    assert one(oracle, "cac", "2017-Q1") == D("100.10")
    assert one(oracle, "social_traffic", "2017-Q1") == 40
    assert one(oracle, "sales_velocity", "2017-Q1") == D("25.04")  # 1 × 2/3 × 150.25 / 4 = 25.041…
