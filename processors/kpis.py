"""The measures and KPIs that Planwatch ships: declarations only."""

from __future__ import annotations

from schemas.measures import Kpi, Measure

_Where = dict[str, str | bool | int | tuple[str, ...]]
_WON: _Where = {"status": "won"}
_LOST: _Where = {"status": "lost"}
_OPEN: _Where = {"status": "open"}

MEASURES: dict[str, Measure] = {
    "won_amount": Measure(where=_WON, value="amount", date="close_date", money=True),
    "won_count": Measure(where=_WON, date="close_date"),
    "lost_amount": Measure(where=_LOST, value="amount", date="close_date", money=True),
    "lost_count": Measure(where=_LOST, date="close_date"),
    "cycle_days": Measure(where=_WON, value="days", days=("created_date", "close_date"), date="close_date"),
    "cycle_count": Measure(where={**_WON, "created_date": "*"}, date="close_date"),
    "open_amount": Measure(where=_OPEN, value="amount", date="close_date", money=True),
    "open_weighted": Measure(where=_OPEN, value="amount", times="probability", date="close_date", money=True),
    "open_count": Measure(where=_OPEN, date="close_date"),
    "created_amount": Measure(where={"created_date": "*"}, value="amount", date="created_date", money=True),
    "created_count": Measure(where={"created_date": "*"}, date="created_date"),
    "lead_count": Measure(entity="lead", where={"created_date": "*"}, date="created_date"),
    "lead_converted": Measure(entity="lead", where={"created_date": "*", "converted": True}, date="created_date"),
    "cost": Measure(entity="spend", where={"kind": "cost"}, value="amount", date="date", money=True),
    "selling_spend": Measure(
        entity="spend", where={"kind": ("marketing", "sales")}, value="amount", date="date", money=True
    ),
    "visits": Measure(entity="traffic", value="visits", date="date"),
}

#: Measures that need more than a record by itself; processors/history.py and cohorts.py compute them.
COMPUTED: dict[str, str] = {
    "new_customers": "accounts whose first won deal closes in the period",
    "slipped_count": "open deals of the period when it began whose close date has left it",
    "started_count": "open deals with close date in the period when it began",
    "stage_entered": "(deal, stage) pairs first entered in the period",
    "stage_advanced": "of those, the pairs whose deal later reached a later stage or was won",
    "cohort_accounts": "accounts under contract when the period begins",
    "kept_accounts": "of those, the accounts still under contract at its end",
    "cohort_value": "annual contract value of the cohort when the period begins",
    "kept_value": "of that, what is left at the period's end, without growth",
    "grown_value": "annual contract value of the cohort at the period's end",
}
COMPUTED_MONEY = {"cohort_value", "kept_value", "grown_value"}

_CLOSE = "close date"
_AT_CREATION = "creation date"
_EXPECTED = "expected close date; without a period every open deal"

KPIS: dict[str, Kpi] = {
    "revenue": Kpi(title="Revenue", unit="money", expression="won_amount", date=_CLOSE, additive=True),
    "won_deals": Kpi(title="Won deals", unit="count", expression="won_count", date=_CLOSE, additive=True),
    "lost_deals": Kpi(
        title="Lost deals", unit="count", direction="down", expression="lost_count", date=_CLOSE, additive=True
    ),
    "win_rate": Kpi(title="Win rate", unit="ratio", expression="won_count / (won_count + lost_count)", date=_CLOSE),
    "win_rate_value": Kpi(
        title="Win rate by value", unit="ratio", expression="won_amount / (won_amount + lost_amount)", date=_CLOSE
    ),
    "average_deal_size": Kpi(title="Average deal size", unit="money", expression="won_amount / won_count", date=_CLOSE),
    "sales_cycle_days": Kpi(
        title="Sales cycle", unit="days", direction="down", expression="cycle_days / cycle_count", date=_CLOSE
    ),
    "pipeline": Kpi(title="Pipeline", unit="money", expression="open_amount", date=_EXPECTED, additive=True),
    "weighted_pipeline": Kpi(
        title="Weighted pipeline", unit="money", expression="open_weighted", date=_EXPECTED, additive=True
    ),
    "open_deals": Kpi(title="Open deals", unit="count", expression="open_count", date=_EXPECTED, additive=True),
    "created_pipeline": Kpi(
        title="Created pipeline", unit="money", expression="created_amount", date=_AT_CREATION, additive=True
    ),
    "created_deals": Kpi(
        title="Created deals", unit="count", expression="created_count", date=_AT_CREATION, additive=True
    ),
    "slipped": Kpi(
        title="Slipped deals", unit="count", direction="down", expression="slipped_count", date="expected close date"
    ),
    "slippage_rate": Kpi(
        title="Slippage rate",
        unit="ratio",
        direction="down",
        expression="slipped_count / started_count",
        date="expected close date",
    ),
    "stage_conversion": Kpi(
        title="Stage conversion",
        unit="ratio",
        expression="stage_advanced / stage_entered",
        date="day the stage was first entered",
    ),
    "sales_velocity": Kpi(
        title="Sales velocity",
        unit="money_per_day",
        expression="open_count * (won_count / (won_count + lost_count)) * (won_amount / won_count)"
        " / (cycle_days / cycle_count)",
        date=_CLOSE,
    ),
    "leads": Kpi(title="Leads", unit="count", expression="lead_count", date=_AT_CREATION, additive=True),
    "lead_conversion": Kpi(
        title="Lead conversion", unit="ratio", expression="lead_converted / lead_count", date=_AT_CREATION
    ),
    "new_customers": Kpi(
        title="New customers",
        unit="count",
        expression="new_customers",
        date="first won deal's close date",
        additive=True,
    ),
    "logo_retention": Kpi(
        title="Logo retention", unit="ratio", expression="kept_accounts / cohort_accounts", date="contract term"
    ),
    "gross_revenue_retention": Kpi(
        title="Gross revenue retention", unit="ratio", expression="kept_value / cohort_value", date="contract term"
    ),
    "net_revenue_retention": Kpi(
        title="Net revenue retention", unit="ratio", expression="grown_value / cohort_value", date="contract term"
    ),
    "gross_margin": Kpi(
        title="Gross margin", unit="ratio", expression="(won_amount - cost) / won_amount", date="close date; cost date"
    ),
    "roi": Kpi(
        title="Return on selling spend",
        unit="ratio",
        expression="(won_amount - selling_spend) / selling_spend",
        date="close date; spend date",
    ),
    "cac": Kpi(
        title="Customer acquisition cost",
        unit="money",
        direction="down",
        expression="selling_spend / new_customers",
        date="spend date; first won deal",
    ),
    "social_traffic": Kpi(title="Social traffic", unit="count", expression="visits", date="date", additive=True),
}
#: Derived with a plan's target: see processors/query.py.
TARGET_KPIS: dict[str, Kpi] = {
    "coverage": Kpi(
        title="Coverage",
        unit="ratio",
        expression="open_amount / (target - won_amount)",
        date="expected close date",
        zero="no value once the target is reached",
    ),
    "attainment": Kpi(
        title="Attainment", unit="ratio", expression="won_amount / target", date="close date", zero="no value"
    ),
}
