"""Titles and questions, said once for the web board and Grafana."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """What stands above a drawing, and what it answers."""

    title: str
    question: str


#: The questions of a board, in the order in which they are answered.
MAKE_IT = "Will we make it?"
WHERE = "Where not?"
CHANGED = "What changed?"
TODO = "What can still be done?"
TRUST = "Can this be trusted?"

WORDS: dict[str, Words] = {
    "headline": Words("In one sentence", "Will we make it? The revenue of the period, where it will land and how likely it is to reach the target."),
    "figures": Words(
        "In figures",
        "Where does it stand, where should it be, where will it land? Landing is the middle of the projection; "
        "coverage is the open pipeline to what is missing.",
    ),
    "bar": Words(
        "Actual to target",
        "How far is it to the target, on one scale? Eight of ten outcomes lie between the low and the high landing.",
    ),
    "burnup": Words(
        "Burn-up",
        "Is it on the plan’s course? The actual against the target (line), the plan day by day (dashed), the first plan "
        "(dotted, faint) and the landing (band: eight of ten outcomes). Marks are alerts.",
    ),
    "gap": Words("What is missing", "How much is it, in deals?"),
    "where": Words(
        "Where",
        "Where is most at stake? Sorted by the gap at the landing × the chance to miss. A name opens its own board.",
    ),
    "where_over_time": Words("Status day by day", "Since when is it so? The status of each, over the time that is shown."),
    "changed": Words(
        "What changed",
        "What moved the open pipeline? From opening to closing, every bar adds up. Filled bars add, outlined bars take "
        "away. Where all that moved is small beside the whole, the bars begin above zero and the first one says so.",
    ),
    # The next two stand on the web board alone.
    "todo": Words("Deals that matter most", "Which deals decide it? “If won” is what winning the deal adds to the probability to hit."),
    "my_todo": Words("My deals that matter most", "Which deals decide it? “If won” is what winning the deal adds to the probability to hit."),
    "deals_in_figures": Words("At risk in figures", "How much hangs on deals that need help?"),
    "my_deals_at_risk": Words(
        "My deals at risk",
        "Which of my deals need help, and why? “If won” is what winning the deal adds to the probability to hit.",
    ),
    "deals_at_risk": Words(
        "Deals at risk",
        "Which deals need help? Silent, slipped twice, past their close date, large and late; what decides most first. "
        "“If won” is what winning the deal adds to the probability to hit.",
    ),
    "alerts": Words("Alerts", "What needs attention? What is open first, then the newest; why, whose, and for how long."),
    "others": Words("Other targets", "How do the other targets stand? The least likely first."),
    "periods": Words("Periods", "Which periods have a target, and how do they stand? A period opens with its own days."),
    "freshness": Words("How fresh", "How old is the newest change, what was refused, and of which day are the figures?"),
    "trust": Words("Sources", "Is every source heard? Received = applied + duplicate + stale + quarantined, always."),
    "health": Words("Now", "Do all run and keep up? Ready workers and bridges, what waits, how late figures are, what failed."),
    "events": Words("Changes a second", "How much comes in? By role; a bridge takes from sources, a worker folds."),
    "lag": Words("Waiting messages", "Do they keep up? Messages that wait to be processed, by role."),
    "delay": Words("From change to figure", "How late are figures? Of the slowest instance: half of the changes, and 99 of 100."),
    "writing": Words("Points that wait, failed writes", "Does InfluxDB take what is written? Both stand at zero when it does."),
    "quarantine": Words("In quarantine", "What was refused, from which source and why? The web board shows the newest of them."),
    # Stands on the web board alone.
    "refused": Words(
        "Newest refused inputs",
        "What exactly was refused, where did it stand, and why? What cannot be printed is written as an escape.",
    ),
    "instances": Words("Workers and bridges", "Which of them runs, since when is it silent, what does it hold?"),
}  # fmt: skip
