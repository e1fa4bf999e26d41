"""The five boards: rows of panels in the order of their questions."""

from __future__ import annotations

from boards.panels import columns as c
from boards.panels.model import Board, Panel, Row
from boards.panels.words import CHANGED, MAKE_IT, TODO, TRUST, WHERE

_NO_TARGET = "No target here for this period"
_NO_DEALS = "No deal is at risk"
_CALM = "Nothing needs attention"

_HEADLINE = Panel("headline", "stat", ("sentence",), (c.SENTENCE,), 24, 3, _NO_TARGET)
_FIGURES = Panel("figures", "stat", ("figures",), c.FIGURES, 24, 4, _NO_TARGET)
_BAR = Panel("bar", "bargauge", ("figures",), c.BAR, 8, 11, _NO_TARGET)
_BURNUP = Panel("burnup", "timeseries", ("burnup",), c.BURNUP, 16, 11, _NO_TARGET)
_MAKE_IT = Row(MAKE_IT, (_HEADLINE, _FIGURES, _BURNUP, _BAR))
_CHANGED = Panel("changed", "barchart", ("movement",), c.MOVEMENT, 10, 11, "Nothing moved")
_OTHERS = Panel("others", "table", ("other_targets",), c.OTHERS, 12, 8, "No other target")
_PERIODS = Panel("periods", "table", ("periods",), c.PERIODS, 12, 8, "No period has a target")
_FRESHNESS = Panel("freshness", "stat", ("trust", "as_of"), c.FRESHNESS, 10, 6, "No change has come in yet")
_SOURCES = Panel("trust", "table", ("sources",), c.SOURCES, 14, 6, "No source has said anything yet")
_TRUST = Row(TRUST, (_FRESHNESS, _SOURCES))

LEADERSHIP = Board(
    key="leadership",
    title="Leadership",
    question="Will we make it? Where not? What changed? What can still be done? Can this be trusted?",
    dimension="company",
    scope="",
    variables=("tenant", "period", "since"),
    rows=(
        _MAKE_IT,
        Row(
            WHERE,
            (
                Panel("where", "table", ("territories",), c.WHERE, 24, 8, "No territory has a target"),
                Panel("where_over_time", "state-timeline", ("territories_over_time",), c.OVER_TIME, 24, 6, _NO_TARGET),
            ),
        ),
        Row(CHANGED, (_CHANGED, Panel("alerts", "table", ("alerts",), c.ALERTS, 14, 11, _CALM))),
        Row(TODO, (Panel("deals_at_risk", "table", ("deals_at_risk",), c.DEALS, 24, 9, _NO_DEALS), _OTHERS, _PERIODS)),
        _TRUST,
    ),
)

TERRITORY = Board(
    key="territory",
    title="Territory and team",
    question="Will this territory or team make it? Who not? What changed? Which deals need help?",
    dimension="$dimension",
    scope="$scope",
    variables=("tenant", "dimension", "scope", "period", "since"),
    rows=(
        _MAKE_IT,
        Row(
            WHERE,
            (
                Panel("where", "table", ("members",), c.WHERE, 24, 9, "No member has a target"),
                Panel("where_over_time", "state-timeline", ("members_over_time",), c.OVER_TIME, 24, 8, _NO_TARGET),
            ),
        ),
        Row(CHANGED, (_CHANGED, Panel("alerts", "table", ("alerts_inside",), c.ALERTS, 14, 11, _CALM))),
        Row(TODO, (Panel("deals_at_risk", "table", ("members_deals",), c.DEALS, 24, 9, _NO_DEALS), _OTHERS, _PERIODS)),
        _TRUST,
    ),
)

REP = Board(
    key="rep",
    title="Rep",
    question="My number, my landing, what is missing, and the deals that decide it. Nobody else’s figures.",
    dimension="rep",
    scope="$rep",
    variables=("tenant", "rep", "period"),
    rows=(
        Row(
            MAKE_IT,
            (
                _HEADLINE,
                Panel("gap", "stat", ("gap_words",), (c.SENTENCE,), 24, 3, _NO_TARGET),
                _FIGURES,
                _BURNUP,
                _BAR,
            ),
        ),
        Row(
            TODO,
            (
                Panel("my_deals_at_risk", "table", ("my_deals",), c.MY_DEALS, 24, 9, _NO_DEALS),
                Panel("alerts", "table", ("my_alerts",), c.MY_ALERTS, 24, 7, _CALM),
            ),
        ),
        Row(TRUST, (Panel("freshness", "stat", ("trust", "as_of"), c.FRESHNESS, 24, 4, "No change has come in yet"),)),
    ),
)

DEALS = Board(
    key="deals",
    title="Deals at risk",
    question="Which deals need help, and what does each decide?",
    dimension="company",
    scope="",
    variables=("tenant",),
    rows=(
        Row(
            TODO,
            (
                Panel("deals_in_figures", "stat", ("deals_figures",), c.DEALS_FIGURES, 24, 4, _NO_DEALS),
                Panel("deals_at_risk", "table", ("deals_at_risk",), c.DEALS, 24, 20, _NO_DEALS),
            ),
        ),
        Row(TRUST, (Panel("freshness", "stat", ("trust", "as_of"), c.FRESHNESS, 24, 4, "No change has come in yet"),)),
    ),
)

HEALTH = Board(
    key="health",
    title="Pipeline health",
    question="For operators: what comes in, what waits, how late figures are, what was refused, what failed.",
    dimension="company",
    scope="",
    variables=("tenant",),
    rows=(
        Row(
            "Does it run?",
            (
                Panel("health", "stat", ("health_figures",), c.HEALTH, 24, 4, "No worker has said anything yet"),
                Panel("events", "timeseries", ("events",), c.BY_ROLE_RATE, 12, 8, "Nothing has come in"),
                Panel("lag", "timeseries", ("lag",), c.BY_ROLE, 12, 8, "No worker has said anything"),
                Panel("delay", "timeseries", ("freshness",), c.DELAY, 12, 8, "No change was timed"),
                Panel("writing", "timeseries", ("writing",), c.WRITING, 12, 8, "No worker has said anything"),
                Panel("instances", "table", ("instances",), c.INSTANCES, 24, 7, "No worker has said anything"),
            ),
        ),
        Row(
            TRUST,
            (
                Panel("freshness", "stat", ("trust",), c.FRESHNESS[:-1], 24, 4, "No change has come in yet"),
                Panel("trust", "table", ("sources",), c.SOURCES, 14, 8, "No source has said anything yet"),
                Panel("quarantine", "table", ("refusals",), c.REFUSALS, 10, 8, "Nothing was refused"),
            ),
        ),
    ),
    wall_clock=True,
)

BOARDS: dict[str, Board] = {board.key: board for board in (LEADERSHIP, TERRITORY, REP, DEALS, HEALTH)}
