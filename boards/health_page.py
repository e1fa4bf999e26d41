"""The page for operators: its figures and columns are those of the panels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from boards import format as fmt
from boards.deals_page import Figure
from boards.panels import BOARDS, Column
from boards.panels.columns import SENDING, SERIES
from boards.panels.limits import state_at
from schemas.alert import SourceHealth
from schemas.board import HealthView, RefusedInput

_BOARD = BOARDS["health"]
#: The parts of what was received; they add up to it.
ACCOUNT = ("received", "applied", "duplicate", "stale", "quarantined")
_TOPIC = re.compile(r"\[\d+\]$")
HOOKS = "hooks/"


def health_figures(view: HealthView) -> list[Figure]:
    """How fresh, how much, what waits. The first is the age that the browser keeps counting."""
    trust, fresh = view.trust, _BOARD.panel("freshness")
    received = sum(source.received for source in trust.sources)
    newest = trust.newest_change_at
    return [
        _figure(
            fresh.column("age"),
            trust.age_s,
            fmt.age(trust.age_s) if trust.age_s is not None else fmt.NOTHING,
            fmt.moment(newest, view.time_zone) if newest is not None else fresh.nothing,
        ),
        _figure(fresh.column("received"), received, f"{received:,}", _of_sources(len(trust.sources))),
        _figure(
            fresh.column("quarantined"),
            trust.quarantined,
            f"{trust.quarantined:,}",
            _share(trust.quarantined, received),
        ),
        _figure(
            _BOARD.panel("health").column("lag"),
            view.behind,
            _count(view.behind),
            f"read up to message {view.position:,}" if view.position else "the log is empty",
        ),
        _figure(SENDING, view.waiting, _count(view.waiting), _sending(view.waiting)),
        _series(view),
        *_incomplete(trust.incomplete),
    ]


def _incomplete(deals: int) -> list[Figure]:
    """Deals of which not everything is known: their source has not said it, or could not."""
    note = "figures leave them out or may be old until the source says more"
    return [Figure("incomplete", "Incomplete deals", f"{deals:,}", note=note, state="at_risk")] if deals else []


def _figure(column: Column, value: int | None, words: str, note: str) -> Figure:
    state = state_at(column.limit, value) if column.limit is not None and value is not None else ""
    return Figure(column.name, column.title, words, note=note, state="" if state == "on_track" else state)


def _series(view: HealthView) -> Figure:
    series = view.series
    value = {True: "Readable", False: "Not readable", None: "Not known yet"}[series.readable]
    newest = (
        f", newest point {fmt.day_words(fmt.local(series.newest_at, view.time_zone).date())}"
        if series.newest_at
        else ""
    )
    state = "missed" if series.readable is False else ""
    return Figure(SERIES.name, SERIES.title, value, full=series.where, note=f"{series.kind}{newest}", state=state)


def _sending(waiting: int | None) -> str:
    if waiting is None:
        return "the workers know"
    return "until a receiver takes them" if waiting else "all are delivered"


def _count(value: int | None) -> str:
    return fmt.NOTHING if value is None else f"{value:,}"


def _of_sources(count: int) -> str:
    return f"from {count:,} sources" if count > 1 else "from one source" if count else "no source yet"


def _share(count: int, of: int) -> str:
    if not count:
        return "nothing was refused"
    share = 100 * count / of
    return f"less than 0.1{fmt.THIN}% of all" if share < 0.1 else f"{share:.1f}{fmt.THIN}% of all"


def source_columns() -> list[Column]:
    """A source's account of every input, in order."""
    return list(_BOARD.panel("trust").columns)


def silence(source: SourceHealth, as_of: int) -> int | None:
    """For how long nothing has come from a source, seconds; none: nothing ever did."""
    return max((as_of - source.last_seen_at) // 1_000_000, 0) if source.last_seen_at > 0 else None


def source_state(source: SourceHealth, as_of: int) -> str:
    """The status of a source by its silence."""
    age_s, column = silence(source, as_of), _BOARD.panel("trust").column("age")
    return "no_data" if age_s is None or column.limit is None else state_at(column.limit, age_s)


def totals(view: HealthView) -> dict[str, int]:
    """The account of all sources together."""
    return {name: sum(getattr(source, name) for source in view.trust.sources) for name in ACCOUNT}


def refused_where(item: RefusedInput) -> str:
    """Where an input stood, in words."""
    return place_words(item.origin, item.position)


def refused_when(item: RefusedInput, time_zone: str) -> str:
    """When an input was refused; nothing where that is not known."""
    return fmt.moment(item.at, time_zone) if item.at is not None else ""


def place_words(origin: str, position: int) -> str:
    """Where an input stood: file and line, topic and offset, or a request and the event's number in it."""
    if _TOPIC.search(origin):
        return f"{origin}, offset {position:,}"
    if origin.startswith(HOOKS):
        return f"{origin}, event {position:,}" if position else f"{origin}, the whole request"
    origin = "standard input" if origin == "-" else origin
    return f"{origin}, line {position:,}" if position else f"{origin}, the whole file"


def bytes_words(size: int) -> str:
    """How much of an input is kept."""
    if size < 1024:
        return f"{size:,} byte{'s' if size != 1 else ''}"
    return f"{size / 1024:.1f}{fmt.THIN}KiB"


HELPERS: Mapping[str, Callable[..., object]] = {
    "health_figures": health_figures,
    "source_columns": source_columns,
    "silence": silence,
    "source_state": source_state,
    "source_totals": totals,
    "refused_where": refused_where,
    "refused_when": refused_when,
    "bytes_words": bytes_words,
}
