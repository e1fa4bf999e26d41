"""The page for operators: how far the log is read, what waits, what was refused, whether the series can be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ingest.refusal_states import Kept, RefusalCounts
from planwatch.logs import described
from planwatch.pipeline import Pipeline
from planwatch.quarantining import short
from planwatch.shown import escaped, shown_bytes
from planwatch.store import Store
from planwatch.view_words import health_sentence
from schemas.board import HealthView, RefusalCount, RefusedInput, SeriesStore, Trust
from schemas.config import Config
from schemas.status import TargetState, TargetStatus

REFUSED_SHOWN = 20
CODES_SHOWN = 100
TEXT_CHARS = 400
#: How often the series are looked at, and how long a page waits for the answer.
LOOK_S, WAIT_S = 10.0, 0.5


class Standing(NamedTuple):
    """How far the log is read, and what is known of refused input."""

    behind: int | None  # messages that are still to be read; none: not known
    catching_up: bool  # it is more than a log that moves always has ahead of its reader
    failing: str = ""  # why the log cannot be read; empty: it can
    waiting: int | None = None  # notifications to deliver; none: another process knows
    refused: Mapping[tuple[str, str], RefusalCounts] = {}  # (source, code) → how many in which state
    newest: Sequence[Kept] = ()  # the newest first


def pipeline_standing(pipeline: Pipeline) -> Callable[[], Standing]:
    """What a pipeline that runs in this process says of itself."""
    known: tuple[Mapping[tuple[str, str], RefusalCounts], Sequence[Kept]] = ({}, ())

    def standing() -> Standing:
        nonlocal known
        quarantine = pipeline.store.quarantine
        counts = quarantine.counts()
        if counts != known[0]:  # each refusal, and whatever becomes of one, changes a count
            known = counts, quarantine.newest(REFUSED_SHOWN)
        return Standing(
            behind=max(pipeline.store.log.end() - pipeline.state.position, 0),
            catching_up=not pipeline.delivering,
            waiting=pipeline.engine.waiting,
            refused=known[0],
            newest=known[1],
        )

    return standing


class Series:
    """Whether the series can be read, looked at apart: a page does not wait for a server that is away."""

    def __init__(self, store: Store) -> None:
        config = store.home.config
        self._store = store
        self._known = (
            SeriesStore(kind="SQLite", where="data/series.sqlite")
            if config.influx is None
            else SeriesStore(kind="InfluxDB", where=config.influx.url)
        )
        self._looked_at: float | None = None
        self._lock = threading.Lock()
        self._looking: threading.Thread | None = None

    def look(self, status: TargetStatus | None) -> SeriesStore:
        """What is known. `status` is the target whose newest point is told; none: it is only tried to read one."""
        with self._lock:
            due = self._looked_at is None or time.monotonic() - self._looked_at >= LOOK_S
            if due and (self._looking is None or not self._looking.is_alive()):
                self._looked_at = time.monotonic()
                self._looking = threading.Thread(
                    target=self._look, args=(status,), name="planwatch-series", daemon=True
                )
                self._looking.start()
            looking = self._looking
        if looking is not None:
            looking.join(WAIT_S)
        return self._known

    def _look(self, status: TargetStatus | None) -> None:
        scope = (
            (status.kpi, status.dimension, status.scope, status.period) if status else ("revenue", "company", "", "")
        )
        try:
            points = self._store.series.read("day", *scope, "actual")
        except Exception as error:  # whatever it is: the page for operators must say so
            found = {"readable": False, "problem": described(error), "newest_at": None}
        else:
            found = {"readable": True, "problem": "", "newest_at": points[-1].bucket if points else None}
        self._known = self._known.model_copy(update=found)


def health_view(config: Config, standing: Standing, trust: Trust, series: SeriesStore, position: int) -> HealthView:
    """The page, from what is known of its parts."""
    received = sum(source.received for source in trust.sources)
    verdict, state = _verdict(standing, series, trust)
    counts = sorted(standing.refused.items(), key=lambda item: (-item[1].open, -item[1].refused, item[0]))
    return HealthView(
        company=config.company,
        time_zone=config.calendar.time_zone,
        as_of=trust.as_of,
        sentence=health_sentence(received, len(trust.sources), trust.quarantined),
        verdict=verdict,
        state=state,
        position=position,
        behind=standing.behind,
        failing=standing.failing,
        waiting=standing.waiting,
        series=series,
        refusals=tuple(
            RefusalCount(source=escaped(source, TEXT_CHARS), code=code, count=found.quarantined, **found._asdict())
            for (source, code), found in counts[:CODES_SHOWN]
        ),
        refused=tuple(_refused(kept) for kept in standing.newest[:REFUSED_SHOWN]),
        trust=trust,
    )


def _verdict(standing: Standing, series: SeriesStore, trust: Trust) -> tuple[str, TargetState]:
    """The worst that is known, in a few words."""
    if standing.failing:
        return "The log cannot be read", "missed"
    if series.readable is False:
        return "The series cannot be read", "missed"
    if standing.catching_up:
        return "Catching up", "at_risk"
    if trust.newest_change_at is None:
        return "Waiting for the first change", "no_data"
    if trust.stale:
        return "Keeps up, but nothing new comes in", "at_risk"
    return "Keeps up", "on_track"


def _refused(kept: Kept) -> RefusedInput:
    item = kept.refused
    return RefusedInput(
        id=short(kept.id),
        source=escaped(item.source, TEXT_CHARS),
        origin=escaped(item.origin, TEXT_CHARS),
        position=item.position,
        code=item.code,
        reason=escaped(item.reason, TEXT_CHARS),
        shown=shown_bytes(item.payload),
        size=len(item.payload),
        state=kept.state,
        at=kept.at or None,
    )
