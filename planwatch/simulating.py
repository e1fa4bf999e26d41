"""`planwatch simulate`: the simulated company as a CRM that writes to its own topic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from ingest.cdc_writer import CdcWriter
from ingest.simulated_cdc import produce
from ingest.simulator import Simulator
from planwatch.home import Home
from planwatch.ingesting import find_mapping
from planwatch.printing import errors
from planwatch.roles import kafka_of, stopped_by_signals
from schemas.base import PlanwatchError
from schemas.change import Change

DAY_US = 86_400_000_000
#: How often it is noted how far the company's time has come, in changes: what is sent again after a crash is little.
NOTE_CHANGES = 200


def simulate(home: Home, speed: float, history_days: int) -> None:
    """Send history at once on the first start, then go on at a pace, until SIGTERM or SIGINT."""
    kafka = kafka_of(home)
    name, topic = _source(home)
    noted = home.data / "simulated.json"
    simulator = Simulator(tenant=home.config.tenant, source=name)
    reached = _reached(noted)
    changes = _noting(simulator.changes(after_us=reached), noted)
    writer = CdcWriter(home.config, find_mapping(home, name, None))
    with stopped_by_signals() as stop:
        if not reached:
            first = next(changes)
            until = first.occurred_at + history_days * DAY_US
            history = takewhile(lambda c: c.occurred_at <= until, changes)
            sent = produce(kafka, topic, _chain(first, history), writer, stop=stop)
            errors.print(f"Sent {history_days} days of history: {sent:,} changes to {topic}.", soft_wrap=True)
        produce(kafka, topic, changes, writer, speed=speed, stop=stop)


def _source(home: Home) -> tuple[str, str]:
    for name, source in home.config.sources.items():
        if source.kind == "salesforce" and source.topic:
            return name, source.topic
    raise PlanwatchError(
        f"{home.path / 'planwatch.yaml'}: there is no source of kind salesforce with a `topic` to play the CRM for."
    )


def _chain(first: Change, rest: Iterator[Change]) -> Iterator[Change]:
    yield first
    yield from rest


def _noting(changes: Iterator[Change], noted: Path) -> Iterator[Change]:
    """The changes; how far they have come is noted now and then, behind what was sent."""
    before = 0
    for count, change in enumerate(changes, 1):
        if count % NOTE_CHANGES == 0:
            aside = noted.with_suffix(".partial")
            aside.write_text(json.dumps({"reached_us": before}), encoding="utf-8")
            aside.replace(noted)
            before = change.occurred_at
        yield change


def _reached(noted: Path) -> int:
    """How far the company's time had come, microseconds UTC; 0 at the first start."""
    try:
        return int(json.loads(noted.read_text(encoding="utf-8"))["reached_us"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError):
        raise PlanwatchError(f"{noted}: cannot be read. Delete it to begin the simulation anew.") from None
