"""The figures that panels show, each declared once."""

from __future__ import annotations

from boards.panels.model import Column

SENTENCE = Column("sentence")

STATUS = Column("status", "Status", "status", width=120)
ACTUAL = Column("actual", "Actual", "money", "actual")
EXPECTED = Column("expected", "Expected by now", "money", "expected")
TARGET = Column("target", "Target", "money", "target")
LANDING = Column("landing", "Landing", "money", "landing")
LANDING_LOW = Column("landing_low", "Landing, low", "money", "landing_low")
LANDING_HIGH = Column("landing_high", "Landing, high", "money", "landing_high")
LIKELY = Column("likely", "Likely to hit", "share", limit="likely")
GAP = Column("gap", "Gap to target", "money")
COVERAGE = Column("coverage", "Coverage", "times")
ATTAINMENT = Column("attainment", "Actual to target", "share", bar=True, width=220)

FIGURES = (STATUS, ACTUAL, EXPECTED, TARGET, LANDING, LIKELY, GAP, COVERAGE)
BAR = (ACTUAL, EXPECTED, LANDING_LOW, LANDING, LANDING_HIGH, TARGET)
BURNUP = (
    Column("day"),
    ACTUAL,
    TARGET,
    Column("expected", "Plan", "money", "expected"),
    Column("baseline", "First plan", "money", "baseline"),
    LANDING,
    LANDING_LOW,
    Column("landing_high", "Landing, 8 of 10 outcomes", "money", "landing_high"),
)
WHERE = (
    Column("name", "Who", link="scope", width=220),
    STATUS,
    ATTAINMENT,
    ACTUAL,
    EXPECTED,
    TARGET,
    LANDING,
    LANDING_LOW,
    LANDING_HIGH,
    LIKELY,
    COVERAGE,
    Column("stake", "At stake", "money"),
    Column("scope", hidden=True),
    Column("dimension", hidden=True),
    Column("board", hidden=True),
)
OVER_TIME = (Column("_value", "", "status"),)
OTHERS = (
    Column("kpi", "Target", width=200),
    Column("period", "Period", width=120),
    STATUS,
    ATTAINMENT,
    Column("actual", "Actual", "number"),
    Column("target", "Value", "number"),
    LIKELY,
)
PERIODS = (
    Column("period", "Period", link="period", width=140),
    STATUS,
    ACTUAL,
    TARGET,
    LANDING,
    LIKELY,
    Column("first", "First day", "day"),
    Column("last", "Last day", "day"),
    Column("begin", hidden=True),
    Column("until", hidden=True),
)
MOVEMENT = (
    Column("bar"),
    Column("base", "", "money", "base"),
    Column("total", "Open pipeline", "money", "total"),
    Column("adds", "Adds", "money", "adds"),
    Column("takes", "Takes away", "money", "takes"),
)
_DEAL = (
    Column("stage", "Stage"),
    Column("close_date", "Closes", width=120),
    Column("amount", "Amount", "money"),
    Column("effect", "If won", "share"),
    Column("flags", "Why", width=260),
    Column("slipped_times", "Slipped", "count", width=90),
    Column("age_days", "Age", "days", width=110),
)
MY_DEALS = (Column("name", "Deal", width=240), Column("account", "Account"), *_DEAL)
DEALS = (
    Column("name", "Deal", width=240),
    Column("account", "Account"),
    Column("rep_name", "Rep", link="rep"),
    *_DEAL,
    Column("rep", hidden=True),
)
DEALS_FIGURES = (
    Column("deals", "Deals at risk", "count"),
    Column("amount", "Their amount", "money"),
    Column("past", "Past their close date", "count"),
    Column("slipped", "Slipped twice or more", "count"),
    Column("silent", "Silent", "count"),
)
MY_ALERTS = (
    Column("severity", "Severity", "severity", width=110),
    Column("state", "State", "state", width=110),
    Column("sentence", "What and why"),
    Column("fired_at", "Since", "moment", width=150),
    Column("lasted_s", "For", "seconds", width=100),
)
ALERTS = (*MY_ALERTS[:3], Column("owner", "Whose", width=150), *MY_ALERTS[3:])
FRESHNESS = (
    Column("age", "Newest change ago", "seconds", limit="age"),
    Column("quarantined", "In quarantine", "count", limit="refused"),
    Column("received", "Received", "count"),
    Column("as_of", "As of", "day"),
)
SOURCES = (
    Column("source", "Source"),
    Column("age", "Newest change ago", "seconds", limit="age"),
    Column("received", "Received", "count"),
    Column("applied", "Applied", "count"),
    Column("duplicate", "Duplicate", "count"),
    Column("stale", "Stale", "count"),
    Column("quarantined", "Quarantined", "count", limit="refused"),
)
REFUSALS = (
    Column("source", "Source"),
    Column("code", "Why"),
    Column("open", "Open", "count"),
    Column("dropped", "Dropped", "count"),
    Column("replayed", "Replayed", "count"),
)
HEALTH = (
    Column("ready", "Ready", "count"),
    Column("running", "Running", "count"),
    Column("lag", "Waiting messages", "count", limit="waiting"),
    Column("p99", "99 of 100 figures within", "seconds", limit="slow"),
    Column("buffered", "Points that wait", "count"),
    Column("errors", "Failed writes", "count", limit="refused"),
)
BY_ROLE = (
    Column("at"),
    Column("worker", "Workers", "count", "actual"),
    Column("bridge", "Bridges", "count", "second"),
)
BY_ROLE_RATE = (
    Column("at"),
    Column("worker", "Workers", "rate", "actual"),
    Column("bridge", "Bridges", "rate", "second"),
)
DELAY = (
    Column("at"),
    Column("freshness_p50", "Half of the changes within", "seconds", "second"),
    Column("freshness_p99", "99 of 100 within", "seconds", "actual"),
)
WRITING = (
    Column("at"),
    Column("buffered_points", "Points that wait", "count", "actual"),
    Column("write_errors", "Failed writes", "count", "second"),
)
INSTANCES = (
    Column("role", "Role", width=90),
    Column("instance", "Instance"),
    Column("state", "State", "ready", width=140),
    Column("seen_s", "Last heard, ago", "seconds"),
    Column("tenants", "Tenants", "count"),
    Column("events", "Changes", "count"),
    Column("lag", "Waiting messages", "count"),
    Column("fold_seconds", "Fold", "seconds"),
    Column("freshness_p50", "Half within", "seconds"),
    Column("freshness_p99", "99 of 100 within", "seconds"),
    Column("buffered_points", "Points that wait", "count"),
    Column("write_errors", "Failed writes", "count", limit="refused"),
)

#: What the web board alone shows of health: it is drawn by the process that knows it.
SENDING = Column("waiting", "Notifications that wait", "count")
SERIES = Column("series", "Time series")

#: The figures of a target by name, as a heading says them.
TITLES: dict[str, str] = {column.name: column.title for column in (*FIGURES, ATTAINMENT)}
