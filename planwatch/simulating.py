"""`planwatch simulate`: the simulated company as a CRM that writes to its own topic."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator
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
#: How often it is noted how far the company's time has come: what a crash sends again is what was sent since.
NOTE_S = 0.5


def simulate(home: Home, speed: float, history_days: int) -> None:
    """Send history at once on the first start, then go on at a pace, until SIGTERM or SIGINT.

    Started again it goes on where it stopped, in history too.
    """
    kafka = kafka_of(home)
    name, topic = _source(home)
    simulator = Simulator(tenant=home.config.tenant, source=name)
    noted = _Noted(home.data / "simulated.json", simulator, history_days)
    writer = CdcWriter(home.config, find_mapping(home, name, None))
    with stopped_by_signals() as stop, noted:
        if noted.reached_us < noted.history_until_us:
            history = noted.passing(simulator.changes(noted.history_until_us, noted.reached_us))
            sent = produce(kafka, topic, history, writer, stop=stop, progress=noted.sent)
            errors.print(f"Sent history: {sent:,} changes to {topic}.", soft_wrap=True)
        if not stop.is_set():
            changes = noted.passing(simulator.changes(after_us=max(noted.reached_us, noted.history_until_us)))
            produce(kafka, topic, changes, writer, speed=speed, stop=stop, progress=noted.sent)


def _source(home: Home) -> tuple[str, str]:
    for name, source in home.config.sources.items():
        if source.kind == "salesforce" and source.topic:
            return name, source.topic
    raise PlanwatchError(
        f"{home.path / 'planwatch.yaml'}: there is no source of kind salesforce with a `topic` to play the CRM for."
    )


class _Noted:
    """How far the company's time has come, in a file: never further than what the brokers have taken.

    `reached_us`: of the last change that they took; `history_until_us`: until then everything is sent at once.
    """

    def __init__(self, file: Path, simulator: Simulator, history_days: int) -> None:
        self._file = file
        self._under_way: deque[int] = deque()
        self._passed = 0  # of the changes under way, those that were taken
        self._written_at = 0.0
        try:
            noted = json.loads(file.read_text(encoding="utf-8"))
            self.reached_us, self.history_until_us = int(noted["reached_us"]), int(noted["history_until_us"])
        except FileNotFoundError:
            opening_us = next(simulator.changes()).occurred_at
            self.reached_us, self.history_until_us = 0, opening_us + history_days * DAY_US
        except (ValueError, KeyError, TypeError):
            raise PlanwatchError(f"{file}: cannot be read. Delete it to begin the simulation anew.") from None

    def passing(self, changes: Iterable[Change]) -> Iterator[Change]:
        """The changes on their way to the brokers."""
        self._under_way.clear()
        self._passed = 0
        for change in changes:
            self._under_way.append(change.occurred_at)
            yield change

    def sent(self, count: int) -> None:
        """So many of them were taken."""
        for _ in range(count - self._passed):
            self.reached_us = self._under_way.popleft()
        self._passed = count
        if time.monotonic() - self._written_at >= NOTE_S:
            self._write()

    def _write(self) -> None:
        self._written_at = time.monotonic()
        noted = {"reached_us": self.reached_us, "history_until_us": self.history_until_us}
        aside = self._file.with_suffix(".partial")
        aside.write_text(json.dumps(noted), encoding="utf-8")
        aside.replace(self._file)

    def __enter__(self) -> _Noted:
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        self._write()
